"""An ``int8`` graph as TensorRT takes it: zero points of 0, biases in FP32.

ONNX Runtime's fast kernels for x86 want unsigned activations with a zero point, TensorRT's INT8
has none: its Q/DQ layers take symmetric int8, and no uint8 at all but at an input that is cast.
What one graph says the other can say, with a bit less on each activation that is never negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from modelport.build.quantization import graphs
from modelport.build.quantization.graphs import Graph

# A quantizer has removed the ReLU behind these where the range begins at 0.
_MAY_BE_NEGATIVE = ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul")


def symmetric(source: Path, target: Path) -> Mapping[str, Any]:
    """Write an ``int8`` graph with symmetric ranges.

    Args:
        source: a file that :func:`modelport.build.quantization.static.quantize` wrote.
        target: the file to write.

    Returns:
        Facts that JSON can hold.
    """
    graph = Graph.load(source)
    _cast_bytes_first(graph)
    pairs = 0
    made: list[NodeProto] = []
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear" and _zero(graph, node).dtype == np.uint8:
            pairs += 1
            made += _symmetric_step(graph, node)
        elif node.op_type == "DequantizeLinear":
            made += _back(graph, node)
        elif node.op_type == "Gather" and _is_int8(graph, node.input[0]):
            made += _whole_table(graph, node)
        else:
            made.append(node)
    graph.replace(made)
    # Tensors have other types now than was noted.
    del graph.model.graph.value_info[:]
    graph.save(target, source)
    return {"activations": "int8, symmetric", "changed": pairs, "opset": graphs.opset(graph.model)}


def _cast_bytes_first(graph: Graph) -> None:
    """Make floats of an input of bytes before anything moves them."""
    for value in graph.model.graph.input:
        if value.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        floats = f"{value.name}_floats"
        for node in graph.consumers(value.name):
            node.input[:] = [floats if name == value.name else name for name in node.input]
        cast = helper.make_node("Cast", [value.name], [floats], f"{value.name}_cast", to=1)
        graph.replace([cast, *graph.nodes])


def _zero(graph: Graph, node: NodeProto) -> np.ndarray:
    return graph.array(node.input[2])


def _scale(graph: Graph, node: NodeProto) -> float:
    """Give the step with which a range of 0 to 255 fits in ±127."""
    zero = float(_zero(graph, node))
    return float(graph.array(node.input[1])) * max(zero, 255 - zero) / 127


def _symmetric(graph: Graph, node: NodeProto) -> list[str]:
    scale = graph.set(f"{node.input[1]}_symmetric", np.array(_scale(graph, node), np.float32))
    return [scale, graph.set(f"{node.input[2]}_symmetric", np.array(0, np.int8))]


def _symmetric_step(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """Round to symmetric int8; what was cut off at 0 still is."""
    tensor, before = node.input[0], []
    producer = graph.producer(tensor)
    if _zero(graph, node) == 0 and producer and producer.op_type in _MAY_BE_NEGATIVE:
        before = [helper.make_node("Relu", [tensor], [f"{tensor}_relu"], f"{node.name}_relu")]
        tensor = f"{tensor}_relu"
    inputs = [tensor, *_symmetric(graph, node)]
    return [*before, helper.make_node("QuantizeLinear", inputs, node.output, node.name)]


def _back(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """Make floats again, of activations, of biases and of a picture's bytes."""
    source = graph.constants.get(node.input[0])
    if source is not None and source.data_type == TensorProto.INT32:
        values = graph.array(node.input[0]) * graph.array(node.input[1])
        graph.set(node.output[0], values.astype(np.float32))
        return []
    if source is not None or _zero(graph, node).dtype != np.uint8:
        return [node]
    producer = graph.producer(node.input[0])
    if producer is not None and producer.op_type in ("Cast", "Transpose"):
        return _picture(graph, node)
    inputs = [node.input[0], *_symmetric(graph, node)]
    return [helper.make_node("DequantizeLinear", inputs, node.output, node.name)]


def _picture(graph: Graph, node: NodeProto) -> list[NodeProto]:
    tensor, name = node.input[0], node.name
    shift = graph.set(f"{name}_shift", _zero(graph, node).astype(np.float32))
    step = graph.set(f"{name}_step", graph.array(node.input[1]))
    scale, zero = _symmetric(graph, node)
    make = helper.make_node
    return [
        make("Sub", [tensor, shift], [f"{name}_shifted"], f"{name}_sub"),
        make("Mul", [f"{name}_shifted", step], [f"{name}_scaled"], f"{name}_mul"),
        make("QuantizeLinear", [f"{name}_scaled", scale, zero], [f"{name}_int8"], f"{name}_round"),
        make("DequantizeLinear", [f"{name}_int8", scale, zero], node.output, name),
    ]


def _is_int8(graph: Graph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].data_type == TensorProto.INT8


def _whole_table(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """Take rows of floats: what makes floats of a row's steps stays, and multiplies by 1 step."""
    table = graph.array(node.input[0]).astype(np.float32)
    inputs = [graph.set(f"{node.input[0]}_floats", table), node.input[1]]
    return [helper.make_node("Gather", inputs, node.output, node.name, axis=0)]
