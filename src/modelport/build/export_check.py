"""Whether an ONNX file says what its network does, or only what it did with one example.

An exporter calls the network once and keeps the functions of tensors that it sees. Decisions
that Python takes between them (a branch on a value, a loop over a length, a number drawn) are
kept as they fell for the example. Here the network is called with other values and other sizes;
where the file answers otherwise, or a second export differs, the line that decides is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from modelport.build import export_inputs as inputs_of
from modelport.build.export_inputs import EXAMPLE, LARGER, OTHERS, Size
from modelport.build.export_lines import converted, copied, first_difference, parting
from modelport.build.export_recording import Line, line_of, record
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
    network = copied(network)
    with torch.random.fork_rng(devices=[]):
        try:
            first, second = (_answers(network, inputs) for _ in range(2))
        except Exception as error:  # the user's code may raise anything; it is reported as theirs
            line = line_of(error)
            what = f"the network takes {EXAMPLE.of(model)}, and fails with {LARGER.of(model)}"
            where = f"{line}: " if line else ""
            told = f"{what}: {where}{_first_line(error)}"
            raise _refused(model, told, _SIZES, [line] if line else []) from error
        if not _agree(first, second):
            lines = first_difference(*(record(network, inputs, answers=True) for _ in range(2)))
            what = f"the network answers the same input differently each time{_at(lines)}"
            raise _refused(model, what, _RANDOM, lines)
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
            raise _refused(
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
    if any(tensor.datatype == "BF16" for tensor in (*model.inputs, *model.outputs)):
        return  # numpy has no such numbers
    session, asked = in_process.session(path), copied(network)
    for size in dict.fromkeys((LARGER, *OTHERS, *beyond)):
        inputs = inputs_of.drawn(model, size)
        try:
            expected = _answers(asked, inputs)
        except Exception:  # noqa: BLE001, S112 - the network refuses that size by itself
            continue
        failure = _failure(model, session, inputs, expected)
        if failure:
            lines = parting(model, network, size)
            if lines or failure != _OTHERWISE:
                what = f"with {size.of(model)}, the ONNX file {failure}"
                raise _refused(model, f"{what}{_at(lines)}", _LENGTHS, lines)


def _failure(model: TorchModel, session: Any, inputs: Tensors, expected: Tensors) -> str:
    """Say how a file fails to answer as its network; nothing where it answers so."""
    import onnxruntime

    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    feeds = {tensor.name: t.numpy() for tensor, t in zip(model.inputs, inputs, strict=True)}
    try:
        got = session.run([tensor.name for tensor in model.outputs], feeds, quiet)
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no class
        told = _RUNTIMES_OWN.sub("", str(error)).strip()[:120]
        return f"fails ({told}) where the network answers"
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
    lines = converted(record(copied(network), inputs).conversions)
    if lines:
        what = f"values of a tensor become Python's{_at([line for line, _ in lines])}"
        kinds = ", ".join(dict.fromkeys(kind for _, kind in lines))
        raise _refused(model, f"{what} ({kinds})", _VALUES, [line for line, _ in lines])
    other = path.with_name(f"again-{path.name}")
    try:
        again(inputs, other)
        difference = _graph_difference(path, other)
    finally:
        for file in path.parent.glob(f"{other.name}*"):
            file.unlink()
    if difference:
        found = [line for line in suspects if not line.of_torch] or parting(model, network, LARGER)
        what = f"exported with {EXAMPLE.of(model)} and with {LARGER.of(model)}, the graphs differ"
        raise _refused(model, f"{what}: {difference}{_at(found)}", _LENGTHS, found)


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
        unnamed = onnx.TensorProto()
        unnamed.CopyFrom(tensor)
        unnamed.ClearField("name")
        yield unnamed


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


def _refused(
    model: TorchModel, what: str, advice: tuple[str, str], lines: Sequence[Line]
) -> ExportError:
    cause, next_step = advice
    return ExportError(
        f"model {model.name!r}: {what}",
        cause=cause,
        next_step=next_step,
        model=model.name,
        lines=tuple(lines),
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:300]
