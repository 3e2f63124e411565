"""Whether an ONNX file says what its network does, or only what it did with one example.

An exporter calls the network once and keeps the functions of tensors that it sees. Decisions
that Python takes between them (a branch on a value, a loop over a length, a number drawn) are
kept as they fell for the example. Here the network is called with other values and other sizes;
where the file answers otherwise, or a second export differs, the line that decides is named.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

import onnx
import torch
from torch import nn

from modelport.build import export_inputs as inputs_of
from modelport.build.export_inputs import EXAMPLE, LARGER, OTHERS, Size
from modelport.build.export_recording import Call, Conversion, Line, line_of, record
from modelport.errors import ExportError
from modelport.spec.model import TorchModel
from modelport.verify import in_process

Tensors = tuple[torch.Tensor, ...]

# Sums in another order differ by less, and what another branch gives by more.
_CLOSE = {torch.float16: 2e-2, torch.bfloat16: 5e-2}
_CLOSE_FLOATS = 1e-3
_NAMED_LINES = 3
_SHOWN = 8
# ONNX Runtime begins with its error's number, and a place in its own source.
_RUNTIMES_OWN = re.compile(r"^.*?Status Message: (/\S+ .*? was false\. )?", re.DOTALL)

_OTHERWISE = "answers otherwise than the network"
_WRONG = "the served model would answer wrongly"
_RANDOM = (
    "it draws random numbers or counts its calls, and the ONNX file would hold one draw or"
    " differ from call to call",
    "draw nothing in evaluation mode: nn.Dropout instead of functional.dropout, or"
    " `if self.training:`",
)
_SIZES = (
    "a size of the example, or the largest one, stands in the network as a number",
    "take sizes from the input (x.shape[0], x.shape[1]); declare a dimension that does not vary"
    " with its size in `inputs`",
)
_VALUES = (
    f"a graph has no Python in it: it would hold what the example gave, and {_WRONG} for others",
    "choose with torch.where(condition, a, b), or torch.cond for whole branches; compute with"
    " tensors instead of .item(), int() and float()",
)
_LENGTHS = (
    f"Python counts, chooses or computes with a size there: the graph holds the result for the"
    f" example's size, and {_WRONG} at others",
    "use functions of whole tensors instead of loops and branches (torch.where, torch.cond,"
    " cumsum, masks), and sizes as tensors or as arguments of them (x / x.shape[1] ** 0.5);"
    " declare a dimension that does not vary with its size in `inputs`",
)


# --- before the export ----------------------------------------------------------


def check_network(model: TorchModel, network: nn.Module) -> None:
    """Call the network with more than the example has, twice.

    Raises:
        ExportError: it does not take another size, gives another shape than is declared, or
            answers the same input differently each time.
    """
    inputs = inputs_of.drawn(model, LARGER)
    network = _copied(network)
    with torch.random.fork_rng(devices=[]):
        try:
            first, second = (_answers(network, inputs) for _ in range(2))
        except Exception as error:  # the user's code may raise anything; it is reported as theirs
            line = line_of(error)
            _refuse(
                model,
                f"the network takes {EXAMPLE.of(model)}, and fails with {LARGER.of(model)}:"
                f" {f'{line}: ' if line else ''}{_first_line(error)}",
                _SIZES,
                [line] if line else [],
            )
        if not _agree(first, second):
            lines = _first_difference(*(record(network, inputs, answers=True) for _ in range(2)))
            what = f"the network answers the same input differently each time{_at(lines)}"
            _refuse(model, what, _RANDOM, lines)
    _check_shapes(model, first)


def _check_shapes(model: TorchModel, outputs: Sequence[torch.Tensor]) -> None:
    for tensor, output in zip(model.outputs, outputs, strict=True):
        items = [LARGER.items] if model.max_batch_size else []
        expected = items + list(tensor.dims)
        given = list(output.shape)
        fits = len(given) == len(expected) and all(
            want in (-1, have) for want, have in zip(expected, given, strict=True)
        )
        if not fits:
            _refuse(
                model,
                f"output {tensor.name!r} of the network is {given} for {LARGER.of(model)};"
                f" {expected} is declared, with the batch first",
                _SIZES,
                [],
            )


# --- after it -------------------------------------------------------------------


def check_file(
    model: TorchModel, network: nn.Module, path: Path, *, beyond: Sequence[Size] = ()
) -> None:
    """Compare the file's answers with the network's at other values and sizes.

    Where they differ, and the network does something else in Python than with the example, the
    file is refused. A difference without that is left to the proof, which has a tolerance.

    Args:
        model: the declaration.
        network: in evaluation mode.
        path: the ONNX file.
        beyond: sizes for which the exporter knows that it saw another branch.

    Raises:
        ExportError: the file holds for the example only; the message has the line.
    """
    session = in_process.session(path)
    for size in dict.fromkeys((LARGER, *OTHERS, *beyond)):
        inputs = inputs_of.drawn(model, size)
        try:
            expected = _answers(_copied(network), inputs)
        except Exception:  # noqa: BLE001, S112 - the network refuses that size by itself
            continue
        failure = _failure(model, session, inputs, expected)
        if failure:
            lines = _parting(model, network, size)
            if lines or failure != _OTHERWISE:
                what = f"with {size.of(model)}, the ONNX file {failure}"
                _refuse(model, f"{what}{_at(lines)}", _LENGTHS, lines)


def _failure(model: TorchModel, session: Any, inputs: Tensors, expected: Tensors) -> str:
    """Say how a file fails to answer as its network; nothing where it answers so."""
    import onnxruntime

    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    feeds = {tensor.name: t.numpy() for tensor, t in zip(model.inputs, inputs, strict=True)}
    try:
        got = session.run([tensor.name for tensor in model.outputs], feeds, quiet)
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no class
        return f"fails ({_RUNTIMES_OWN.sub('', str(error)).strip()[:120]}) where the network answers"
    return "" if _agree(expected, [torch.from_numpy(array) for array in got]) else _OTHERWISE


def check_trace(
    model: TorchModel,
    network: nn.Module,
    path: Path,
    again: Callable[[Tensors, Path], Sequence[Line]],
    suspects: Sequence[Line],
) -> None:
    """Find what tracing kept of the example, by its values and by a second trace.

    Args:
        model: the declaration.
        network: in evaluation mode.
        path: the ONNX file of the first trace.
        again: exports with other inputs to another file.
        suspects: lines of which the exporter warned.

    Raises:
        ExportError: values became Python's, or the second graph differs from the first.
    """
    inputs = inputs_of.drawn(model, LARGER)
    lines = _converted(record(_copied(network), inputs).conversions)
    if lines:
        what = f"values of a tensor become Python's{_at([line for line, _ in lines])}"
        kinds = ", ".join(dict.fromkeys(kind for _, kind in lines))
        _refuse(model, f"{what} ({kinds})", _VALUES, [line for line, _ in lines])
    other = path.with_name(f"again-{path.name}")
    try:
        again(inputs, other)
        difference = _graph_difference(path, other)
    finally:
        for file in path.parent.glob(f"{other.name}*"):
            file.unlink()
    if difference:
        found = [line for line in suspects if not line.of_torch] or _parting(model, network, LARGER)
        what = f"exported with {EXAMPLE.of(model)} and with {LARGER.of(model)}, the graphs differ"
        _refuse(model, f"{what}: {difference}{_at(found)}", _LENGTHS, found)


def _copied(network: nn.Module) -> nn.Module:
    """Copy a network, for what it keeps of a call must not change the next one."""
    with contextlib.suppress(Exception):  # a user's module may hold what cannot be copied
        return copy.deepcopy(network)
    return network


def _answers(network: nn.Module, inputs: Tensors) -> Tensors:
    with torch.inference_mode():
        given = network.eval()(*inputs)
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _agree(expected: Sequence[torch.Tensor], got: Sequence[torch.Tensor]) -> bool:
    return all(_close(a, b) for a, b in zip(expected, got, strict=True))


def _close(expected: torch.Tensor, got: torch.Tensor) -> bool:
    if expected.shape != got.shape:
        return False
    if not expected.is_floating_point():
        return bool(torch.equal(expected, got))
    one, other = expected.double(), got.double()
    finite = one[one.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    near = _CLOSE.get(expected.dtype, _CLOSE_FLOATS)
    return bool(torch.allclose(one, other, rtol=near, atol=near * scale, equal_nan=True))


# --- which line -----------------------------------------------------------------


def _first_difference(one: Recording, other: Recording) -> list[Line]:
    """Find the first call of two recordings on the same inputs that gives something else."""
    for first, second in zip_longest(one.calls, other.calls):
        if first != second:
            return [(first or second).line]
    return []


def _parting(model: TorchModel, network: nn.Module, size: Size) -> list[Line]:
    """Find where a call with a size parts ways with that of the example: the lines of both.

    Where both take the same lines, those count that pass a number which is no size.
    """
    example = record(_copied(network), inputs_of.zeros(model)).calls
    other = record(_copied(network), inputs_of.drawn(model, size)).calls

    def step(call: Call) -> tuple[str, Line]:
        return call.name, call.line

    for first, second in zip_longest(example, other):
        if not first or not second or step(first) != step(second):
            lines = {call.line for call in (first, second) if call}
            return sorted(lines, key=lambda line: (line.file, line.number))
    pairs = zip(example, other, strict=True)
    return list(dict.fromkeys(a.line for a, b in pairs if _unlike_sizes(a.numbers, b.numbers, size)))


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


def _converted(conversions: Sequence[Conversion]) -> list[tuple[Line, str]]:
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


def _graph_difference(one: Path, other: Path) -> str:
    """Say how the graphs of two files differ, if they do; names of nodes do not count."""
    graphs = [onnx.load(str(path)).graph for path in (one, other)]
    first, second = (list(graph.node) for graph in graphs)
    if len(first) != len(second):
        return f"{len(first)} nodes and {len(second)}"
    for a, b in zip(first, second, strict=True):
        if a.op_type != b.op_type:
            return f"{a.op_type} and {b.op_type}"
        if _attributes(a) != _attributes(b):
            return f"a {a.op_type} with {_shown(a)} and with {_shown(b)}"
    constants = [[t.SerializeToString() for t in _unnamed(graph)] for graph in graphs]
    return "" if constants[0] == constants[1] else "constants that are not the same"


def _attributes(node: onnx.NodeProto) -> list[bytes]:
    return sorted(attribute.SerializeToString() for attribute in node.attribute)


def _unnamed(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for tensor in graph.initializer:
        copied = onnx.TensorProto()
        copied.CopyFrom(tensor)
        copied.ClearField("name")
        yield copied


def _shown(node: onnx.NodeProto) -> str:
    shown = []
    for attribute in node.attribute:
        value: Any = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            array = onnx.numpy_helper.to_array(value)
            value = array.tolist() if array.size <= _SHOWN else f"numbers {list(array.shape)}"
        shown.append(f"{attribute.name} {value}"[:60])
    return ", ".join(shown)


# --- what is said ---------------------------------------------------------------


def _at(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    more = f" and {len(lines) - _NAMED_LINES} more lines" if len(lines) > _NAMED_LINES else ""
    return ": " + ", ".join(map(str, lines[:_NAMED_LINES])) + more


def _refuse(
    model: TorchModel, what: str, advice: tuple[str, str], lines: Sequence[Line]
) -> NoReturn:
    cause, next_step = advice
    raise ExportError(
        f"model {model.name!r}: {what}",
        cause=cause,
        next_step=next_step,
        model=model.name,
        lines=tuple(lines),
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:300]
