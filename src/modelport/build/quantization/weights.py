"""Weights as 8- or 4-bit integers in blocks: the variants ``int8-weights`` and ``int4-weights``.

For matrix products whose weights are read more than they are used, as one token at a time reads
those of a decoder. Round to nearest in blocks, each with a scale of its own. ``MatMulNBits`` is
ONNX Runtime's own operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto

from modelport.build.quantization import graphs
from modelport.build.quantization.graphs import Graph
from modelport.build.quantization.tables import shrink
from modelport.errors import ExportError
from modelport.spec.precision import Int4Weights, Int8Weights

TYPES = ("Gemm", "MatMul")
# Let the kernel round activations to 8 bits, block by block, where the processor has such
# instructions: in FP32 it takes up to four times as long as the plain product with 8-bit weights.
_INT8_PRODUCTS = 4


def quantize(source: Path, target: Path, variant: Int8Weights | Int4Weights) -> Mapping[str, Any]:
    """Write a graph whose products have small weights; tables of vectors become 8-bit integers.

    Args:
        source: in FP32.
        target: the file to write.
        variant: its settings.

    Returns:
        Facts that JSON can hold.

    Raises:
        ExportError: there is nothing to quantize, an entry of ``keep`` names no node, or the
            block is no size that ONNX Runtime knows.
    """
    bits = bits_of(variant)
    if variant.block < 16 or variant.block & (variant.block - 1):
        raise ExportError(
            f"{variant.name}: expected a block of 16, 32, 64, 128 …, got {variant.block}",
            next_step="mend `block` in the variant",
        )
    graph = Graph.load(source)
    chosen, kept = choose(graph, variant)
    named = set(graphs.matching(graph.nodes, variant.keep))
    made = quantized(graph, chosen, bits=bits, block=variant.block) if chosen else graph
    # Afterwards: a product may have had its weights in common with a table.
    tables = shrink(made, named)
    if not chosen and not tables:
        raise graphs.nothing(source, variant.name, (*TYPES, "Gather"), kept)
    made.save(target, source)
    return {
        "weights": f"int{bits}, blocks of {variant.block}",
        "activations": "int8 within a product, in blocks",
        "quantized": sorted([*chosen, *tables]),
        "kept": dict(sorted(kept.items())),
        "opset": graphs.opset(made.model),
        "library": graphs.library(),
    }


def bits_of(variant: Int8Weights | Int4Weights) -> int:
    """Say how many bits a weight gets."""
    return 4 if isinstance(variant, Int4Weights) else 8


def choose(graph: Graph, variant: Int8Weights | Int4Weights) -> tuple[list[str], dict[str, str]]:
    """Choose the nodes that are quantized; gives them, and those that are not with the reason."""
    named = graphs.matching(graph.nodes, variant.keep)
    products = [node for node in graph.nodes if node.op_type in TYPES]
    kept = {node.name: f"keep: {named[node.name]}" for node in products if node.name in named}
    others = [node for node in products if node.name not in kept]
    kept |= {n.name: "a product of two activations" for n in others if not _constant(graph, n)}
    return [node.name for node in others if node.name not in kept], kept


def quantized(graph: Graph, names: Sequence[str], *, bits: int, block: int) -> Graph:
    """Quantize the weights of some nodes; the graph is left as it is."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    copy = Graph(onnx.ModelProto.FromString(graph.model.SerializeToString()))
    copy.products(names)
    others = [node.name for node in copy.nodes if node.name not in names]
    with graphs.quiet():
        quantizer: Any = MatMulNBitsQuantizer(
            copy.model,
            bits=bits,
            block_size=block,
            is_symmetric=True,
            accuracy_level=_INT8_PRODUCTS,
            nodes_to_exclude=others,
        )
        quantizer.process()
    return Graph(quantizer.model.model)


def _constant(graph: Graph, node: NodeProto) -> bool:
    return node.input[1] in graph.constants and graphs.is_plain(node)
