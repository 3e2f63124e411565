"""Text out of a decoder: greedy, sampled or by beam search, one token a turn.

The loop knows no model: a *step* takes the tokens that were chosen last and
gives the scores of the next ones. Searches of several items advance together,
each by its own options; what leaves the loop is dropped from the decoder's rows::

    searches = [search(Options(), end=1), search(Options(num_beams=4), end=1)]
    for _ in decode(step, searches, start=0):
        ...                       # after each turn: searches[0].tokens has grown by one
    searches[1].tokens            # a beam search knows its answer at the end
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from modelport.serving.python_model import Arrays, BadItemError

Decode = Callable[[Sequence[int]], str]

# (parents int64[rows], tokens int64[rows]) to scores float32[rows, vocabulary]. Row i goes on
# from row parents[i] of the call before; in the first call parents are the items' indices.
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]

MAX_BEAMS = 8
MAX_STOPS = 8
_NEVER = float("-inf")
_UNFINISHED_CHARACTER = "\ufffd"


@dataclass(frozen=True)
class Options:
    """How one item's tokens are chosen; the fields are the optional inputs of a text model.

    Args:
        max_new_tokens: the most tokens that are made, the end token among them.
        num_beams: 1 for one path, up to 8 for beam search.
        temperature: 0 takes the likeliest token each time; above it samples.
        top_k: samples among that many likeliest tokens only; 0 for all.
        top_p: samples among the fewest likeliest tokens that hold this share of the
            probability (Holtzman et al. 2019, arXiv:1904.09751); 1 for all.
        seed: of the sampling; the same seed gives the same text.
        stop: texts before which the answer ends.
    """

    max_new_tokens: int = 32
    num_beams: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def check(self, most_tokens: int) -> None:
        """Refuse what makes no sense.

        Raises:
            BadItemError: it names the field, what is allowed and what came.
        """
        _within("max_new_tokens", self.max_new_tokens, 1, most_tokens)
        _within("num_beams", self.num_beams, 1, MAX_BEAMS)
        _within("temperature", self.temperature, 0, 100)
        _within("top_k", self.top_k, 0, 2**31)
        _within("seed", self.seed, 0, 2**63)
        if not 0 < self.top_p <= 1:
            raise BadItemError(f"`top_p` must be above 0 and at most 1; got {self.top_p:g}")
        if self.num_beams > 1 and self.temperature > 0:
            raise BadItemError(
                "`num_beams` above 1 and `temperature` above 0 exclude each other:"
                " beam search does not sample"
            )
        if len(self.stop) > MAX_STOPS or not all(self.stop):
            raise BadItemError(f"`stop` takes at most {MAX_STOPS} texts, none of them empty")


def _within(name: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:  # NaN fails it too
        raise BadItemError(f"`{name}` must be from {low} to {high}; got {value:g}")


def options(inputs: Arrays, item: int, defaults: Options, most_tokens: int) -> Options:
    """Read one item's options from a request's optional inputs.

    Args:
        inputs: the request; ``[batch, 1]`` per option, ``[batch, n]`` for ``stop``.
        item: which row.
        defaults: what holds where the request says nothing.
        most_tokens: bound of ``max_new_tokens``.

    Raises:
        BadItemError: an option is out of its bounds.
    """
    given = {
        field.name: _value(field.name, inputs[field.name][item], getattr(defaults, field.name))
        for field in fields(Options)
        if field.name in inputs
    }
    chosen = replace(defaults, **given)
    chosen.check(most_tokens)
    return chosen


def _value(name: str, row: np.ndarray, default: Any) -> Any:
    values = np.asarray(row).reshape(-1)
    if isinstance(default, tuple):
        return tuple(_text(name, value) for value in values)
    if len(values) != 1:
        raise BadItemError(f"`{name}` takes one value per item; got {len(values)}")
    return type(default)(values[0])


def _text(name: str, value: Any) -> str:
    try:
        return value if isinstance(value, str) else bytes(value).decode()
    except UnicodeDecodeError as error:
        raise BadItemError(f"`{name}` is not UTF-8 text") from error


def refuse_parameters(parameters: str, known: Collection[str] = ()) -> None:
    """Refuse request parameters, which Triton would pass over in silence.

    Triton's ``/generate`` turns every field of the JSON that names no input into a
    parameter: a misspelt option would otherwise be an option that has no effect.

    Args:
        parameters: JSON text of an object, as ``request.parameters()`` gives it.
        known: names that are allowed.

    Raises:
        BadItemError: it names the parameter and the options that there are.
    """
    unknown = sorted(set(json.loads(parameters or "{}")) - set(known))
    if unknown:
        have = ", ".join(field.name for field in fields(Options))
        raise BadItemError(f"unknown option {unknown[0]!r}; there are: {have}")


class Search(Protocol):
    """The search for one item's tokens."""

    @property
    def rows(self) -> int:
        """How many rows of the decoder it needs."""

    @property
    def tokens(self) -> Sequence[int]:
        """What is chosen so far, without the end token; a beam search has it at its end."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    def take(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Choose from ``scores`` float[rows, vocabulary].

        Returns:
            The rows to go on from and their tokens, or ``None`` at the end.
        """

    def finish(self) -> None:
        """End it with what it has."""


