"""Which tensors of a graph lose their values in 16 bits, measured on samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import half_graph
from modelport.build.half_types import LowType
from modelport.errors import ExportError

# Samples are few: what comes later may be larger by this much.
_HEADROOM = 4.0
# A tensor whose error of rounding is larger than this many times that of its largest numbers
# has most of its weight where the type gets coarse: too near to zero.
_COARSE = 4.0
# Nothing that a network computes is so small; it stands for minus infinity in a mask.
STAND_IN = -1e9


def unfit(
    model: Any, batches: Sequence[Mapping[str, np.ndarray]], low: LowType, source: Path
) -> dict[str, str]:
    """Find the float32 tensors that do not fit into a 16-bit type, with the reason.

    Args:
        model: the graph, every node with a name.
        batches: inputs by name, on which the graph is run.
        low: the type.
        source: where the graph comes from, for messages.

    Raises:
        ExportError: the graph does not run on a batch.
    """
    found: dict[str, str] = {}
    for name, values in _constants(model):
        if reason := _loss(values, low):
            found[name] = reason
    for name, values in _activations(model, batches, source):
        if name not in found and (reason := _loss(values, low, headroom=_HEADROOM)):
            found[name] = reason
    return found


def _loss(values: np.ndarray, low: LowType, headroom: float = 1.0) -> str | None:
    # Infinities survive, NaN is no question of width, and masks are written anew.
    values = values[np.isfinite(values) & (values > STAND_IN)]
    if not values.size:
        return None
    peak = float(np.abs(values).max())
    if peak * headroom > low.largest:
        return "values too large"
    if peak == 0:
        return None
    # Scaled, because the squares of small numbers may be nothing in float32.
    lost = np.linalg.norm((low.round(values) - values) / peak) / np.linalg.norm(values / peak)
    return "values too small" if lost > _COARSE * low.epsilon else None


def _constants(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            yield tensor.name, numpy_helper.to_array(tensor)


def _activations(
    model: Any, batches: Sequence[Mapping[str, np.ndarray]], source: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Give every float32 tensor that is no constant, for one batch after the other."""
    session, outputs = _opened(model, source)
    for index, batch in enumerate(batches):
        try:
            results = session.run(outputs, dict(batch))
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ExportError(
                f"{source}: the graph does not run on sample {index}: {error}",
                cause="the samples do not fit the declared inputs",
                next_step="mend `data` or `samples` in the builder",
                path=source,
            ) from error
        yield from zip(outputs, results, strict=True)
        for name, values in batch.items():
            if values.dtype == np.float32:
                yield name, values


def _opened(model: Any, source: Path) -> tuple[Any, list[str]]:
    import onnx
    import onnxruntime

    types = half_graph.types(model)
    outputs = [
        name
        for node in model.graph.node
        for name in node.output
        if types.get(name) == onnx.TensorProto.FLOAT
    ]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    given = {output.name for output in shown.graph.output}
    shown.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in outputs
        if name not in given
    )
    options = onnxruntime.SessionOptions()
    # Optimization would remove the very tensors that are asked for.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as above
        raise ExportError(
            f"{source}: ONNX Runtime {onnxruntime.__version__} does not load it: {error}",
            cause="the file is damaged, or uses an operator that this version does not have",
            path=source,
        ) from error
    return session, outputs
