"""What `modelport doctor --fix` may change, and how a config.pbtxt is changed in place.

Only the characters of the fields concerned are touched: comments, order and
spelling of everything else stay as somebody wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from modelport.repository import positions
from modelport.repository.positions import Position


@dataclass(frozen=True)
class SetField:
    """Write ``name: value`` where the field stands, or into the message that should hold it."""

    field: str
    value: str


@dataclass(frozen=True)
class DropField:
    """Take a field away, with all its values; ``field`` ends without an index."""

    field: str


@dataclass(frozen=True)
class DropComment:
    """Take the comment that begins at a place away."""

    line: int
    column: int


@dataclass(frozen=True)
class MakeFolder:
    """Make an empty folder."""

    path: Path


@dataclass(frozen=True)
class DropBytecode:
    """Remove a ``__pycache__`` that holds nothing but what Python writes there."""

    path: Path


Repair: TypeAlias = SetField | DropField | DropComment | MakeFolder | DropBytecode
TextRepair = (SetField, DropField, DropComment)


@dataclass(frozen=True, order=True)
class Splice:
    """Characters ``start`` to ``end`` of a text give way to ``text``."""

    start: int
    end: int
    text: str


def location(field: str) -> list[object]:
    """Take a field apart: ``input[0].dims`` is input, 0, dims."""
    return [int(part) if part.isdecimal() else part for part in re.findall(r"\w+", field)]


def apply(text: str, repairs: Sequence[Repair]) -> str:
    """Give the text with every repair made that does not overlap an earlier one."""
    end = len(text)
    for splice in reversed(splices(text, repairs)):
        if splice.end <= end:
            text = text[: splice.start] + splice.text + text[splice.end :]
            end = splice.start
    return text


def splices(text: str, repairs: Sequence[Repair]) -> list[Splice]:
    """Give what the repairs change in a text, in the order of the text."""
    found = positions.locate(text)
    starts = _line_starts(text)
    made: set[Splice] = set()
    for repair in repairs:
        if isinstance(repair, DropField):
            made.update(_dropped(text, starts, found, repair))
        elif isinstance(repair, SetField):
            made.update(_set(text, starts, found, repair))
        elif isinstance(repair, DropComment):
            start = starts[repair.line - 1] + repair.column - 1
            made.add(_whole_line(text, start, _line_end(text, start)))
    return _merged(sorted(made))


def _merged(made: Sequence[Splice]) -> list[Splice]:
    """Make one of deletions that share the space between them."""
    merged: list[Splice] = []
    for splice in made:
        last = merged[-1] if merged else None
        if last and splice.start <= last.end and not (last.text or splice.text):
            merged[-1] = Splice(last.start, max(last.end, splice.end), "")
        else:
            merged.append(splice)
    return merged


def _dropped(
    text: str, starts: Sequence[int], found: Sequence[Position], repair: DropField
) -> list[Splice]:
    path = _path(repair.field)
    parent, name = path[:-1], path[-1][0]
    wanted = [p for p in found if p.path[:-1] == parent and p.path[-1][0] == name]
    return [_whole_line(text, *_offsets(starts, p)) for p in wanted]


def _set(
    text: str, starts: Sequence[int], found: Sequence[Position], repair: SetField
) -> list[Splice]:
    path = _path(repair.field)
    statement = f"{path[-1][0]}: {repair.value}"
    for position in found:
        if position.path == path:
            return [Splice(*_offsets(starts, position), statement)]
    for position in found:
        if position.path == path[:-1]:
            return [_inserted(text, _offsets(starts, position)[1] - 1, statement)]
    return []


def _inserted(text: str, closing: int, statement: str) -> Splice:
    """Put a statement before the brace that closes its message, on a line as the brace is."""
    line = text.rfind("\n", 0, closing) + 1
    indent = text[line:closing]
    if indent.strip():
        space = "" if text[closing - 1].isspace() else " "
        return Splice(closing, closing, f"{space}{statement} ")
    return Splice(line, line, f"{indent}  {statement}\n")


def _whole_line(text: str, start: int, end: int) -> Splice:
    """Take the separator and the line along, where nothing else stands on it."""
    while end < len(text) and text[end] in " \t,;":
        end += 1
    line, line_end = text.rfind("\n", 0, start) + 1, _line_end(text, end)
    if not text[line:start].strip() and not text[end:line_end].strip():
        return Splice(line, min(line_end + 1, len(text)), "")
    if end == line_end:  # the space before it would be left at the end of the line
        start = line + len(text[line:start].rstrip())
    return Splice(start, end, "")


def _path(field: str) -> tuple[tuple[str, int], ...]:
    return positions.steps(location(field))


def _offsets(starts: Sequence[int], position: Position) -> tuple[int, int]:
    (line, column), (end_line, end_column) = position.statement
    return starts[line - 1] + column - 1, starts[end_line - 1] + end_column - 1


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end
