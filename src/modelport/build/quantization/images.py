"""Pictures at the entrance of a network: bytes stay bytes.

A picture comes as uint8 with its channels last; the network makes floats of it, subtracts a mean
and divides by a deviation. The quantized network would round that to uint8 again, the same bytes
where mean and deviation are alike for all channels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from modelport.build.quantization.graphs import Graph


@dataclass(frozen=True)
class Picture:
    """Bytes that a network scales: ``(bytes - zero) * scale``.

    Attributes:
        bytes: name of the tensor.
        scaled: name of the tensor that the first layer takes.
        consumer: name of that layer.
        zero: the byte that becomes 0.
        scale: of one step.
    """

    bytes: str
    scaled: str
    consumer: str
    zero: int
    scale: float

    def overrides(self) -> dict[str, list[dict[str, Any]]]:
        """Say to ONNX Runtime's quantizer how the scaled tensor is rounded."""
        from onnxruntime.quantization import QuantType

        steps = {
            "quant_type": QuantType.QUInt8,
            "scale": np.array(self.scale, np.float32),
            "zero_point": np.array(self.zero, np.uint8),
        }
        return {self.scaled: [steps]}


def scaled_bytes(graph: Graph, chosen: Collection[str]) -> Picture | None:
    """Find bytes that are cast, shifted by a whole number and divided before the first layer."""
    for cast in graph.nodes:
        if cast.op_type != "Cast" or not _is_bytes(graph, cast.input[0]):
            continue
        zero, scale, tensor = 0.0, 1.0, cast.output[0]
        while (step := _only_consumer(graph, tensor)) is not None:
            if step.op_type not in ("Sub", "Div", "Mul") or step.input[0] != tensor:
                break
            value = _one_value(graph, step.input[1])
            if value is None or (step.op_type == "Sub" and scale != 1.0):
                break
            if step.op_type == "Sub":
                zero += value
            else:
                scale = scale / value if step.op_type == "Div" else scale * value
            tensor = step.output[0]
        whole = zero == int(zero) and 0 <= zero <= 255 and scale > 0
        if step is not None and step.name in chosen and whole and tensor == step.input[0]:
            return Picture(cast.input[0], tensor, step.name, int(zero), scale)
    return None


def take_bytes(graph: Graph, picture: Picture) -> None:
    """Let the quantized first layer take the bytes as they come, which changes no value."""
    rounded = next(
        n for n in graph.nodes if n.op_type == "QuantizeLinear" and n.input[0] == picture.scaled
    )
    for node in graph.consumers(rounded.output[0]):
        node.input[0] = picture.bytes
    graph.tidy()


def widen(graph: Graph) -> None:
    """Repeat the mean and the deviation of each channel over the width of the picture.

    ONNX Runtime keeps channels last between quantized convolutions, and moves the transposition
    behind the scaling: there it broadcasts three numbers 50,000 times, which takes a tenth of
    ResNet-18. A row's 672 numbers at once take a twentieth of that. No value changes.
    """
    shapes = {v.name: v.type.tensor_type.shape.dim for v in graph.model.graph.value_info}
    for node in graph.nodes:
        if node.op_type not in ("Sub", "Div", "Mul", "Add") or node.input[1] not in graph.constants:
            continue
        dims = list(shapes.get(node.input[0], ()))
        values = graph.constants[node.input[1]].dims
        per_channel = len(values) == 4 and values[1] > 1 and list(values[2:]) == [1, 1]
        if len(dims) == 4 and per_channel and dims[3].dim_value and _from_bytes(graph, node):
            wide = np.tile(graph.array(node.input[1]), (1, 1, 1, dims[3].dim_value))
            node.input[1] = graph.set(f"{node.input[1]}_wide", wide)


def _from_bytes(graph: Graph, node: NodeProto | None) -> bool:
    """Say whether nothing but scaling stands between a node and a picture's bytes."""
    while node is not None and node.op_type in ("Sub", "Div", "Mul", "Add", "Transpose"):
        node = graph.producer(node.input[0])
    return node is not None and node.op_type == "Cast" and _is_bytes(graph, node.input[0])


def _is_bytes(graph: Graph, tensor: str) -> bool:
    known = (*graph.model.graph.input, *graph.model.graph.value_info)
    kinds: dict[str, int] = {v.name: v.type.tensor_type.elem_type for v in known}
    return kinds.get(tensor) == TensorProto.UINT8


def _only_consumer(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    takers = graph.consumers(tensor)
    return takers[0] if len(takers) == 1 and not graph.is_output(tensor) else None


def _one_value(graph: Graph, name: str) -> float | None:
    """Give the value of a constant that is the same throughout."""
    if name not in graph.constants:
        return None
    values = graph.array(name)
    return float(values.flat[0]) if values.size and (values == values.flat[0]).all() else None