def search(chosen: Options, end: int) -> Search:
    """Give the search that the options ask for; ``end`` is the end token."""
    return Beams(chosen, end) if chosen.num_beams > 1 else Path(chosen, end)


class Path:
    """One path: the likeliest token each time, or a sampled one."""

    rows = 1

    def __init__(self, chosen: Options, end: int) -> None:
        self.tokens: list[int] = []
        self._options = chosen
        self._end = end
        self._left = chosen.max_new_tokens
        self._random = np.random.Generator(np.random.PCG64(chosen.seed))

    def take(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Choose one token."""
        if self.done:
            return None
        token = pick(scores[0], self._options, self._random)
        self._left -= 1
        if token == self._end:
            self._left = 0
            return None
        self.tokens.append(token)
        return (np.array([0]), np.array([token])) if self._left else None

    @property
    def done(self) -> bool:
        """Whether the end token came, or no more may be made."""
        return self._left == 0

    def finish(self) -> None:
        """End it with what it has."""
        self._left = 0


def pick(scores: np.ndarray, chosen: Options, random: np.random.Generator) -> int:
    """Choose a token by its scores (logits, float[vocabulary]): the likeliest, or sampled."""
    if chosen.temperature == 0:
        return int(scores.argmax())
    # Sorted by score, ties by token: the choice must not hang on how a sort leaves ties.
    ranked = np.argsort(-scores, kind="stable")
    if chosen.top_k:
        ranked = ranked[: chosen.top_k]
    # The largest is taken off first: a tiny temperature would overflow otherwise.
    exponents = (scores[ranked].astype(np.float64) - scores[ranked[0]]) / chosen.temperature
    shares = np.exp(exponents)
    shares /= shares.sum()
    # A token stays while those before it hold less than top_p, so one always stays.
    before = np.concatenate([[0.0], np.cumsum(shares)[:-1]])
    shares = shares[before < chosen.top_p]
    reached = np.cumsum(shares)
    at = np.searchsorted(reached, random.random() * reached[-1], side="right")
    return int(ranked[min(int(at), len(shares) - 1)])


class Beams:
    """Beam search, with the rules of Hugging Face's ``generate`` at its defaults.

    A finished path scores its log-probability divided by its length, the end token
    counted (length penalty 1.0); the search ends when as many paths as beams are
    finished and no open one could still, at its present length, beat the worst.
    """

    def __init__(self, chosen: Options, end: int) -> None:
        self.rows = chosen.num_beams
        self.tokens: Sequence[int] = ()
        self.done = False
        self._end = end
        self._most = chosen.max_new_tokens
        self._open: list[tuple[int, ...]] = [()] * self.rows
        # All begin alike: only the first counts in the first turn.
        self._scores = np.array([0.0] + [-1e9] * (self.rows - 1), np.float32)
        self._finished: list[tuple[np.float32, tuple[int, ...]]] = []

    def take(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Extend the open paths by one token each."""
        if self.done:
            return None
        length = len(self._open[0]) + 1
        candidates = self._candidates(scores)
        last_turn = length >= self._most
        following: list[tuple[np.float32, int, int]] = []
        for rank, (score, row, token) in enumerate(candidates):
            if token != self._end and not last_turn:
                following.append((score, row, token))
            elif rank < self.rows:  # the others are only there to fill up the open paths
                self._keep(score / np.float32(length), self._open[row], token)
        following = following[: self.rows]
        if not following or self._settled(following[0][0], length):
            self.finish()
            return None
        self._open = [(*self._open[row], token) for _, row, token in following]
        self._scores = np.array([score for score, _, _ in following], np.float32)
        parents, tokens = zip(*((row, token) for _, row, token in following), strict=True)
        return np.array(parents), np.array(tokens)

    def finish(self) -> None:
        """End it with the best finished path, or the best open one where none is."""
        self.done = True
        self.tokens = self._finished[0][1] if self._finished else self._open[0]

    def _candidates(self, scores: np.ndarray) -> list[tuple[np.float32, int, int]]:
        """Give the best continuations of all open paths, twice as many as beams, best first."""
        total = (log_softmax(scores) + self._scores[:, np.newaxis]).reshape(-1)
        count = min(2 * self.rows, total.size)
        best = np.argpartition(-total, count - 1)[:count]
        best = best[np.lexsort((best, -total[best]))]
        size = scores.shape[-1]
        return [(total[flat], int(flat // size), int(flat % size)) for flat in best]

    def _keep(self, score: np.float32, path: tuple[int, ...], token: int) -> None:
        tokens = path if token == self._end else (*path, token)
        self._finished.append((score, tokens))
        self._finished.sort(key=lambda entry: -entry[0])
        del self._finished[self.rows :]

    def _settled(self, best_open: np.float32, length: int) -> bool:
        full = len(self._finished) == self.rows
        return full and bool(best_open / np.float32(length) <= self._finished[-1][0])


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Give log-probabilities along the last axis, in float32 as the networks compute them."""
    shifted = scores.astype(np.float32) - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def decode(step: Step, searches: Sequence[Search], start: Sequence[int] | int) -> Iterator[None]:
    """Advance all searches together; yields after each turn, until the last one ends.

    A search may be ended between turns by its ``finish``; its rows leave the
    decoder with the turn after.

    Args:
        step: the decoder.
        searches: one per item.
        start: the first token, of all items or of each.
    """
    starts = np.broadcast_to(np.asarray(start, np.int64), (len(searches),))
    items = np.repeat(np.arange(len(searches)), [one.rows for one in searches])
    parents, tokens = items, starts[items]
    running = list(searches)
    while running:
        scores = step(parents, tokens)
        kept = list(_turn(running, scores))
        running = [one for one, _, _ in kept]
        if kept:
            parents = np.concatenate([rows for _, rows, _ in kept])
            tokens = np.concatenate([following for _, _, following in kept])
        yield


def _turn(
    running: Sequence[Search], scores: np.ndarray
) -> Iterator[tuple[Search, np.ndarray, np.ndarray]]:
    """Let each search take its rows of the scores; give those that go on, and from where."""
    first = 0
    for one in running:
        following = one.take(scores[first : first + one.rows])
        if following is not None:
            parents, tokens = following
            yield one, parents + first, tokens
        first += one.rows


class Transcript:
    """The text of a growing list of tokens, in pieces that never change again.

    A piece is held back while it may still change: half a character of several
    bytes, or the beginning of a stop text.
    """

    def __init__(self, decode_tokens: Decode, stop: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._decode = decode_tokens
        self._stop = tuple(stop)

    def extend(self, tokens: Sequence[int], *, final: bool = False) -> str:
        """Give what is new in the text of ``tokens``, which must begin as the last call's did.

        Args:
            tokens: all tokens so far.
            final: no more will come, so nothing is held back.
        """
        if self.stopped:
            return ""
        whole = self._decode(tokens)
        ends = [at for at in (whole.find(stop) for stop in self._stop) if at >= 0]
        self.stopped = bool(ends)
        if ends:
            whole = whole[: min(ends)]
        elif not final:
            whole = whole[: len(whole) - self._unsure(whole)]
        piece = whole[len(self.text) :]
        self.text += piece
        return piece

    def _unsure(self, text: str) -> int:
        """Count the characters at the end that later tokens may change or cut off."""
        partial = len(text) - len(text.rstrip(_UNFINISHED_CHARACTER))
        begun = (
            length
            for stop in self._stop
            for length in range(len(stop) - 1, 0, -1)
            if text.endswith(stop[:length])
        )
        return max([partial, *begun])


def pad(rows: Sequence[Sequence[int]], value: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring token lists to one length: int64[items, longest] and its mask of 1 and 0."""
    longest = max((len(row) for row in rows), default=0)
    tokens = np.full((len(rows), longest), value, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return tokens, mask
