"""Who rated what and when: reading ratings, and holding the latest likes out."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from modelport.build import tables
from modelport.errors import DataError
from modelport.serving.recommendation import LIKED_FROM

COLUMNS = {"user": str, "item": str, "rating": float, "timestamp": float}
# What MovieLens writes for a film without a genre.
_NO_GENRE = "unknown"
# "Misérables, Les" and "(Double Life of Veronique, The)": the article comes last in MovieLens.
_ARTICLE = re.compile(r"([^()]+?), (The|An|A|Les|Le|La|Il|El|Das|Der|Die|Det)(?=\s*(?:[()]|$))")
# An odd number (Knuth's multiplicative hash): products with it are spread over 32 bits.
_SPREAD = 2654435761

# Of an item: title, year, genres apart by blanks.
_About: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Interactions:
    """Ratings in the order of users, and of time within a user.

    Args:
        users: names of the users, as they are in the file.
        items: names of the items.
        titles: of the items, for people.
        genres: float32[items, genres], 1 where the item is of the genre.
        years: float32[items], NaN where not known.
        user: int64[ratings], which of ``users``.
        item: int64[ratings], which of ``items``.
        liked: bool[ratings].
    """

    users: Sequence[str]
    items: Sequence[str]
    titles: Sequence[str]
    genres: np.ndarray
    years: np.ndarray
    user: np.ndarray
    item: np.ndarray
    liked: np.ndarray

    def of_users(self) -> Iterator[np.ndarray]:
        """Give each user's positions in the ratings, oldest first."""
        bounds = np.searchsorted(self.user, np.arange(len(self.users) + 1))
        for start, end in pairwise(bounds):
            yield np.arange(start, end)

    def matrix(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Give float32[users, items], 1 where one of the ``chosen`` ratings is."""
        rated = np.zeros((len(self.users), len(self.items)), np.float32)
        rated[self.user[chosen], self.item[chosen]] = 1
        return rated


def cosine(rated: np.ndarray) -> np.ndarray:
    """Give float64[items, items]: cosine similarity of the columns of ``rated`` (0 and 1).

    Counts are whole numbers, so equal similarities are equal to the last bit, and ties
    can be broken by position. An item that nobody rated is like nothing, not itself either.
    """
    together = (rated.T @ rated).astype(np.float64)
    alone = np.diag(together)
    return np.asarray(together / np.sqrt(np.maximum(np.outer(alone, alone), 1)))


def read(path: Path) -> Interactions:
    """Read a folder in the form of MovieLens-100k, or a table of one's own.

    Args:
        path: a folder that holds one ``*.inter`` and one ``*.item`` file (tab separated, as
            RecBole's atomic files are), or a table with the columns ``user``, ``item``,
            ``rating`` (4 and more is a like) and ``timestamp``.

    Raises:
        DataError: the file is no such table, or values are missing.
    """
    if path.is_dir():
        users, items, ratings, times = zip(*_rows(path, "*.inter"), strict=True)
        columns = {
            "user": np.array(users, np.object_),
            "item": np.array(items, np.object_),
            "rating": np.array(ratings, np.float64),
            "timestamp": np.array(times, np.float64),
        }
        return _ordered(columns, {name: about for name, *about in _rows(path, "*.item")})
    columns = tables.read(path, COLUMNS)
    _check_complete(path, columns)
    return _ordered(columns, {})


def _rows(folder: Path, pattern: str) -> list[list[str]]:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise DataError(
            f"{folder}: expected one file {pattern}, found {len(files)}",
            next_step=f"give a table with the columns {', '.join(COLUMNS)} instead",
            path=folder,
        )
    with files[0].open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return rows


def _check_complete(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    for name, values in columns.items():
        missing = np.isnan(values) if values.dtype.kind == "f" else values == ""
        if missing.any() or not len(values):
            first = f"row {int(missing.argmax()) + 1}" if missing.any() else "there are no rows"
            raise DataError(
                f"{path}: column {name!r} has missing values: {first}",
                next_step="fill them, or leave those rows out",
                path=path,
            )


def _ordered(columns: Mapping[str, np.ndarray], about: _About) -> Interactions:
    users, user = np.unique(columns["user"].astype(str), return_inverse=True)
    items = sorted({*columns["item"], *about}, key=_number_first)
    place = {name: index for index, name in enumerate(items)}
    item = np.array([place[name] for name in columns["item"]], np.int64)
    # Ratings of one second have no order. Scattered, they tell nothing of the next item; in the
    # order of their numbers they would.
    scattered = (item * _SPREAD + user * 40503) % 2**32
    order = np.lexsort((scattered, columns["timestamp"], user))
    order = order[_latest(user[order] * len(items) + item[order])]
    return Interactions(
        users=users.tolist(),
        items=items,
        titles=[_title(name, about) for name in items],
        genres=_genres(items, about),
        years=np.array([_year(about.get(name)) for name in items], np.float32),
        user=user[order].astype(np.int64),
        item=item[order],
        liked=columns["rating"][order] >= LIKED_FROM,
    )


def _number_first(name: str) -> tuple[bool, int, str]:
    """Order names that are numbers as numbers, before all others."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _latest(pairs: np.ndarray) -> np.ndarray:
    """Give the positions of the last of each value, in their order."""
    _, from_behind = np.unique(pairs[::-1], return_index=True)
    return np.asarray(np.sort(len(pairs) - 1 - from_behind))


def _title(name: str, about: _About) -> str:
    """Give "Usual Suspects, The" as "The Usual Suspects (1995)"; an unknown item its name."""
    if name not in about:
        return name
    title = _ARTICLE.sub(r"\2 \1", about[name][0])
    return f"{title} ({about[name][1]})" if about[name][1] else title


def _year(about: Sequence[str] | None) -> float:
    return float(about[1]) if about and about[1].isdecimal() else np.nan


def _genres(items: Sequence[str], about: _About) -> np.ndarray:
    of_items = [set(about[name][2].split()) if name in about else set() for name in items]
    genres = sorted(set().union(*of_items) - {_NO_GENRE})
    rows = [[genre in own for genre in genres] for own in of_items]
    return np.array(rows, np.float32).reshape(len(items), len(genres))


@dataclass(frozen=True)
class Question:
    """What was rated before a cut, oldest first, and the likes after it that are to be found."""

    history: np.ndarray
    wanted: np.ndarray


class HeldOut:
    """Each user's time line, cut: to learn from, to choose by, to be measured on.

    A user's last likes are the test, as many before them the validation, and as many
    before those are ``for_ranker``: learned from as well, by what orders the answers of
    something that did not see them. Users with fewer likes are learned from only.

    Args:
        ratings: all of them.
        count: how many likes make each of the three.

    Attributes:
        learned: positions of all ratings before the validation.
        for_ranker: those of them that are for the ranker.
        before_test: positions of all ratings before the test.
        validation: the questions to choose by.
        test: the questions that are only measured.
    """

    def __init__(self, ratings: Interactions, count: int = 3) -> None:
        self.ratings = ratings
        learned, for_ranker, before_test = [], [], []
        self.validation: list[Question] = []
        self.test: list[Question] = []
        for rated in ratings.of_users():
            likes = rated[ratings.liked[rated]][-3 * count :]
            if len(likes) < 3 * count:
                learned.append(rated)
                before_test.append(rated)
                continue
            ranker, validation, test = np.split(likes, 3)
            learned.append(rated[rated < validation[0]])
            before_test.append(rated[rated < test[0]])
            for_ranker.append(ranker)
            self.validation.append(Question(learned[-1], validation))
            self.test.append(Question(before_test[-1], test))
        none = [np.empty(0, np.int64)]
        self.learned = np.concatenate(learned or none)
        self.for_ranker = np.concatenate(for_ranker or none)
        self.before_test = np.concatenate(before_test or none)


def hold_out(path: Path, *, count: int = 3) -> HeldOut:
    """Read ratings and cut them.

    Args:
        path: as :func:`read` takes it.
        count: how many of a user's likes make each of the three parts of :class:`HeldOut`.

    Raises:
        DataError: as of :func:`read`, or nobody liked enough for something to be held out.
    """
    held_out = HeldOut(read(path), count)
    if not held_out.test:
        raise DataError(
            f"{path}: no user has {3 * count} likes (ratings of {LIKED_FROM:g} and more) or more:"
            " nothing can be held out to measure on",
            cause="there are too few ratings, or they are on another scale than 1 to 5",
            next_step="give more ratings, or bring them to the scale of 1 to 5",
            path=path,
        )
    return held_out
