"""Rules that tests/server/onnx_backend does not already drive through the server."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.errors import ConfigError
from modelport.serving.onnx.graph import Graph, TensorInfo
from modelport.serving.onnx.validation import check


def infos(**tensors):
    return {name: TensorInfo(name, kind, shape) for name, (kind, shape) in tensors.items()}


def tensor(name, dims, kind="TYPE_FP32", **more):
    return {"name": name, "data_type": kind, "dims": dims, **more}


FP32 = "TYPE_FP32"
PLAIN = Graph(infos(x=(FP32, (-1, 3))), {}, infos(y=(FP32, (-1, -1))))


def config(**changes):
    base = {"name": "m", "max_batch_size": 8, "input": [tensor("x", [3])]}
    return {**base, "output": [tensor("y", [-1])], **changes}


def failure(given, graph):
    with pytest.raises(ConfigError) as caught:
        check(given, graph)
    assert caught.value.objects["model"] == "m"
    return str(caught.value)


def test_matching_configuration_passes():
    check(config(), PLAIN)
    check(config(output=[]), PLAIN)


def test_input_may_be_narrower_than_the_graph_but_not_wider():
    graph = Graph(infos(x=(FP32, (-1, -1))), {}, infos(y=(FP32, (-1, -1))))
    check(config(), graph)
    assert "the model expects 2 dimensions" in failure(config(input=[tensor("x", [-1])]), PLAIN)


def test_output_must_be_equal():
    message = failure(config(output=[tensor("y", [10])]), PLAIN)
    assert "tensor 'y': the model expects 2 dimensions (shape [-1,-1])" in message
    assert "complete shape [-1,10]" in message


def test_reshape_counts_instead_of_dims():
    check(config(input=[tensor("x", [1, 3], reshape={"shape": [3]})]), PLAIN)


def test_without_batching_the_shapes_are_whole():
    check(
        config(max_batch_size=0, input=[tensor("x", [2, 3])], output=[tensor("y", [-1, -1])]), PLAIN
    )
    assert "(shape [3])" in failure(config(max_batch_size=0), PLAIN)


def test_scalars():
    graph = Graph(infos(x=(FP32, ())), {}, infos(y=(FP32, ())))
    check(config(max_batch_size=0, input=[tensor("x", [1])], output=[tensor("y", [1, 1])]), graph)
    wide = config(max_batch_size=0, input=[tensor("x", [2])], output=[])
    assert "should only provide 1" in failure(wide, graph)
    assert "has no batch dimension" in failure(config(), graph)


def test_defaulted_inputs_must_be_optional(open_graph):
    session = open_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, [3]), ("w", TensorProto.FLOAT, [3])],
        [("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(np.ones(3, np.float32), "w")],
    )
    graph = Graph.of(session)
    assert (list(graph.inputs), list(graph.defaulted)) == (["x"], ["w"])
    base = config(max_batch_size=0, output=[tensor("y", [3])])
    check({**base, "input": [tensor("x", [3]), tensor("w", [3], optional=True)]}, graph)
    check({**base, "input": [tensor("x", [3])]}, graph)
    required = {**base, "input": [tensor("x", [3]), tensor("w", [3])]}
    assert "[w] have defaults and must be `optional: true`" in failure(required, graph)
    hollow = {**base, "input": [tensor("x", [3], optional=True)]}
    assert "configuration expects 0 inputs, model provides 1" in failure(hollow, graph)


def control(name="START", **kind):
    return {"control_input": [{"name": name, "control": [kind or {"int32_false_true": [0, 1]}]}]}


def test_sequence_controls():
    start = infos(START=("TYPE_INT32", (-1, 1)))
    graph = Graph({**PLAIN.inputs, **start}, {}, PLAIN.outputs)
    check(config(sequence_batching=control()), graph)
    absent = config(sequence_batching=control("END"))
    assert "sequence control 'END', but model does not provide" in failure(absent, graph)
    other = config(sequence_batching=control(data_type="TYPE_UINT64"))
    assert "specifies data-type TYPE_UINT64" in failure(other, graph)
    wide = Graph({**PLAIN.inputs, **infos(START=("TYPE_INT32", (-1, 2)))}, {}, PLAIN.outputs)
    assert "has dims [2] but dims [1] is expected" in failure(
        config(sequence_batching=control()), wide
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch_input": [{}]}, "batch_input is not supported"),
        ({"batch_output": [{}]}, "batch_output is not supported"),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, "KIND_GPU is not supported"),
        ({"input": [tensor("x", [3], allow_ragged_batch=True)]}, "allow_ragged_batch"),
        ({"input": [tensor("x", [3], kind="TYPE_INVALID")]}, "unsupported datatype TYPE_INVALID"),
    ],
)
def test_refused_at_load(changes, reason):
    assert reason in failure(config(**changes), PLAIN)


def test_strings_in_and_bf16_out():
    graph = Graph(infos(x=("TYPE_STRING", (-1, 3))), {}, infos(y=("TYPE_BF16", (-1, -1))))
    assert "string inputs [x] together with BF16 outputs [y]" in failure(config(), graph)
