"""Tiny ONNX files for the tests, made when they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None] | None


def tensor(name: str, element_type: int = TensorProto.FLOAT, shape: Shape = ("batch", 4)) -> object:
    return helper.make_tensor_value_info(name, element_type, shape)


def save(
    path: Path,
    inputs: Sequence[object] = (),
    outputs: Sequence[object] = (),
    initializers: Sequence[onnx.TensorProto] = (),
    nodes: Sequence[onnx.NodeProto] = (),
) -> Path:
    """Write a graph; where no nodes are given, outputs copy the first input."""
    inputs = inputs or [tensor("x")]
    outputs = outputs or [tensor("y")]
    copies = [helper.make_node("Identity", [inputs[0].name], [out.name]) for out in outputs]
    graph = helper.make_graph(nodes or copies, "g", inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def external(name: str, location: str, *, offset: int, length: int | None) -> onnx.TensorProto:
    """A float32[8] tensor whose values lie in another file."""
    found = numpy_helper.from_array(np.zeros(8, np.float32), name)
    found.ClearField("raw_data")
    found.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    for key, value in entries.items():
        found.external_data.add(key=key, value=value)
    return found
