"""Softmax: laws of probabilities, and labels that go with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from modelport.serving.classes import Names, Softmax

LABELS = ("no", "perhaps", "yes")
SCORES = stn.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(3)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@settings(deadline=None)
@given(SCORES)
def test_answers_are_probabilities_of_the_best_label(logits: np.ndarray) -> None:
    answer = Softmax(LABELS)({"logits": logits})
    scores = answer["scores"]
    assert scores.dtype == answer["probability"].dtype == np.float32
    assert (scores >= 0).all()
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert answer["probability"].shape == answer["label"].shape == (len(logits), 1)
    assert (answer["probability"][:, 0] == scores.max(axis=1)).all()
    for row, label in zip(logits, answer["label"][:, 0], strict=True):
        assert row[LABELS.index(label.decode())] == pytest.approx(row.max(), abs=1e-6)


@settings(deadline=None)
@given(SCORES, st.integers(-100, 100))
def test_a_constant_on_all_scores_changes_nothing(logits: np.ndarray, shift: int) -> None:
    logits = logits.round()  # whole numbers keep the sum exact in float32
    one, other = (Softmax(LABELS)({"logits": x}) for x in (logits, logits + np.float32(shift)))
    np.testing.assert_array_equal(one["scores"], other["scores"])


@settings(deadline=None)
@given(SCORES)
def test_items_do_not_see_each_other(logits: np.ndarray) -> None:
    whole = Softmax(LABELS)({"logits": logits})
    for index in range(len(logits)):
        alone = Softmax(LABELS)({"logits": logits[index : index + 1]})
        for name, array in alone.items():
            assert array.tolist() == whole[name][index : index + 1].tolist()


def test_known_values() -> None:
    answer = Softmax(LABELS, scores="s")({"s": np.log(np.array([[1, 2, 5]], np.float32))})
    assert answer["scores"][0] == pytest.approx([0.125, 0.25, 0.625])
    assert answer["label"].tolist() == [[b"yes"]]
    assert answer["probability"][0, 0] == pytest.approx(0.625)


def test_the_first_of_equal_scores_wins() -> None:
    assert Softmax(LABELS)({"logits": np.zeros((1, 3), np.float32)})["label"][0, 0] == b"no"


def test_labels_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("nein\nvielleicht\nja, natürlich\n", encoding="utf-8")
    by_file = Softmax.from_file(tmp_path / "labels.txt", scores="s")
    for softmax in (by_file, Softmax.from_folder(tmp_path, scores="s")):
        answer = softmax({"s": np.array([[0, 0, 9]], np.float32)})
        assert answer["label"][0, 0].decode() == "ja, natürlich"


def test_the_best_classes_get_their_names(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("crane\ncrane, bird\nétoile\n", encoding="utf-8")
    probabilities = np.array([[0.6, 0.4], [0.5, 0.25]], np.float32)
    answer = Names.from_folder(tmp_path)(
        {"classes": np.array([[2, 0], [1, 2]]), "probabilities": probabilities}
    )
    star = "étoile".encode()
    assert answer["labels"].tolist() == [[star, b"crane"], [b"crane, bird", star]]
    assert answer["label"].tolist() == [[star], [b"crane, bird"]]
    np.testing.assert_array_equal(answer["probability"], probabilities[:, :1])
