"""What builders of classifiers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.build import Dataset, Split
from modelport.errors import DataError
from modelport.families import classification
from modelport.serving.classes import Names, Softmax


def test_scores_hold_a_tie_and_certainty() -> None:
    rows = [sample.inputs["logits"] for sample in classification.scores(4)()]
    assert all(row.shape == (4,) and row.dtype == np.float32 for row in rows)
    assert any(len(set(row.tolist())) == 1 for row in rows)
    assert any(np.exp(row - row.max()).sum() == 1 for row in rows)


def test_an_answer_is_what_softmax_gives() -> None:
    declared = classification.answer(3, label="which", labels=("a", "b", "c"))
    given = Softmax(("a", "b", "c"))({"logits": np.zeros((1, 3), np.float32)})
    assert {tensor.name: tensor.dims for tensor in declared} == {
        name: array.shape[1:] for name, array in given.items()
    }


def test_a_baseline_is_fitted_on_what_may_be_learned_from() -> None:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    def split(shift: int) -> Split:
        values = np.arange(20.0)[:, None]
        return Split({"x": values}, (values[:, 0] >= 10 + shift).astype(np.int64))

    dataset = Dataset(split(0), split(9), split(0))
    for estimator in (LogisticRegression, lambda: RidgeClassifier(0.1)):
        figures = classification.baseline(estimator, lambda split: split.inputs["x"])(dataset)
        assert figures["accuracy"] == 1.0, "validation, which says otherwise, is not learned"


def test_ridge_takes_each_value_for_a_feature() -> None:
    def split(seed: int) -> Split:
        values = np.random.default_rng(seed).random((300, 2, 3, 3))
        return Split({"x": values}, (values[:, 0, 0, 0] > 0.5).astype(np.int64))

    figures = classification.ridge("x", alpha=0.01)(Dataset(split(0), split(1), split(2)))
    assert figures["accuracy"] > 0.8


def test_names_are_written_as_the_last_step_reads_them(tmp_path: Path) -> None:
    names = ["ja, natürlich", "nein"]
    files = classification.names_file(lambda data, *_: [*names, data.name])(Path("a"), Path("b"))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert list(Softmax.from_folder(tmp_path).labels) == [*names, "a"]
    assert list(Names.from_folder(tmp_path).labels) == [*names, "a"]


def test_numbered_names_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(
        '{"10": "k", '
        + ", ".join(f'"{i}": "{letter}"' for i, letter in enumerate("abcdefghij"))
        + "}"
    )
    assert classification.numbered_names(tmp_path / "names.json") == list("abcdefghijk")


@pytest.mark.parametrize("content", ['{"0": "a", "2": "c"}', '["a", "b"]', "names", "7"])
def test_names_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(DataError, match=r"names\.json: expected a JSON object"):
        classification.numbered_names(tmp_path / "names.json")
