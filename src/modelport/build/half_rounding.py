"""A 16-bit graph for machines without arithmetic of its type: FP32 that rounds as it would."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.build import half_graph
from modelport.build.half_types import LowType


def rounded(model: Any, low: LowType) -> Any:
    """Give a graph in FP32 that rounds every result which the given graph has in 16 bits.

    Sums inside of a node are in FP32 then, which is how tensor cores take them.

    Args:
        model: a graph that :func:`modelport.build.half.convert` wrote; it is changed.
        low: its type.
    """
    from onnx import TensorProto, helper

    known = half_graph.types(model)
    for tensor in model.graph.initializer:
        _widen(tensor, low)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            _widen(attribute.t, low)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == low.onnx_type:
                attribute.i = TensorProto.FLOAT
        for index, name in enumerate(node.output):
            if known.get(name) == low.onnx_type:
                exact, bits = f"{name}_exact", f"{name}_bits"
                node.output[index] = exact
                nodes += [
                    helper.make_node("Cast", [exact], [bits], name=bits, to=low.onnx_type),
                    helper.make_node("Cast", [bits], [name], name=name, to=TensorProto.FLOAT),
                ]
    half_graph.replace(model.graph.node, nodes)
    return model


def _widen(tensor: Any, low: LowType) -> None:
    from onnx import numpy_helper

    if tensor.data_type == low.onnx_type:
        bits = np.frombuffer(tensor.raw_data, "<u2").reshape(tuple(tensor.dims))
        tensor.CopyFrom(numpy_helper.from_array(low.decode(bits), tensor.name))
