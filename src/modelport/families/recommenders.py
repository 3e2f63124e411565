"""What a recommender learns from, is asked, and answers with.

The tensors are those of :mod:`modelport.serving.recommendation`, which does the work on
the server: a history goes to the network that retrieves, its candidates' features to the one
that orders, and names, titles and known histories lie in files beside ``model.py``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.build.dataset import Dataset, Split
from modelport.families.interactions import HeldOut, Interactions, Question
from modelport.serving.recommendation import (
    FEATURES,
    HISTORIES_FILE,
    ITEMS_FILE,
    LIKED,
    MOST,
    RATED,
    Items,
)
from modelport.spec.parts import Sample, Tensor

_KNOWN = "of each: " + ", ".join(FEATURES)
# What the network that retrieves takes, and what the one that orders takes and gives.
HISTORY = (
    Tensor("history", "INT64", (-1,), doc="numbers of items from 1, oldest first, 0 none"),
    Tensor("kinds", "INT64", (-1,), doc="of each: 1 rated, 2 liked, 0 none"),
)
CANDIDATES = Tensor("features", "FP32", (-1, len(FEATURES)), doc=_KNOWN)
SCORES = Tensor("scores", "FP32", (-1,))
# What clients ask with, and what they get.
COUNT = Tensor("count", "INT32", (1,), optional=True, doc="how many, 1 to 100; 10 where left out")
ITEMS = Tensor("items", "BYTES", (-1,), doc="names of the items, the best first")
TITLES = Tensor("titles", "BYTES", (-1,), doc="of the items, UTF-8")
REQUEST = (
    Tensor("user_id", "BYTES", (1,), optional=True, doc="a name; it need not be known"),
    Tensor("liked", "BYTES", (-1,), optional=True, doc="names of items, oldest first"),
    Tensor("stars", "FP32", (-1,), optional=True, doc="of each in `liked`; 4 up is a like"),
    COUNT,
)
ANSWER = (
    ITEMS,
    TITLES,
    Tensor("scores", "FP32", (-1,), doc="of the ranker; they only order"),
    Tensor("reasons", "BYTES", (-1,), doc="why each, in words"),
)
# Stars that stand for what was liked, and for what was only rated.
_GOOD, _BAD = 5, 1
# Questions that samples are made of.
_ASKED = 10


def retrieved(candidates: int = MOST) -> tuple[Tensor, ...]:
    """Declare what the network that retrieves gives: so many candidates and what is known."""
    return (
        Tensor(
            "candidates", "INT64", (candidates,), doc="numbers of items, the best first, 0 none"
        ),
        Tensor("features", "FP32", (candidates, len(FEATURES)), doc=_KNOWN),
        Tensor("nearest", "INT64", (candidates,), doc="the nearest item that was liked, 0 none"),
        Tensor("closeness", "FP32", (candidates,), doc="cosine to it, -2 where there is none"),
    )


@dataclass(frozen=True)
class Questions(Dataset):
    """Rows to learn from, and with them the ratings that they were made of."""

    held_out: HeldOut


def questions(held_out: HeldOut, *, looked_at: int = 40) -> Questions:
    """Make of each like a row: what was rated before it, and the like as the target.

    The validation and the test have one row a user, with the first of the likes held out;
    lists of the best are measured on all of them (:mod:`modelport.families.rankings`).

    Args:
        held_out: ratings, cut by time.
        looked_at: so many of the latest ratings before a like make its history.

    Returns:
        Inputs ``history`` and ``kinds``, int64[rows, looked_at], ``for_tower`` and
        ``for_ranker``, bool[rows], which of the two learns from a row; targets
        int64[rows, 2], positions of items for the one and the other, -1 where it does not.
    """
    ratings = held_out.ratings
    positions = np.arange(len(ratings.item))
    for_ranker = np.isin(positions, held_out.for_ranker)
    learned = np.isin(positions, held_out.learned) & ratings.liked
    train = [
        (rated[:place], position)
        for rated in ratings.of_users()
        for place, position in enumerate(rated)
        if learned[position]
    ]
    at = np.array([position for _, position in train], np.int64)
    validation, test = (
        [(question.history, question.wanted[0]) for question in part]
        for part in (held_out.validation, held_out.test)
    )
    return Questions(
        _rows(ratings, train, np.stack([~for_ranker[at], for_ranker[at]]), looked_at),
        _rows(ratings, validation, np.ones((2, len(validation)), bool), looked_at),
        _rows(ratings, test, np.ones((2, len(test)), bool), looked_at),
        held_out,
    )


def _rows(
    ratings: Interactions,
    rows: Sequence[tuple[np.ndarray, int]],
    learners: np.ndarray,
    looked_at: int,
) -> Split:
    """Make rows of histories and likes; ``learners`` bool[2, rows]: the towers, the ranker."""
    inputs = windows(ratings, [history for history, _ in rows], looked_at)
    target = ratings.item[[position for _, position in rows]]
    for_tower, for_ranker = learners
    return Split(
        inputs | {"for_tower": for_tower, "for_ranker": for_ranker},
        np.where(learners, target, -1).T,
    )


def windows(
    ratings: Interactions, histories: Sequence[np.ndarray], looked_at: int
) -> dict[str, np.ndarray]:
    """Bring histories to the latest ratings of each, zeros in front of shorter ones.

    Args:
        ratings: all of them.
        histories: positions in the ratings, oldest first.
        looked_at: how many of the latest.

    Returns:
        ``history`` (numbers of items from 1) and ``kinds``, int64[histories, looked_at].
    """
    history, kinds = np.zeros((2, len(histories), looked_at), np.int64)
    for row, rated in enumerate(histories):
        latest = rated[-looked_at:]
        history[row, looked_at - len(latest) :] = ratings.item[latest] + 1
        kinds[row, looked_at - len(latest) :] = _kinds(ratings.liked[latest])
    return {"history": history, "kinds": kinds}


def _kinds(liked: np.ndarray) -> np.ndarray:
    return np.where(liked, LIKED, RATED)


def asked(ratings: Interactions, questions: Sequence[Question]) -> dict[str, np.ndarray]:
    """Put histories in the words of a request: names and stars, empty where one is shorter.

    Returns:
        ``liked`` bytes[questions, longest] and ``stars`` float32 of that shape.
    """
    shape = len(questions), max(len(question.history) for question in questions)
    liked, stars = np.full(shape, b"", np.object_), np.zeros(shape, np.float32)
    for row, question in enumerate(questions):
        length = len(question.history)
        liked[row, :length] = _words(*(ratings.items[i] for i in ratings.item[question.history]))
        stars[row, :length] = np.where(ratings.liked[question.history], _GOOD, _BAD)
    return {"liked": liked, "stars": stars}


def _words(*words: str) -> np.ndarray:
    return np.array([word.encode() for word in words], dtype=np.object_)


def histories(held_out: HeldOut, *, lengths: Sequence[int] = (40, 7, 1)) -> list[Sample]:
    """Take histories that end at the test, of these lengths each, and none: for what retrieves."""
    rows = [question.history for question in held_out.test[:_ASKED]]
    made = windows(held_out.ratings, [*rows, np.empty(0, np.int64)], max(lengths))
    return [
        Sample({name: array[row, -length:] for name, array in made.items()})
        for row in range(len(rows) + 1)
        for length in lengths
    ]


def candidates() -> list[Sample]:
    """Draw features in the range that they have, of few candidates and of many: for what orders."""
    random = np.random.default_rng(0)
    shapes = [(count, len(FEATURES)) for count in (1, 3, 100, 100)]
    return [Sample({"features": random.normal(size=s).astype(np.float32)}) for s in shapes]


def requests(ratings: Interactions) -> list[Sample]:
    """Ask for a user, for likes, for both, and for somebody of whom nothing is known."""
    counts = ratings.matrix(ratings.liked).sum(axis=0)
    most_liked = [ratings.items[item] for item in np.argsort(-counts, kind="stable")[:3]]
    known = ratings.users[0]
    stars = np.array([5, 1, 4], np.float32)[: len(most_liked)]
    return [
        Sample({"liked": _words(*most_liked[:1])}, title="somebody who liked the most liked item"),
        Sample({"user_id": _words(known)}, title=f"user {known}, whose ratings are known"),
        Sample({"user_id": _words("a new user")}, title="a user of whom nothing is known"),
        Sample({"liked": _words(*most_liked), "stars": stars}),
        Sample({"user_id": _words(known), "liked": _words(*most_liked)}),
        Sample({"count": np.array([3], np.int32)}),
    ]


def catalogue(ratings: Interactions) -> dict[str, bytes]:
    """Make the file of names and titles that lies beside ``model.py``."""
    return {ITEMS_FILE: Items.to_json(ratings.items, ratings.titles)}


def tables(ratings: Interactions) -> dict[str, bytes]:
    """Make what lies beside ``model.py``: the catalogue, and what each user has rated until today.

    That is personal data: say so in the model's limits.
    """
    users = np.arange(len(ratings.users) + 1)
    arrays: dict[str, Any] = {
        "users": np.array(ratings.users),
        "bounds": np.searchsorted(ratings.user, users),
        "items": (ratings.item + 1).astype(np.int32),
        "kinds": _kinds(ratings.liked).astype(np.int8),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return catalogue(ratings) | {HISTORIES_FILE: file.getvalue()}
