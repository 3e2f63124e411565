"""8-bit integers for weights and activations, in QDQ form: the variant ``int8``.

Activations are uint8 with a zero point, weights int8 without one and with a scale for each
output channel. That is what ONNX Runtime's kernels for x86 take as it is (u8 × s8, the operands
of VPDPBUSD), and with a zero point the lower end of a range is a ReLU for nothing. With symmetric
int8 activations ONNX Runtime 1.32 leaves each convolution before a ReLU in FP32.

VNNI adds the products in 32 bits. Processors without it (before Cascade Lake and Zen 4) add two
of them in 16 bits, which may overflow: there ONNX Runtime's session option
``session.x64quantprecision`` chooses slower instructions that do not.

TensorRT takes symmetric int8 only; see :mod:`modelport.build.quantization.symmetric`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import NodeProto

from modelport.build.quantization import graphs, images, normalization, ranges, smoothing
from modelport.build.quantization.calibration import Item
from modelport.build.quantization.graphs import Graph
from modelport.build.quantization.tables import shrink
from modelport.spec.precision import Int8

# Where the work is: these become integer products.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# These stay among integers where all that they take is one: nothing is gained by them alone.
FOLLOWERS = (
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool",
    "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
# ONNX Runtime gives what these make in FP32, too; a convolution's has to be rounded.
_GIVES_FLOAT = ("Gemm", "MatMul")


def quantize(
    source: Path, target: Path, variant: Int8, batches: Sequence[Item]
) -> Mapping[str, Any]:
    """Write a graph with 8-bit weights and activations.

    Args:
        source: in FP32.
        target: the file to write.
        variant: its settings.
        batches: calibration data, of :func:`modelport.build.quantization.calibration.feeds`.

    Returns:
        Facts that JSON can hold: what was quantized, what was kept and why, and how.

    Raises:
        ExportError: there is nothing to quantize, or an entry of ``keep`` names no node.
    """
    prepared = Prepared(source, variant, batches)
    quantized = prepared.quantized(prepared.chosen)
    tables = shrink(quantized, prepared.named)
    quantized.save(target, source)
    return {
        "method": variant.method,
        **({"percentile": variant.percentile} if variant.method == "percentile" else {}),
        "items": len(batches),
        "weights": f"int8, {'per channel' if variant.per_channel else 'per tensor'}",
        "activations": "uint8",
        "smooth": variant.smooth,
        "smoothed": prepared.smoothed,
        "quantized": sorted(prepared.chosen | set(tables)),
        "kept": dict(sorted(prepared.kept.items())),
        "opset": graphs.opset(quantized.model),
        "library": graphs.library(),
    }


class Prepared:
    """A graph whose ranges are known, of which any nodes can be quantized.

    Args:
        source: in FP32.
        variant: its settings.
        batches: calibration data.

    Attributes:
        chosen: names of the nodes that the variant quantizes.
        kept: of those that it could, each with the reason why not.
        named: all nodes that the declaration keeps.
        smoothed: tensors whose spread moved into the weights.

    Raises:
        ExportError: there is nothing to quantize, or an entry of ``keep`` names no node.
    """

    def __init__(self, source: Path, variant: Int8, batches: Sequence[Item]) -> None:
        self._variant = variant
        self._graph = Graph.load(source)
        self.named = set(graphs.matching(self._graph.nodes, variant.keep))
        self.chosen, self.kept = choose(self._graph, variant.keep)
        if not self.products:
            raise graphs.nothing(source, variant.name, PRODUCTS, self.kept)
        self.smoothed: list[str] = []
        if variant.smooth is not None:
            products = [n for n in self._graph.nodes if n.name in self.products]
            self.smoothed = smoothing.smooth(self._graph, products, batches, alpha=variant.smooth)
        normalization.write_out(self._graph)
        self._graph.infer()
        images.widen(self._graph)
        self._picture = images.scaled_bytes(self._graph, self.chosen)
        self._ranges = ranges.find(self._graph, batches, variant, {*PRODUCTS, *FOLLOWERS})

    @property
    def products(self) -> list[str]:
        """Names of the chosen nodes that do the work, in the order in which they run."""
        nodes = self._graph.nodes
        return [n.name for n in nodes if n.name in self.chosen and n.op_type in PRODUCTS]

    def with_followers(self, products: Collection[str]) -> set[str]:
        """Add to some products what then stays among integers, too."""
        return _followed(self._graph, set(products), self.chosen)

    def quantized(self, names: Collection[str]) -> Graph:
        """Quantize some of the chosen nodes."""
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = onnx.ModelProto.FromString(self._graph.model.SerializeToString())
        types = sorted({node.op_type for node in self._graph.nodes if node.name in names})
        picture = self._picture if self._picture and self._picture.consumer in names else None
        with graphs.quiet():
            quantizer = QDQQuantizer(
                model,
                self._variant.per_channel,
                False,  # weights of 8 bits, not 7: see above
                QuantType.QInt8,
                QuantType.QUInt8,
                self._ranges,
                sorted(names),
                [],
                types,
                # The steps of a picture's bytes are known, and need not be found.
                {"TensorQuantOverrides": picture.overrides() if picture else {}},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
            made = Graph(quantizer.model.model)
        if picture:
            images.take_bytes(made, picture)
        _give_floats(made)
        return made


def choose(graph: Graph, keep: Collection[str]) -> tuple[set[str], dict[str, str]]:
    """Choose the nodes that are quantized.

    Args:
        graph: in FP32.
        keep: names of nodes, patterns, or operator types that are not.

    Returns:
        Their names; and of the products that are kept, the name and the reason.
    """
    named = graphs.matching(graph.nodes, keep)
    chosen: set[str] = set()
    kept: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in PRODUCTS:
            continue
        if node.name in named:
            kept[node.name] = f"keep: {named[node.name]}"
        elif node.input[1] not in graph.constants:
            kept[node.name] = "a product of two activations"
        elif "" in node.input:
            kept[node.name] = "an optional input is left out"
        else:
            chosen.add(node.name)
    possible = {n.name for n in graph.nodes if n.op_type in FOLLOWERS and n.name not in named}
    return _followed(graph, chosen, possible), kept


def _followed(graph: Graph, products: set[str], possible: Collection[str]) -> set[str]:
    """Add the nodes that take nothing but what integers give."""
    chosen = set(products)
    made = {
        out: node.op_type
        for node in graph.nodes
        if node.name in chosen and node.op_type != "MatMul"
        for out in node.output
    }
    for node in graph.nodes:
        if node.name not in possible or node.op_type not in FOLLOWERS:
            continue
        # Shapes and bounds are constants; an Add with one is a bias, which costs more to round.
        count = None if node.op_type in ("Add", "Concat") else 1
        if all(name in made for name in list(node.input)[:count]):
            chosen.add(node.name)
            made |= dict.fromkeys(node.output, node.op_type)
    return chosen


def _give_floats(graph: Graph) -> None:
    """Round no result that only floating point takes: the last layer's above all."""
    by_input: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        for name in node.input:
            by_input.setdefault(name, []).append(node)
    gone: set[str] = set()
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in _GIVES_FLOAT:
            continue
        [rounded] = by_input.get(node.output[0], [None])[:1]
        if rounded is None or rounded.op_type != "QuantizeLinear":
            continue
        [back] = by_input[rounded.output[0]][:1]
        takers = by_input.get(back.output[0], [])
        if any(t.op_type in (*PRODUCTS, *FOLLOWERS) and _is_rounded(t, by_input) for t in takers):
            continue
        gone |= {rounded.name, back.name}
        renamed[node.output[0]] = back.output[0]
    kept = [node for node in graph.nodes if node.name not in gone]
    for node in kept:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]
    graph.replace(kept)


def _is_rounded(node: NodeProto, by_input: Mapping[str, Sequence[NodeProto]]) -> bool:
    """Say whether a node is quantized: its result is, or it is one that gives floats."""
    takers = by_input.get(node.output[0], [])
    return node.op_type in _GIVES_FLOAT or any(t.op_type == "QuantizeLinear" for t in takers)
