"""From a user or some items to what else is worth a look, with titles and reasons.

The numbers come from two networks, which are called by name: one retrieves candidates
that the user has not seen, one orders them. Here stand the names, the histories and the
words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelport.serving.python_model import BadItemError

Arrays = Mapping[str, np.ndarray]
Call = Callable[[str, Arrays], Arrays]

RATED, LIKED = 1, 2
# What the ranker knows of a candidate.
FEATURES = (
    "tower", "cosine_latest", "cosine_latest_liked", "cosine_all", "cosine_nearest", "popularity",
    "genres", "years",
)  # fmt: skip
# A rating from here up is a like.
LIKED_FROM = 4.0
MOST = 100
# As long a history as anybody needs; the network itself looks at the latest part only.
LONGEST = 10_000
_USUAL = 10
ITEMS_FILE, HISTORIES_FILE = "items.json", "histories.npz"
FOR_EVERYONE = "popular with everyone"
FOR_THESE = "fits what you rated"


class Items:
    """Names and titles of the items, whose numbers begin at 1; number 0 is no item."""

    def __init__(self, names: Sequence[str], titles: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(names, start=1)}
        self.names = _texts(["", *names])
        self.titles = _texts(["", *titles])

    @classmethod
    def from_file(cls, path: Path) -> Items:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["names"], content["titles"])

    @staticmethod
    def to_json(names: Sequence[str], titles: Sequence[str]) -> bytes:
        """Write the content of a file that :meth:`from_file` reads."""
        content = {"names": list(names), "titles": list(titles)}
        return json.dumps(content, ensure_ascii=False, indent=0).encode()

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, names: Iterable[bytes], item: int) -> list[int]:
        """Look items up by name.

        Raises:
            BadItemError: there are no such items; it names them and ``item`` of the batch.
        """
        wanted = [name.decode("utf-8", "replace") for name in names]
        unknown = [repr(name) for name in wanted if name not in self._numbers]
        if unknown:
            shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            raise BadItemError(
                f"unknown item {shown}; there are {len(self)}, from"
                f" {self.names[1].decode()!r} to {self.names[-1].decode()!r}",
                item=item,
            )
        return [self._numbers[name] for name in wanted]


@dataclass(frozen=True)
class Histories:
    """What each known user rated, oldest first.

    Args:
        users: names of the users, ordered.
        bounds: int64[users + 1], where in the other arrays each user begins.
        items: item numbers, from 1.
        kinds: ``RATED`` or ``LIKED``.
    """

    users: np.ndarray
    bounds: np.ndarray
    items: np.ndarray
    kinds: np.ndarray

    @classmethod
    def none(cls) -> Histories:
        """Know nobody."""
        nothing = np.empty(0, np.int64)
        return cls(np.empty(0, "U1"), np.zeros(1, np.int64), nothing, nothing)

    @classmethod
    def from_file(cls, path: Path) -> Histories:
        """Read an ``.npz`` file with the fields as arrays."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})

    def of(self, user: str) -> tuple[np.ndarray, np.ndarray]:
        """Give item numbers and kinds; empty for a user who is not known."""
        at = int(np.searchsorted(self.users, user))
        if at == len(self.users) or self.users[at] != user:
            return self.items[:0], self.kinds[:0]
        part = slice(self.bounds[at], self.bounds[at + 1])
        return self.items[part], self.kinds[part]


