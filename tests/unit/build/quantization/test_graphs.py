from __future__ import annotations

import onnx
import pytest
from onnx import helper

from modelport.build.quantization import graphs
from modelport.build.quantization.graphs import Graph
from modelport.errors import ExportError

NODES = [
    helper.make_node("MatMul", ["x", "val_7"], ["y"], "node_MatMul_7"),
    helper.make_node("Add", ["layer.0.dense.bias", "y"], ["z"], "node_linear"),
    helper.make_node("Conv", ["z", "layer.1.weight", "layer.1.bias"], ["out"], "node_Conv_9"),
]


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("node_Conv_9", ["node_Conv_9"]),
        ("node_*_?", ["node_MatMul_7", "node_Conv_9"]),
        ("MatMul", ["node_MatMul_7"]),
        ("layer.1.*", ["node_Conv_9"]),
        # The exporter has given the turned weights a number; the bias still says whose they are.
        ("layer.0.dense.*", ["node_MatMul_7"]),
        ("layer.*", ["node_MatMul_7", "node_Conv_9"]),
    ],
)
def test_nodes_are_kept_by_the_names_that_people_know(entry: str, named: list[str]) -> None:
    assert graphs.matching(NODES, [entry]) == dict.fromkeys(named, entry)


def test_nodes_without_names_get_some(convolutional) -> None:
    model = onnx.load(str(convolutional))
    for node in model.graph.node:
        node.name = "same"
    names = [node.name for node in Graph(model).nodes]
    assert len(set(names)) == len(names)


def test_a_changed_interface_is_never_written(convolutional, tmp_path) -> None:
    graph = Graph.load(convolutional)
    graph.model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "other"
    with pytest.raises(ExportError, match="quantization changed the outputs"):
        graph.save(tmp_path / "changed.onnx", convolutional)
    assert not (tmp_path / "changed.onnx").exists()
