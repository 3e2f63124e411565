"""Where in a text-format file each field stands, so that errors can point at it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.protobuf import text_format

_OPENING = {"{": "}", "<": ">"}
_SEPARATORS = (";", ",")

# One step of a path: field name and index among the fields of that name.
Step = tuple[str, int]
# Line and column of the first character, and of the one behind the last.
Span = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Position:
    """One field of the file; lines and columns count from 1."""

    path: tuple[Step, ...]
    line: int
    column: int
    statement: Span = ((0, 0), (0, 0))
    """From the field's name to the end of its value, or of the whole list that it stands in."""


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
    path = steps(location)
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


def steps(location: Sequence[object]) -> tuple[Step, ...]:
    """Give the path of a location: names, each optionally followed by an index."""
    found: list[Step] = []
    for part in location:
        if isinstance(part, int) and found:
            found[-1] = (found[-1][0], part)
        else:
            found.append((str(part), 0))
    return tuple(found)


class _Reader:
    """Walks the tokens of a text-format file without knowing its message type."""

    def __init__(self, text: str) -> None:
        self.found: list[Position] = []
        self._tokens = text_format.Tokenizer(text.split("\n"))
        self._end = (1, 1)

    def message(self, parent: tuple[Step, ...], end: str) -> None:
        counts: Counter[str] = Counter()
        while not self._tokens.AtEnd() and not self._consumed(end):
            name, place = self._tokens.token, self._place()
            self._next()
            self._consumed(":")
            first = len(self.found)
            self._values(parent, name, place, counts)
            self._close(first, parent, name, place)
            self._skip_separator()

    def _values(
        self, parent: tuple[Step, ...], name: str, place: tuple[int, int], counts: Counter[str]
    ) -> None:
        in_list = self._consumed("[")
        if in_list:  # the list itself stands where its name does
            self.found.append(Position((*parent, (name, counts[name])), *place))
        while not (in_list and self._consumed("]")):
            where = self._place() if in_list else place
            path = (*parent, (name, counts[name]))
            self.found.append(Position(path, *where))
            counts[name] += 1
            self._value(path)
            if not in_list or self._tokens.AtEnd():
                return
            self._skip_separator()

    def _close(
        self, first: int, parent: tuple[Step, ...], name: str, place: tuple[int, int]
    ) -> None:
        """Tell the values of one statement where it begins and ends."""
        for index in range(first, len(self.found)):
            position = self.found[index]
            if len(position.path) == len(parent) + 1 and position.path[-1][0] == name:
                self.found[index] = replace(position, statement=(place, self._end))

    def _value(self, path: tuple[Step, ...]) -> None:
        opening = self._tokens.token
        if opening in _OPENING:
            self._next()
            self.message(path, _OPENING[opening])
            return
        quoted = opening[:1] in ("'", '"')
        self._next()
        while quoted and self._tokens.token[:1] in ("'", '"'):  # adjacent strings are one value
            self._next()

    def _skip_separator(self) -> None:
        for separator in _SEPARATORS:
            if self._tokens.TryConsume(separator):
                return

    def _consumed(self, token: str) -> bool:
        if self._tokens.token != token:
            return False
        self._next()
        return True

    def _next(self) -> None:
        line, column = self._place()
        self._end = (line, column + len(self._tokens.token))
        self._tokens.NextToken()

    def _place(self) -> tuple[int, int]:
        # The tokenizer counts from 0 and keeps its place to itself but for errors.
        error = self._tokens.ParseError("")  # type: ignore[arg-type]  # takes any text
        return error.GetLine() or 1, error.GetColumn() or 1
