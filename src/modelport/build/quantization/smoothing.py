"""SmoothQuant: the spread of activations moves into the weights, before anything is rounded.

A few channels of a Transformer's activations are a hundred times larger than the others, and
take all steps of an 8-bit range. Divided by a factor each, and the weights multiplied by it, the
product is the same (Xiao et al. 2022, arXiv:2211.10438, equations 3 and 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, helper

from modelport.build.quantization.calibration import Item
from modelport.build.quantization.graphs import Graph, quiet

# A channel that is never used would be divided by nothing.
_LEAST = 1e-5
# A chain of products and sums longer than this is not followed.
_DEEPEST = 6


def smooth(
    graph: Graph, products: Sequence[NodeProto], batches: Sequence[Item], *, alpha: float
) -> list[str]:
    """Change a graph so that it gives the same with smoother activations.

    Args:
        graph: is changed.
        products: nodes ``MatMul`` and ``Gemm`` with constant weights; others are passed over.
        batches: named arrays on which the spread is measured.
        alpha: how much moves into the weights: 0 is nothing, 1 is all.

    Returns:
        Names of the tensors that were smoothed.
    """
    groups: dict[str, list[NodeProto]] = {}
    for node in products:
        if _columns_axis(node) is not None:
            groups.setdefault(node.input[0], []).append(node)
    spreads = largest(graph, list(groups), batches)
    for tensor, nodes in groups.items():
        weights = [_largest_weights(graph, node) for node in nodes]
        factors = spreads[tensor] ** alpha / np.max(weights, axis=0) ** (1 - alpha)
        # The same factor everywhere would change nothing.
        factors = np.maximum(factors / np.exp(np.log(factors).mean()), _LEAST).astype(np.float32)
        for node in nodes:
            _multiply_weights(graph, node, factors)
        _divide(graph, tensor, nodes, factors)
    return sorted(groups)


def largest(graph: Graph, tensors: Sequence[str], batches: Sequence[Item]) -> dict[str, np.ndarray]:
    """Find the largest absolute value of each channel, the last dimension, of some tensors."""
    import onnxruntime

    model = onnx.ModelProto.FromString(graph.model.SerializeToString())
    inputs = {value.name for value in model.graph.input}
    inner = [tensor for tensor in tensors if tensor not in inputs]
    given = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in inner if t not in given)
    found: dict[str, np.ndarray] = {}
    with quiet():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for batch in batches:
            values = dict(zip(inner, session.run(inner, dict(batch)), strict=True))
            for tensor in tensors:
                array = np.abs(values[tensor] if tensor in values else batch[tensor])
                channels = array.reshape(-1, array.shape[-1]).max(axis=0, initial=_LEAST)
                found[tensor] = np.maximum(found.get(tensor, channels), channels)
    return found


def _columns_axis(node: NodeProto) -> int | None:
    """Say which axis of a node's weights belongs to the channels that it takes."""
    if node.op_type == "MatMul":
        return 0
    flags = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type != "Gemm" or flags.get("transA"):
        return None
    return 1 if flags.get("transB") else 0


def _largest_weights(graph: Graph, node: NodeProto) -> np.ndarray:
    weights = np.abs(graph.array(node.input[1])).max(axis=1 - (_columns_axis(node) or 0))
    return np.asarray(np.maximum(weights, _LEAST))


def _multiply_weights(graph: Graph, node: NodeProto, factors: np.ndarray) -> None:
    shape = (-1, 1) if _columns_axis(node) == 0 else (1, -1)
    weights = graph.array(node.input[1]) * factors.reshape(shape)
    # Under a name of its own: another node may share the weights as they were.
    node.input[1] = graph.set(f"{node.input[1]}_{node.name}_smooth", weights)


def _divide(graph: Graph, tensor: str, nodes: Sequence[NodeProto], factors: np.ndarray) -> None:
    """Divide a tensor for some nodes: in what makes it where that is possible, or by a node."""
    alone = len(graph.consumers(tensor)) == len(nodes) and not graph.is_output(tensor)
    if alone and _fold(graph, tensor, factors, _DEEPEST):
        return
    name = graph.set(f"{tensor}_smoothing", (1 / factors).astype(np.float32))
    smoothed = f"{tensor}_smooth"
    made = helper.make_node("Mul", [tensor, name], [smoothed], name=f"{tensor}_smoothed")
    for node in nodes:
        node.input[0] = smoothed
    first = next(i for i, node in enumerate(graph.nodes) if smoothed in node.input)
    graph.model.graph.node.insert(first, made)


def _fold(graph: Graph, tensor: str, factors: np.ndarray, deep: int) -> bool:
    """Divide what a tensor is made of; says whether that was possible, and changes nothing if not.

    Nobody else may take the tensor.
    """
    node = graph.producer(tensor)
    if node is None or not deep:
        return False
    if node.op_type == "LayerNormalization" and all(n in graph.constants for n in node.input[1:]):
        for place in range(1, len(node.input)):
            _scale_constant(graph, node, place, 1 / factors)
        return True
    if node.op_type in ("Mul", "Div", "Relu"):
        return _fold_factor(graph, node, factors, deep)
    return False


def _fold_factor(graph: Graph, node: NodeProto, factors: np.ndarray, deep: int) -> bool:
    """Divide one factor of a product: a constant, or what a factor is made of."""
    constant = next((i for i, name in enumerate(node.input) if name in graph.constants), None)
    if constant is not None and node.op_type != "Relu":
        by = factors if node.op_type == "Div" and constant == 1 else 1 / factors
        shape = graph.constants[node.input[constant]].dims
        # A constant with fewer dimensions broadcasts as before.
        if not shape or shape[-1] in (1, len(factors)):
            _scale_constant(graph, node, constant, by)
            return True
    sides = node.input[:1] if node.op_type in ("Div", "Relu") else node.input
    return any(
        len(graph.consumers(name)) == 1
        and not graph.is_output(name)
        and _fold(graph, name, factors, deep - 1)
        for name in sides
        if name not in graph.constants
    )


def _scale_constant(graph: Graph, node: NodeProto, place: int, by: np.ndarray) -> None:
    values = (graph.array(node.input[place]) * by).astype(np.float32)
    node.input[place] = graph.set(f"{node.input[place]}_{node.name}_smooth", values)
