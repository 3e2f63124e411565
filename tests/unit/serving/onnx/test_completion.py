from __future__ import annotations

import pytest

from modelport.errors import ConfigError
from modelport.serving.onnx.completion import complete, is_complete
from modelport.serving.onnx.graph import Graph, TensorInfo


def graph(x=(-1, 3), y=(-1, -1)):
    return Graph(
        {"x": TensorInfo("x", "TYPE_FP32", x)}, {}, {"y": TensorInfo("y", "TYPE_INT64", y)}
    )


def completed(config, onnx_graph, default=4):
    complete(config, onnx_graph, default_max_batch_size=default)
    return config


def test_all_of_it():
    assert completed({"max_batch_size": 0, "input": [], "output": []}, graph()) == {
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}],
        "output": [{"name": "y", "data_type": "TYPE_INT64", "dims": [-1]}],
    }


def test_what_is_given_stays():
    given = [{"name": "x", "data_type": "TYPE_FP32", "dims": [3], "reshape": {"shape": [3]}}]
    config = completed(
        {"max_batch_size": 16, "input": given, "dynamic_batching": {"priority_levels": 2}}, graph()
    )
    assert config["input"] == given
    assert config["max_batch_size"] == 16
    assert config["dynamic_batching"] == {"priority_levels": 2}
    assert [output["name"] for output in config["output"]] == ["y"]


@pytest.mark.parametrize("given", [{"max_batch_size": 1}, {"sequence_batching": {}}])
def test_no_dynamic_batching_for_single_rows_or_sequences(given):
    assert "dynamic_batching" not in completed({**given}, graph())


@pytest.mark.parametrize("fixed", [{"x": (1, 3)}, {"y": (2, -1)}, {"y": ()}])
def test_graph_that_cannot_batch(fixed):
    config = completed({}, graph(**fixed))
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert len(config["input"][0]["dims"]) == 2  # the first dimension stays
    with pytest.raises(ConfigError, match="model does not support batching"):
        completed({"name": "m", "max_batch_size": 8}, graph(**fixed))


def test_tensors_without_dims():
    batched = completed({}, graph(x=(-1,)))
    assert batched["input"][0]["dims"] == [1]
    assert batched["input"][0]["reshape"] == {"shape": []}
    scalar = completed({}, graph(x=()))
    assert scalar["input"][0]["dims"] == [1]
    assert "reshape" not in scalar["input"][0]


def test_default_of_zero_means_no_batching():
    config = completed({}, graph(), default=0)
    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [-1, 3]


def test_complete_means_inputs_and_outputs():
    assert is_complete({"input": [{}], "output": [{}]})
    assert is_complete({"batch_input": [{}], "output": [{}]})
    assert not is_complete({"input": [{}], "output": []})
    assert not is_complete({"output": [{}]})
