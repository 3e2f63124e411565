"""Recommendations in words: what is asked, what is looked up, what is refused.

The networks are stood in for by plain functions of the same shape: here it counts what
they are asked and what is made of their answers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.serving.python_model import BadItemError
from modelport.serving.recommendation import (
    FOR_EVERYONE,
    FOR_THESE,
    LIKED,
    RATED,
    Histories,
    Items,
    Recommender,
    SimilarItems,
)

NAMES = [str(number) for number in range(1, 31)]
ITEMS = Items(NAMES, [f"Film {name}" for name in NAMES[:-1]] + ["Les Misérables (1995)"])
HISTORIES = Histories(
    users=np.array(["anna", "zoë"]),
    bounds=np.array([0, 3, 4]),
    items=np.array([3, 1, 2, 30]),
    kinds=np.array([LIKED, RATED, LIKED, RATED]),
)
RECOMMENDER = Recommender(ITEMS, HISTORIES)

Arrays = Mapping[str, np.ndarray]


def words(*rows: list[str]) -> np.ndarray:
    return np.array([[word.encode() for word in row] for row in rows], dtype=np.object_)


class Networks:
    """Candidates are the unseen items; the ranker likes high numbers, in pairs of equal score."""

    def __init__(self) -> None:
        self.asked: dict[str, Arrays] = {}

    def __call__(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        self.asked[name] = inputs
        if name == "recommender_ranker":
            return {"scores": inputs["features"][..., 0] // 2}
        history, kinds = inputs["history"], inputs["kinds"]
        candidates = np.array([self._unseen(row) for row in history])
        liked = (history * (kinds == LIKED)).max(axis=1)
        return {
            "candidates": candidates,
            "features": np.repeat(candidates[..., np.newaxis], 8, axis=2).astype(np.float32),
            "nearest": np.broadcast_to(liked[:, np.newaxis], candidates.shape),
            "closeness": np.where(candidates % 2, 0.5, -0.5),
        }

    @staticmethod
    def _unseen(history: np.ndarray) -> np.ndarray:
        unseen = np.setdiff1d(np.arange(1, 31), history)
        return np.pad(unseen, (0, 30 - len(unseen)))


def test_a_known_user_gets_what_they_have_not_rated() -> None:
    networks = Networks()
    answer = RECOMMENDER({"user_id": words(["anna"]), "count": np.array([[100]])}, networks)
    asked = networks.asked["recommender_retrieval"]
    assert asked["history"].tolist() == [[3, 1, 2]]
    assert asked["kinds"].tolist() == [[LIKED, RATED, LIKED]]
    assert set(answer["items"][0]) - {b""} == {str(n).encode() for n in range(4, 31)}


def test_equal_scores_are_ordered_by_number() -> None:
    answer = RECOMMENDER({"user_id": words(["anna"]), "count": np.array([[5]])}, Networks())
    assert answer["items"].tolist() == [[b"30", b"28", b"29", b"26", b"27"]]
    assert answer["scores"].tolist() == [[15, 14, 14, 13, 13]]


def test_reasons_name_the_nearest_liked_item_and_else_say_what_is_true() -> None:
    liked, unknown, rated = (
        RECOMMENDER(inputs, Networks())
        for inputs in (
            {"liked": words(["7", "30"])},
            {"user_id": words(["nobody knows me"])},
            {"liked": words(["30"]), "stars": np.array([[2.0]])},
        )
    )
    # The stand-in finds odd candidates close to the liked item with the highest number.
    reasons = dict(zip(liked["items"][0], liked["reasons"][0], strict=True))
    assert reasons[b"29"].decode() == "because you liked Les Misérables (1995)"
    assert reasons[b"28"].decode() == FOR_THESE
    assert set(unknown["reasons"][0]) == {FOR_EVERYONE.encode()}
    assert set(rated["reasons"][0]) == {FOR_THESE.encode()}


def test_what_a_request_says_is_newer_than_what_is_known() -> None:
    networks = Networks()
    RECOMMENDER(
        {"user_id": words(["anna"]), "liked": words(["3", "9"]), "stars": np.array([[1.0, 4.0]])},
        networks,
    )
    asked = networks.asked["recommender_retrieval"]
    assert asked["history"].tolist() == [[1, 2, 3, 9]]
    assert asked["kinds"].tolist() == [[RATED, LIKED, RATED, LIKED]]


def test_a_batch_of_unequal_lengths_and_counts_is_filled_up_with_nothing() -> None:
    inputs = {
        "user_id": words(["anna"], ["zoë"], [""]),
        "liked": words(["", ""], ["5", ""], ["5", "6"]),
        "count": np.array([[2], [3], [1]]),
    }
    networks = Networks()
    answer = RECOMMENDER(inputs, networks)
    history = networks.asked["recommender_retrieval"]["history"]
    assert history.tolist() == [[3, 1, 2], [0, 30, 5], [0, 5, 6]]
    for row in range(3):
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        alone = RECOMMENDER(one, Networks())
        for name, array in alone.items():
            width = array.shape[1]
            assert answer[name][row, :width].tolist() == array[0].tolist()
            assert not answer[name][row, width:].any()


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"liked": words(["1"], ["99"])}, "item 1: unknown item '99'; there are 30"),
        ({"liked": words(["1"], ["\x00"])}, "item 1: unknown item"),
        ({"count": np.array([[1], [0]])}, "item 1: `count` is 0; 1 to 100"),
        ({"count": np.array([[101]])}, "item 0: `count` is 101"),
        ({"stars": np.array([[1.0]])}, "send both"),
        ({"liked": words(["1", "2"]), "stars": np.array([[1.0]])}, "2 items in `liked`, but 1 in"),
    ],
)
def test_bad_requests_are_refused_by_item(inputs: Arrays, text: str) -> None:
    with pytest.raises(BadItemError, match=text):
        RECOMMENDER(inputs, Networks())


@given(st.lists(st.sampled_from(NAMES), max_size=40))
def test_of_an_item_named_twice_the_last_counts(liked: list[str]) -> None:
    networks = Networks()
    # At least one column, as a tensor on the wire has.
    RECOMMENDER({"liked": words([*liked, ""])}, networks)
    sent = networks.asked["recommender_retrieval"]["history"][0]
    kept = list(dict.fromkeys(reversed(liked)))[::-1]
    assert [str(number) for number in sent if number] == kept


def test_similar_items_are_named_and_cut_at_the_count() -> None:
    table = np.array([[2, 3, 0], [3, 1, 0], [1, 2, 0]])

    def cosine(_: str, inputs: Arrays) -> dict[str, np.ndarray]:
        rows = inputs["number"][:, 0] - 1
        return {"neighbours": table[rows], "cosines": np.float32([[0.5, 0.25, 0]] * len(rows))}

    similar = SimilarItems(Items(["a", "b", "ç"], ["A", "B", "Ç"]))
    answer = similar({"item": words(["a"], ["ç"]), "count": np.array([[1], [3]])}, cosine)
    assert answer["items"].tolist() == [[b"b", b"", b""], [b"a", b"b", b""]]
    assert answer["titles"].tolist() == [[b"B", b"", b""], [b"A", b"B", b""]]
    assert answer["cosines"].tolist() == [[0.5, 0, 0], [0.5, 0.25, 0]]
    with pytest.raises(BadItemError, match="item 1: unknown item 'z'"):
        similar({"item": words(["a"], ["z"])}, cosine)
