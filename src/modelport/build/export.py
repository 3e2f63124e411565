"""From a torch network to an ONNX file that says the same."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelport.errors import BuilderError, ExportError
from modelport.spec.model import TorchModel
from modelport.spec.parts import Tensor

OPSET = 18
# Two items: with one, torch.export takes the batch dimension for the constant 1.
_EXAMPLE_BATCH = 2
# A prime, so that it is no width of a layer; long enough for a network that cuts windows.
_EXAMPLE_DIM = 67
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TORCH_TYPES = {
    "BOOL": torch.bool, "UINT8": torch.uint8, "INT8": torch.int8, "INT16": torch.int16,
    "INT32": torch.int32, "INT64": torch.int64, "FP16": torch.float16, "FP32": torch.float32,
    "FP64": torch.float64, "BF16": torch.bfloat16, "UINT16": torch.uint16,
    "UINT32": torch.uint32, "UINT64": torch.uint64,
}  # fmt: skip


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
    example = example_inputs(model)
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
    if got.dtype != _TORCH_TYPES.get(tensor.datatype):
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


def example_inputs(model: TorchModel) -> tuple[torch.Tensor, ...]:
    """Make zeros of the declared shapes, for tracing: 2 items, 67 where a dimension varies."""
    batch = [_EXAMPLE_BATCH] if model.max_batch_size else []
    return tuple(
        torch.zeros(
            *batch,
            *(_EXAMPLE_DIM if dim == -1 else dim for dim in tensor.dims),
            dtype=_TORCH_TYPES[tensor.datatype],
        )
        for tensor in model.inputs
    )


def export(model: TorchModel, network: nn.Module, path: Path) -> Exported:
    """Write ``network`` as ONNX: by torch.export first, by TorchScript tracing if that fails.

    Args:
        model: declares names, shapes and which dimensions vary.
        network: in evaluation mode.
        path: the file to write; tensors above 2 GB go to ``<path>.data``.

    Raises:
        ExportError: neither exporter takes the network; the message has both reasons.
    """
    try:
        _export_dynamo(model, network, path)
        return Exported("dynamo", OPSET)
    except Exception as error:  # noqa: BLE001 - whatever it was, tracing may still do it
        reason = _reason(error)
    try:
        _export_tracing(model, network, path)
        return Exported("torchscript", OPSET, reason)
    except Exception as error:
        raise ExportError(
            f"model {model.name!r} does not export to ONNX: torch.export: {reason};"
            f" tracing: {_reason(error)}",
            cause="the network uses Python control flow or an operator that ONNX lacks",
            next_step="see https://docs.pytorch.org/docs/stable/onnx.html",
            model=model.name,
        ) from error


def slim(source: Path, target: Path) -> None:
    """Simplify a graph with onnxslim: folded constants, fused and removed nodes."""
    import onnxslim

    with _quiet():
        onnxslim.slim(str(source), str(target))
    if not target.is_file():
        raise ExportError(f"onnxslim wrote no file for {source}", path=source)


def _export_dynamo(model: TorchModel, network: nn.Module, path: Path) -> None:
    shapes = tuple(
        _dynamic_dims(model, tensor, torch.export.Dim.DYNAMIC) for tensor in model.inputs
    )
    with _quiet():
        torch.onnx.export(
            network,
            example_inputs(model),
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


def _export_tracing(model: TorchModel, network: nn.Module, path: Path) -> None:
    tensors = [*model.inputs, *model.outputs]
    axes = {t.name: {i: f"{t.name}_{i}" for i in _dynamic_dims(model, t, None)} for t in tensors}
    if model.max_batch_size:
        axes = {name: dims | {0: "batch"} for name, dims in axes.items()}
    with _quiet():
        torch.onnx.export(
            network,
            example_inputs(model),
            str(path),
            dynamo=False,
            dynamic_axes=axes,
            input_names=_names(model.inputs),
            output_names=_names(model.outputs),
            opset_version=OPSET,
        )


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
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter off the terminal; what matters comes back as an exception."""
    void = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(void),
        contextlib.redirect_stderr(void),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def reference(model: TorchModel, network: nn.Module, inputs: Any) -> dict[str, np.ndarray]:
    """Answer with the torch network itself: named arrays in, named arrays out."""
    tensors = (torch.from_numpy(np.array(inputs[tensor.name])) for tensor in model.inputs)
    with torch.inference_mode():
        outputs = network.eval()(*tensors)
    given = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    return {t.name: o.numpy() for t, o in zip(model.outputs, given, strict=True)}