class Recommender:
    """The work of the model ``recommender``.

    Args:
        items: what there is.
        histories: of the known users.
        retrieval: name of the model that takes ``history`` and ``kinds``, int64[batch, ratings],
            and gives ``candidates``, ``features``, ``nearest`` and ``closeness``.
        ranker: name of the model that takes ``features`` and gives ``scores``.
    """

    def __init__(
        self,
        items: Items,
        histories: Histories,
        *,
        retrieval: str = "recommender_retrieval",
        ranker: str = "recommender_ranker",
    ) -> None:
        self._items = items
        self._histories = histories
        self._retrieval, self._ranker = retrieval, ranker

    @classmethod
    def from_folder(cls, folder: Path, **networks: str) -> Recommender:
        """Read the tables that lie in a version's folder.

        Args:
            folder: holds ``items.json`` and ``histories.npz``.
            networks: ``retrieval`` and ``ranker``, where they have names of their own.
        """
        items = Items.from_file(folder / ITEMS_FILE)
        return cls(items, Histories.from_file(folder / HISTORIES_FILE), **networks)

    def __call__(self, inputs: Arrays, call: Call) -> dict[str, np.ndarray]:
        """Answer a batch.

        Args:
            inputs: any of ``user_id`` bytes[batch, 1]; ``liked`` bytes[batch, items], names of
                items, oldest first, empty ones ignored; ``stars`` float32[batch, items], what
                the user gave each of them (5 where left out); ``count`` int32[batch, 1].
            call: answers of another model, by its name.

        Returns:
            ``items``, ``titles`` and ``reasons`` bytes[batch, n] and ``scores`` float32[batch,
            n], the best first; n is the largest count of the batch, the rest of a shorter
            list is empty and scores 0.

        Raises:
            BadItemError: an unknown item, a count out of range, stars without items.
        """
        size = len(next(iter(inputs.values())))
        counts = _counts(inputs, size)
        history, kinds = _joined([self._history(inputs, index) for index in range(size)])
        found = call(self._retrieval, {"history": history, "kinds": kinds})
        scores = call(self._ranker, {"features": found["features"]})["scores"]
        known = (history > 0).sum(axis=1)
        # Without a history there is nothing to judge by but what everybody likes.
        popularity = found["features"][..., FEATURES.index("popularity")]
        scores = np.where(known[:, np.newaxis] > 0, scores, popularity)
        lists = [
            self._list({name: array[i] for name, array in found.items()}, scores[i], bool(known[i]))
            for i in range(size)
        ]
        return {name: _stacked([one[name] for one in lists], counts) for name in lists[0]}

    def _history(self, inputs: Arrays, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Join what is known of the user and what the request says they liked, which is newer."""
        user = inputs["user_id"][index, 0] if "user_id" in inputs else b""
        items, kinds = self._histories.of(user.decode("utf-8", "replace"))
        if "liked" not in inputs:
            if "stars" in inputs:
                raise BadItemError("`stars` say how good the items of `liked` are; send both")
            return items, kinds
        liked = inputs["liked"][index]
        stars = inputs["stars"][index] if "stars" in inputs else np.full(len(liked), np.inf)
        if len(stars) != len(liked):
            raise BadItemError(f"{len(liked)} items in `liked`, but {len(stars)} in `stars`")
        if len(liked) > LONGEST:
            raise BadItemError(f"{len(liked)} items in `liked`; {LONGEST:,} is the most")
        given = liked != b""
        numbers = self._items.numbers(liked[given], index)
        newer = np.where(stars[given] >= LIKED_FROM, LIKED, RATED)
        return _latest(np.concatenate([items, numbers]), np.concatenate([kinds, newer]))

    def _list(self, found: Arrays, scores: np.ndarray, known: bool) -> dict[str, np.ndarray]:
        """Order the candidates of one user; equal scores by number of the item."""
        candidates = found["candidates"]
        order = np.lexsort((candidates, -scores))
        # Where fewer are left than the network retrieves, the rest are number 0.
        order = order[candidates[order] > 0][:MOST]
        nearest, close = found["nearest"][order], found["closeness"][order] > 0
        reasons = [
            self._reason(int(i), bool(c), known) for i, c in zip(nearest, close, strict=True)
        ]
        return {
            "items": self._items.names[candidates[order]],
            "titles": self._items.titles[candidates[order]],
            "scores": scores[order],
            "reasons": _texts(reasons),
        }

    def _reason(self, nearest: int, close: bool, known: bool) -> str:
        if nearest and close:
            return f"because you liked {self._items.titles[nearest].decode()}"
        return FOR_THESE if known else FOR_EVERYONE


class SimilarItems:
    """The work of the model ``similar_items``.

    Args:
        items: what there is.
        cosine: name of the model that takes ``number`` int64[batch, 1] and gives
            ``neighbours`` int64 and ``cosines`` float32[batch, n], the most similar first.
    """

    def __init__(self, items: Items, *, cosine: str = "similar_items_cosine") -> None:
        self._items = items
        self._cosine = cosine

    @classmethod
    def from_folder(cls, folder: Path) -> SimilarItems:
        """Read the table that lies in a version's folder."""
        return cls(Items.from_file(folder / ITEMS_FILE))

    def __call__(self, inputs: Arrays, call: Call) -> dict[str, np.ndarray]:
        """Answer a batch.

        Args:
            inputs: ``item`` bytes[batch, 1], and ``count`` int32[batch, 1] where wanted.
            call: answers of another model, by its name.

        Returns:
            ``items`` and ``titles`` bytes[batch, n] and ``cosines`` float32[batch, n], the most
            similar first; n is the largest count, the rest of a shorter list is empty and 0.

        Raises:
            BadItemError: an unknown item, or a count out of range.
        """
        names = inputs["item"][:, 0]
        counts = _counts(inputs, len(names))
        numbers = [self._items.numbers([name], index) for index, name in enumerate(names)]
        found = call(self._cosine, {"number": np.array(numbers, np.int64)})
        chosen = _stacked(found["neighbours"], counts)
        return {
            "items": self._items.names[chosen],
            "titles": self._items.titles[chosen],
            "cosines": _stacked(found["cosines"], counts),
        }


def _texts(texts: Sequence[str]) -> np.ndarray:
    """Make bytes of texts; an array of them keeps no zero byte from its end."""
    return np.array([text.encode() for text in texts], dtype=np.object_)


def _counts(inputs: Arrays, size: int) -> list[int]:
    counts = inputs["count"][:, 0].tolist() if "count" in inputs else [_USUAL] * size
    for index, count in enumerate(counts):
        if not 1 <= count <= MOST:
            raise BadItemError(f"`count` is {count}; 1 to {MOST} can be had", item=index)
    return counts


def _latest(items: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep of equal items the last."""
    _, from_behind = np.unique(items[::-1], return_index=True)
    kept = np.sort(len(items) - 1 - from_behind)
    return items[kept], kinds[kept]


def _joined(lists: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Bring histories to one length, zeros in front, where the oldest ratings stand."""
    # A tensor without elements is more than some clients of a server can say.
    shape = len(lists), max(1, *(len(items) for items, _ in lists))
    history, kinds = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, (items, their_kinds) in enumerate(lists):
        start = shape[1] - len(items)
        history[row, start:], kinds[row, start:] = items, their_kinds
    return history, kinds


def _stacked(rows: Iterable[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Cut each row to its count, and fill it up with nothing to the largest."""
    cut = [row[:count] for row, count in zip(rows, counts, strict=True)]
    nothing = b"" if cut[0].dtype == np.object_ else 0
    stacked = np.full((len(cut), max(counts)), nothing, dtype=cut[0].dtype)
    for place, row in zip(stacked, cut, strict=True):
        place[: len(row)] = row
    return stacked
