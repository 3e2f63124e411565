"""8-bit weights, ranges of activations found in each request: the variant ``int8-dynamic``.

For matrix products and LSTMs on CPUs. Its operators are ONNX Runtime's own: TensorRT takes none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from modelport.build.quantization import graphs, normalization, smoothing
from modelport.build.quantization.calibration import Item
from modelport.build.quantization.graphs import Graph
from modelport.build.quantization.tables import shrink
from modelport.spec.precision import Int8Dynamic

# Convolutions are left out: with ranges found anew they take several times as long as in FP32.
TYPES = ("Gemm", "LSTM", "MatMul")
# Of fewer weights the product takes no longer than finding the range does.
_FEWEST = 1 << 12


def quantize(
    source: Path, target: Path, variant: Int8Dynamic, batches: Sequence[Item] = ()
) -> Mapping[str, Any]:
    """Write a graph whose products and LSTMs have 8-bit weights, and whose tables are small.

    Args:
        source: in FP32.
        target: the file to write.
        variant: its settings.
        batches: calibration data, which only ``smooth`` needs.

    Returns:
        Facts that JSON can hold.

    Raises:
        ExportError: there is nothing to quantize, or an entry of ``keep`` names no node.
    """
    graph = Graph.load(source)
    named = graphs.matching(graph.nodes, variant.keep)
    chosen, kept = choose(graph, variant)
    smoothed: list[str] = []
    if variant.smooth is not None:
        products = [node for node in graph.nodes if node.name in chosen]
        smoothed = smoothing.smooth(graph, products, batches, alpha=variant.smooth)
    normalization.write_out(graph)
    made = quantized(graph, chosen) if chosen else graph
    # Afterwards: a product may have had its weights in common with a table.
    tables = shrink(made, set(named))
    if not chosen and not tables:
        raise graphs.nothing(source, variant.name, (*TYPES, "Gather"), kept)
    made.save(target, source)
    return {
        "weights": "int8, per channel; of LSTMs per tensor",
        "activations": "uint8, found in each request",
        "items": len(batches),
        "smooth": variant.smooth,
        "smoothed": smoothed,
        "quantized": sorted([*chosen, *tables]),
        "kept": dict(sorted(kept.items())),
        "opset": graphs.opset(made.model),
        "library": graphs.library(),
    }


def choose(graph: Graph, variant: Int8Dynamic) -> tuple[list[str], dict[str, str]]:
    """Choose the nodes that are quantized; gives them, and those that are not with the reason."""
    named = graphs.matching(graph.nodes, variant.keep)
    chosen: list[str] = []
    kept: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in (*TYPES, "Conv"):
            continue
        if node.name in named:
            kept[node.name] = f"keep: {named[node.name]}"
        elif node.op_type == "Conv":
            kept[node.name] = "a convolution becomes slower by ranges found in each request"
        elif any(name not in graph.constants for name in node.input[1 : _weights(node.op_type)]):
            kept[node.name] = "a product of two activations"
        elif node.op_type == "Gemm" and not graphs.is_plain(node):
            kept[node.name] = "a product of a turned or scaled activation"
        elif np.prod(graph.constants[node.input[1]].dims) < _FEWEST:
            kept[node.name] = "too few weights to gain by it"
        else:
            chosen.append(node.name)
    return chosen, kept


def _weights(op_type: str) -> int:
    """Say behind which input the weights end: an LSTM has two."""
    return 3 if op_type == "LSTM" else 2


def quantized(graph: Graph, names: Sequence[str]) -> Graph:
    """Quantize some nodes of a graph; the graph is left as it is."""
    types = {node.name: node.op_type for node in graph.nodes}
    lstms = [name for name in names if types[name] == "LSTM"]
    products = [name for name in names if types[name] != "LSTM"]
    copy = Graph(onnx.ModelProto.FromString(graph.model.SerializeToString()))
    # ONNX Runtime would give the products of a Gemm names that nobody has chosen.
    copy.products(products)
    # A scale for each channel makes an LSTM of 128 units a tenth slower, and no more exact.
    made = _quantized(copy.model, lstms, per_channel=False)
    return Graph(_quantized(made, products, per_channel=True))


def _quantized(
    model: onnx.ModelProto, names: Sequence[str], *, per_channel: bool
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if not names:
        return model
    with tempfile.TemporaryDirectory(prefix="modelport-dynamic-") as folder, graphs.quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, str(before))
        quantize_dynamic(
            before,
            after,
            op_types_to_quantize=sorted(TYPES),
            nodes_to_quantize=sorted(names),
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(str(after))
