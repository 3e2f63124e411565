"""Where in a text-format file each field stands, so that errors can point at it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import text_format

_OPENING = {"{": "}", "<": ">"}
_SEPARATORS = (";", ",")

# One step of a path: field name and index among the fields of that name.
Step = tuple[str, int]


@dataclass(frozen=True)
class Position:
    """One field of the file; line and column count from 1."""

    path: tuple[Step, ...]
    line: int
    column: int


def locate(text: str) -> list[Position]:
    """List every field of ``text`` in the order of the file, as far as it can be read.

    A repeated field appears once for each of its values, a list also by itself.
    Text that breaks off or does not tokenize gives what stands before the break.
    """
    reader = _Reader(text)
    # Whoever parses the text reports the break; the fields before it still help.
    with contextlib.suppress(text_format.ParseError):
        reader.message((), end="")
    return reader.found


def find(positions: Sequence[Position], location: Sequence[object]) -> Position | None:
    """Give the field at ``location`` (names, each optionally followed by an index).

    Where the file has no such field, the nearest one around it is given.
    """
    by_path = {position.path: position for position in positions}
    path = _steps(location)
    while path:
        if path in by_path:
            return by_path[path]
        path = path[:-1]
    return None


def field_at(positions: Sequence[Position], line: int, column: int) -> str:
    """Name the last field that starts at or before a place; empty when there is none."""
    before = [p for p in positions if (p.line, p.column) <= (line, column)]
    return dotted(before[-1].path, repeated=_repeated(positions)) if before else ""


def dotted(path: Sequence[Step], *, repeated: set[tuple[str, ...]]) -> str:
    """Write a path as ``input[1].data_type``; only fields in ``repeated`` show an index."""
    parts = []
    for depth, (name, index) in enumerate(path, start=1):
        is_repeated = tuple(step[0] for step in path[:depth]) in repeated
        parts.append(f"{name}[{index}]" if is_repeated else name)
    return ".".join(parts)


def _repeated(positions: Sequence[Position]) -> set[tuple[str, ...]]:
    """Names of the fields that occur more than once in one message."""
    return {tuple(step[0] for step in p.path) for p in positions if p.path[-1][1] > 0}


def _steps(location: Sequence[object]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for part in location:
        if isinstance(part, int) and steps:
            steps[-1] = (steps[-1][0], part)
        else:
            steps.append((str(part), 0))
    return tuple(steps)


class _Reader:
    """Walks the tokens of a text-format file without knowing its message type."""

    def __init__(self, text: str) -> None:
        self.found: list[Position] = []
        self._tokens = text_format.Tokenizer(text.split("\n"))

    def message(self, parent: tuple[Step, ...], end: str) -> None:
        counts: Counter[str] = Counter()
        while not self._tokens.AtEnd() and not self._tokens.TryConsume(end):
            name, place = self._tokens.token, self._place()
            self._tokens.NextToken()
            self._tokens.TryConsume(":")
            self._values(parent, name, place, counts)
            self._skip_separator()

    def _values(
        self, parent: tuple[Step, ...], name: str, place: tuple[int, int], counts: Counter[str]
    ) -> None:
        in_list = self._tokens.TryConsume("[")
        if in_list:  # the list itself stands where its name does
            self.found.append(Position((*parent, (name, counts[name])), *place))
        while not (in_list and self._tokens.TryConsume("]")):
            where = self._place() if in_list else place
            path = (*parent, (name, counts[name]))
            self.found.append(Position(path, *where))
            counts[name] += 1
            self._value(path)
            if not in_list or self._tokens.AtEnd():
                return
            self._skip_separator()

    def _value(self, path: tuple[Step, ...]) -> None:
        opening = self._tokens.token
        if opening in _OPENING:
            self._tokens.NextToken()
            self.message(path, _OPENING[opening])
            return
        quoted = opening[:1] in ("'", '"')
        self._tokens.NextToken()
        while quoted and self._tokens.token[:1] in ("'", '"'):  # adjacent strings are one value
            self._tokens.NextToken()

    def _skip_separator(self) -> None:
        for separator in _SEPARATORS:
            if self._tokens.TryConsume(separator):
                return

    def _place(self) -> tuple[int, int]:
        # The tokenizer counts from 0 and keeps its place to itself but for errors.
        error = self._tokens.ParseError("")  # type: ignore[arg-type]  # takes any text
        return error.GetLine() or 1, error.GetColumn() or 1
