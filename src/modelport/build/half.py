"""FP16 and BF16 graphs for GPUs: precision stands in the graph, as casts.

A node computes in 16 bits where ONNX has it so, where its tensors keep their values on
samples, and where nobody asked otherwise; the others stay in FP32. Inputs and outputs of the
graph keep their names, types and shapes. That is what TensorRT calls a strongly typed network.

Why not a converter of others (tried on the 13 graphs of the zoo, 2026-11-23): NVIDIA's
``modelopt.onnx.autocast`` 0.47 does not import without torch, lief and pynvml, wants older onnx
and ONNX Runtime than there are, notes one size for dimensions that differ, which ONNX Runtime then
trips over, and copies weights that are shared (an FP16 file larger than the FP32 one).
``onnxruntime.transformers.float16`` knows no BF16, and hands a node that is kept in FP32 an input
of the graph after a trip through FP16: 1e5 arrives as infinity. ``onnxconverter_common.float16``
wrote seven invalid graphs and gave up on an eighth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import half_graph, half_ranges, half_rounding
from modelport.build.half_types import BF16, FP16, LowType
from modelport.errors import ExportError
from modelport.spec.precision import Bf16, Fp16

# What ONNX added for BF16 convolutions, LSTMs and norms, as TensorRT reads it.
_BF16_OPSET = 22
# protobuf's limit of a message.
_LARGEST_BYTES = 2**31 - 1


def convert(
    source: Path,
    target: Path,
    batches: Sequence[Mapping[str, np.ndarray]],
    variant: Fp16 | Bf16,
) -> Mapping[str, object]:
    """Write the graph of ``source`` with 16-bit floating point inside.

    The same input gives the same bytes.

    Args:
        source: an FP32 graph.
        target: the file to write.
        batches: samples of the inputs by name, on which the ranges of all tensors are measured.
        variant: says which type, and which nodes stay in FP32.

    Returns:
        For the log and the manifest: ``type``, ``library``, ``onnx`` and ``onnxruntime``
        (versions), ``opset``, ``batches``, ``converted`` (number of nodes), ``casts`` (number)
        and ``kept`` (names of nodes in FP32 by the reason).

    Raises:
        ExportError: there are no samples, the graph does not run on them, is too large, or
            nothing in it can become 16 bits wide.
    """
    import onnx
    import onnxruntime

    low = FP16 if isinstance(variant, Fp16) else BF16
    if not batches:
        raise ExportError(
            f"{source}: no samples to measure the ranges of {low.name} on",
            cause="the model has neither a dataset nor samples",
            next_step="give the model `data` or `samples` in the builder",
            path=source,
        )
    model = _prepared(source, low)
    _check_keep(model, variant.keep, source)
    unfit = half_ranges.unfit(model, batches, low, source)
    wanted, kept = half_graph.choose(model, low, unfit, variant.keep)
    if not wanted:
        raise ExportError(
            f"{source}: no node of the graph can compute in {low.name}: {_summary(kept)}",
            cause="the network works on integers, or every node is kept in FP32",
            next_step=f"take {variant.name!r} out of `variants`, or less into its `keep`",
            path=source,
        )
    casts = half_graph.lower(model, wanted, low)
    _write(model, target, source)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in kept.items():
        by_reason[reason].append(name)
    return {
        "type": low.name,
        "library": "modelport",
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opset": half_graph.opset(model),
        "batches": len(batches),
        "converted": len(wanted),
        "casts": casts,
        "kept": dict(sorted(by_reason.items())),
    }


def session(path: Path) -> Any:
    """Open a 16-bit graph on the CPU, for its figures; not for speed.

    FP16 runs as it is, without optimization of the graph: with all of it, ONNX Runtime 1.32
    ends the process with a segmentation fault on an FP16 LSTM. BF16 has no kernels on CPUs, so
    :mod:`modelport.build.half_rounding` stands for it: every result of a node is rounded to
    BF16, and the arithmetic inside a node is that of FP32, as tensor cores accumulate.

    Returns:
        An ``onnxruntime.InferenceSession`` with the inputs and outputs of the graph, which
        :func:`modelport.verify.in_process.run` takes.

    Raises:
        ExportError: ONNX Runtime does not take the graph.
    """
    import onnx

    model = onnx.load(str(path))
    if half_graph.holds(model, BF16):
        model = half_rounding.rounded(model, BF16)
    return _open(model, path)


def _open(model: Any, path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ExportError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} does not load it: {error}",
            cause="an operator has no kernel on CPUs, or the file is damaged",
            path=path,
        ) from error


def _prepared(source: Path, low: LowType) -> Any:
    import onnx
    from onnx import inliner, version_converter

    model = onnx.load(str(source))
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        if low is BF16 and half_graph.opset(model) < _BF16_OPSET:
            model = version_converter.convert_version(model, _BF16_OPSET)
        return half_graph.named(model)
    except Exception as error:  # onnx raises what its C++ side throws
        raise ExportError(
            f"{source}: onnx {onnx.__version__} cannot prepare the graph for {low.name}: {error}",
            cause="the graph holds operators of another domain, or is larger than 2 GB",
            path=source,
        ) from error


def _check_keep(model: Any, keep: Sequence[str], source: Path) -> None:
    for pattern in keep:
        if not any(half_graph.matches(node, pattern) for node in model.graph.node):
            names = ", ".join(node.name for node in model.graph.node[:8])
            raise ExportError(
                f"{source}: `keep` names {pattern!r}, and no node or operator is called so",
                cause=f"nodes are named by the exporter; the first ones are {names}",
                next_step="name nodes or operators that are there, or take it out",
                path=source,
            )


def _write(model: Any, target: Path, source: Path) -> None:
    import onnx

    if model.ByteSize() > _LARGEST_BYTES:
        raise ExportError(f"{source}: its 16-bit graph is larger than 2 GB", path=source)
    try:
        # The types of all tensors, told from the operators alone, must fit each other.
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except Exception as error:  # onnx raises what its C++ side throws
        raise ExportError(
            f"{source}: its 16-bit graph contradicts itself: {error}",
            cause="an operator wants a type that ONNX's own description of it does not name",
            next_step="name the node, or its operator, in `keep` of the variant",
            path=source,
        ) from error
    target.write_bytes(model.SerializeToString(deterministic=True))


def _summary(kept: Mapping[str, str]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for reason in kept.values():
        counts[reason] += 1
    return ", ".join(f"{reason}: {count} nodes" for reason, count in counts.items()) or "no floats"
