"""Which line of a network decides what an export of it holds."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import nn

from modelport.build import export_inputs
from modelport.build.export_inputs import EXAMPLE, Size
from modelport.build.export_recording import Call, Conversion, Line, Recording, record
from modelport.spec.model import TorchModel


def copied(network: nn.Module) -> nn.Module:
    """Copy a network, for what it keeps of a call must not change the next one."""
    with contextlib.suppress(Exception):  # a user's module may hold what cannot be copied
        return copy.deepcopy(network)
    return network


def first_difference(one: Recording, other: Recording) -> list[Line]:
    """Find the first call of two recordings on the same inputs that gives something else."""
    for first, second in zip_longest(one.calls, other.calls):
        if first != second:
            return [(first or second).line]
    return []


def parting(model: TorchModel, network: nn.Module, size: Size) -> list[Line]:
    """Find where a call with a size parts ways with that of the example: the lines of both.

    Where both take the same lines, those count that pass a number which is no size.
    """
    example = record(copied(network), export_inputs.zeros(model)).calls
    other = record(copied(network), export_inputs.drawn(model, size)).calls

    def step(call: Call) -> tuple[str, Line]:
        return call.name, call.line

    for first, second in zip_longest(example, other):
        if not first or not second or step(first) != step(second):
            lines = {call.line for call in (first, second) if call}
            return sorted(lines, key=lambda line: (line.file, line.number))
    pairs = zip(example, other, strict=True)
    return list(
        dict.fromkeys(a.line for a, b in pairs if _unlike_sizes(a.numbers, b.numbers, size))
    )


def _unlike_sizes(example: Sequence[Any], other: Sequence[Any], size: Size) -> bool:
    """Say whether numbers changed by more than the sizes that they may stand for."""
    if len(example) != len(other):
        return True
    return any(a != b and not _is_size(a, b, size) for a, b in zip(example, other, strict=True))


def _is_size(example: Any, other: Any, size: Size) -> bool:
    """Say whether an integer is a size, a multiple of one, or differs from one by a constant."""
    if not (type(example) is int and type(other) is int):
        return False
    sizes = [(EXAMPLE.items, size.items), (EXAMPLE.length, size.length)]
    sizes.append((EXAMPLE.items * EXAMPLE.length, size.items * size.length))
    multiple = any(example * now == other * then for then, now in sizes)
    return multiple or example - other == EXAMPLE.length - size.length


def converted(conversions: Sequence[Conversion]) -> list[tuple[Line, str]]:
    """Give lines where values become Python's, but for those that only refuse an input."""
    found = dict.fromkeys((made.line, made.to) for made in conversions)
    return [(line, to) for line, to in found if not _only_refuses(line)]


def _only_refuses(line: Line) -> bool:
    """Say whether a line is an ``assert``, or an ``if`` that does nothing but raise."""
    return any(
        test.lineno <= line.number <= (test.end_lineno or 0) for test in _refusals(line.file)
    )


@cache
def _refusals(file: str) -> list[ast.expr]:
    try:
        module = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    nodes = list(ast.walk(module))
    ifs = [node for node in nodes if isinstance(node, ast.If) and not node.orelse]
    raising = [node.test for node in ifs if all(isinstance(s, ast.Raise) for s in node.body)]
    return raising + [node.test for node in nodes if isinstance(node, ast.Assert)]
