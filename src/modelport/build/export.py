"""From a torch network to an ONNX file that says the same."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelport.build import export_check, export_inputs
from modelport.build.export_inputs import EXAMPLE, TORCH_TYPES, Size
from modelport.build.export_recording import Line
from modelport.errors import BuilderError, ExportError
from modelport.spec.model import TorchModel
from modelport.spec.parts import Tensor

OPSET = 18
# Longer inputs are not made to find out what happens beyond a bound.
_LONGEST = 2048
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Exported:
    """How the export went: the exporter that made the file, and why not the first choice."""

    exporter: str
    opset: int
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        """Give the fields as a dictionary that JSON can hold."""
        return asdict(self)


def check_outputs(model: TorchModel, network: nn.Module, builder: Path) -> None:
    """Run the network on an example and compare its outputs with the declared ones.

    Raises:
        BuilderError: their number, an element type or a shape differs, or the network
            does not take the declared inputs.
    """
    example = export_inputs.zeros(model)
    try:
        with torch.inference_mode():
            outputs = network.eval()(*example)
    except Exception as error:  # the user's code may raise anything; it is reported as theirs
        shapes = ", ".join(
            f"{t.name} {list(e.shape)}" for t, e in zip(model.inputs, example, strict=True)
        )
        raise BuilderError(
            f"{builder}: model {model.name!r}: the network does not take its declared inputs"
            f" ({shapes}): {type(error).__name__}: {error}",
            cause="`inputs` and the network's forward disagree",
            next_step="mend `inputs` (dims without the batch dimension) or the network",
            model=model.name,
        ) from error
    given = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    if len(given) != len(model.outputs):
        raise _mismatch(builder, model, "outputs", f"{len(model.outputs)} tensors", f"{len(given)}")
    for index, (tensor, got) in enumerate(zip(model.outputs, given, strict=True)):
        _check_output(builder, model, index, tensor, got)


def _check_output(builder: Path, model: TorchModel, index: int, tensor: Tensor, got: Any) -> None:
    field = f"outputs[{index}] ({tensor.name})"
    if not isinstance(got, torch.Tensor):
        raise _mismatch(builder, model, field, "a tensor", type(got).__name__)
    if got.dtype != TORCH_TYPES.get(tensor.datatype):
        raise _mismatch(builder, model, f"{field}.datatype", tensor.datatype, str(got.dtype))
    shape = list(got.shape[1:] if model.max_batch_size else got.shape)
    fits = len(shape) == len(tensor.dims) and all(
        want in (-1, have) for want, have in zip(tensor.dims, shape, strict=True)
    )
    if not fits:
        raise _mismatch(builder, model, f"{field}.dims", str(list(tensor.dims)), str(shape))


def _mismatch(
    builder: Path, model: TorchModel, field: str, expected: str, got: str
) -> BuilderError:
    return BuilderError(
        f"{builder}: model {model.name!r}: {field}: the spec says {expected},"
        f" the network gives {got}",
        cause="the network's forward and the declared outputs disagree",
        next_step=f"mend `{field.split(' ')[0]}` in the builder, or the network",
        model=model.name,
        field=field,
        expected=expected,
        got=got,
    )


def export(model: TorchModel, network: nn.Module, path: Path) -> Exported:
    """Write ``network`` as ONNX: by torch.export first, by TorchScript tracing if that fails.

    Args:
        model: declares names, shapes and which dimensions vary.
        network: in evaluation mode.
        path: the file to write; tensors above 2 GB go to ``<path>.data``.

    Raises:
        ExportError: neither exporter takes the network, the message has both reasons; or the
            file would hold for the example only, the message has the line that decides.
    """
    export_check.check_network(model, network)
    try:
        bounds = _export_dynamo(model, network, path)
    except Exception as error:  # noqa: BLE001 - whatever it was, tracing may still do it
        reason = _reason(error)
    else:
        export_check.check_file(model, network, path, beyond=bounds)
        return Exported("dynamo", OPSET)
    try:
        suspects = _export_tracing(model, network, export_inputs.zeros(model), path)
    except Exception as error:
        raise ExportError(
            f"model {model.name!r} does not export to ONNX: torch.export: {reason};"
            f" tracing: {_reason(error)}",
            cause="the network uses Python control flow or an operator that ONNX lacks",
            next_step="see https://docs.pytorch.org/docs/stable/onnx.html",
            model=model.name,
        ) from error
    again = partial(_export_tracing, model, network)
    export_check.check_trace(model, network, path, again, suspects)
    export_check.check_file(model, network, path)
    return Exported("torchscript", OPSET, reason)


def slim(source: Path, target: Path) -> None:
    """Simplify a graph with onnxslim: folded constants, fused and removed nodes."""
    import onnxslim

    with _quiet():
        onnxslim.slim(str(source), str(target))
    if not target.is_file():
        raise ExportError(f"onnxslim wrote no file for {source}", path=source)


def _export_dynamo(model: TorchModel, network: nn.Module, path: Path) -> list[Size]:
    """Export by torch.export; give the sizes beyond which what it saw need not hold."""
    shapes = tuple(
        _dynamic_dims(model, tensor, torch.export.Dim.DYNAMIC) for tensor in model.inputs
    )
    with _quiet():
        program = torch.onnx.export(
            network,
            export_inputs.zeros(model),
            str(path),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=_names(model.inputs),
            output_names=_names(model.outputs),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    _free_varying_dims(model, path)
    return list(_beyond(model, program))


def _beyond(model: TorchModel, program: Any) -> Iterator[Size]:
    """Give sizes just outside of those that torch.export took for granted when it saw a branch."""
    found = program.exported_program.range_constraints
    bounds = {str(symbol): (allowed.lower, allowed.upper) for symbol, allowed in found.items()}
    for tensor in program.model.graph.inputs:
        for place, dim in enumerate(tensor.shape or ()):
            low, high = bounds.get(str(dim), (0, _LONGEST))
            for edge in (low - 1, high + 1):
                if 0 < edge < _LONGEST:
                    batch = place == 0 and model.max_batch_size
                    yield EXAMPLE._replace(**{"items" if batch else "length": int(edge)})


def _free_varying_dims(model: TorchModel, path: Path) -> None:
    """Declare the dimensions that vary as such in the outputs.

    The graph of an LSTM runs at every length, but torch 2.13 notes the example's length
    for its output, and of all that follows.
    """
    import onnx

    graph = onnx.load(str(path))
    declared = {tensor.name: _dynamic_dims(model, tensor, None) for tensor in model.outputs}
    wrong = [
        (f"{output.name}_{i}", output.type.tensor_type.shape.dim[i])
        for output in graph.graph.output
        for i in declared[output.name]
        if output.type.tensor_type.shape.dim[i].HasField("dim_value")
    ]
    if wrong:
        for name, dim in wrong:
            dim.dim_param = name
        # What is noted for tensors inside is as wrong; runtimes infer it anew.
        del graph.graph.value_info[:]
        onnx.save(graph, str(path))


def _export_tracing(
    model: TorchModel, network: nn.Module, example: tuple[torch.Tensor, ...], path: Path
) -> list[Line]:
    """Export by TorchScript tracing; give the lines of which it warns."""
    tensors = [*model.inputs, *model.outputs]
    axes = {t.name: {i: f"{t.name}_{i}" for i in _dynamic_dims(model, t, None)} for t in tensors}
    if model.max_batch_size:
        axes = {name: dims | {0: "batch"} for name, dims in axes.items()}
    with _quiet() as heard:
        torch.onnx.export(
            network,
            example,
            str(path),
            dynamo=False,
            dynamic_axes=axes,
            input_names=_names(model.inputs),
            output_names=_names(model.outputs),
            opset_version=OPSET,
        )
    # torch.jit.TracerWarning, which torch does not export.
    warned = [w for w in heard if w.category.__name__ == "TracerWarning"]
    return list(dict.fromkeys(Line(w.filename, w.lineno) for w in warned))


def _dynamic_dims(model: TorchModel, tensor: Tensor, mark: Any) -> dict[int, Any]:
    offset = 1 if model.max_batch_size else 0
    varying = {i + offset: mark for i, dim in enumerate(tensor.dims) if dim == -1}
    return {0: mark} | varying if offset else varying


def _names(tensors: Sequence[Tensor]) -> list[str]:
    return [tensor.name for tensor in tensors]


def _reason(error: BaseException) -> str:
    """Give the first line of what went wrong at first; torch wraps it in advice, coloured."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = _COLOUR.sub("", str(error)).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0]}"[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep the exporters' chatter off the terminal; yields what they warn of."""
    void = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as heard,
        contextlib.redirect_stdout(void),
        contextlib.redirect_stderr(void),
    ):
        warnings.simplefilter("always")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield heard
        finally:
            logging.disable(before)


def reference(model: TorchModel, network: nn.Module, inputs: Any) -> dict[str, np.ndarray]:
    """Answer with the torch network itself: named arrays in, named arrays out."""
    tensors = (torch.from_numpy(np.array(inputs[tensor.name])) for tensor in model.inputs)
    with torch.inference_mode():
        outputs = network.eval()(*tensors)
    given = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    return {t.name: o.numpy() for t, o in zip(model.outputs, given, strict=True)}
