from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.errors import ModelportError
from modelport.serving.onnx import session
from modelport.serving.onnx.batching import BatchRunner, Job
from modelport.serving.onnx.graph import Graph


@pytest.fixture
def lookup(open_graph):
    """y = table[index], z = -y; index outside [0, 3] fails the run. Counts its runs."""
    opened = open_graph(
        [
            helper.make_node("Gather", ["table", "index"], ["y"]),
            helper.make_node("Neg", ["y"], ["z"]),
        ],
        [("index", TensorProto.INT64, ["b", "n"])],
        [("y", TensorProto.FLOAT, ["b", "n"]), ("z", TensorProto.FLOAT, ["b", "n"])],
        [numpy_helper.from_array(np.array([0, 10, 20, 30], np.float32), "table")],
    )
    run = session.runner(opened, Graph.of(opened))

    def counted(names, feeds):
        counted.runs += 1
        return run(names, feeds)

    counted.runs = 0
    return counted


def job(*rows, outputs=("y",)):
    return Job({"index": np.array(rows, np.int64)}, outputs)


def test_one_run_for_requests_of_one_shape(lookup):
    a, b, c = BatchRunner(lookup, batched=True)([job([1]), job([2], [3]), job([0])])
    assert (a["y"].tolist(), b["y"].tolist(), c["y"].tolist()) == ([[10]], [[20], [30]], [[0]])
    assert lookup.runs == 1


def test_split_outputs_are_contiguous(lookup):
    outcomes = BatchRunner(lookup, batched=True)([job([1, 2]), job([3, 0])])
    assert all(outcome["y"].flags.c_contiguous for outcome in outcomes)


def test_requests_of_other_lengths_run_apart(lookup):
    outcomes = BatchRunner(lookup, batched=True)([job([1]), job([1, 2]), job([3])])
    assert [outcome["y"].tolist() for outcome in outcomes] == [[[10]], [[10, 20]], [[30]]]
    assert lookup.runs == 2


def test_bad_request_fails_alone(lookup):
    good, bad, also_good = BatchRunner(lookup, batched=True)([job([1]), job([9]), job([3])])
    assert good["y"].tolist() == [[10]]
    assert "out of data bounds" in str(bad)
    assert also_good["y"].tolist() == [[30]]


def test_each_request_gets_the_outputs_it_wants(lookup):
    outcomes = BatchRunner(lookup, batched=True)(
        [job([1]), job([2], outputs=("z",)), job([3], outputs=("z", "y"))]
    )
    assert [list(outcome) for outcome in outcomes] == [["y"], ["z"], ["z", "y"]]
    assert outcomes[1]["z"].tolist() == [[-20]]
    assert lookup.runs == 1


def test_no_merging_without_a_batch_dimension(lookup):
    outcomes = BatchRunner(lookup, batched=False)([job([1]), job([2])])
    assert [outcome["y"].tolist() for outcome in outcomes] == [[[10]], [[20]]]
    assert lookup.runs == 2


def test_request_without_rows(lookup):
    empty = Job({"index": np.empty((0, 1), np.int64)}, ("y",))
    outcomes = BatchRunner(lookup, batched=True)([empty, job([1])])
    assert outcomes[0]["y"].shape == (0, 1)
    assert outcomes[1]["y"].tolist() == [[10]]


def test_output_without_the_batchs_rows_is_an_error_of_each_request():
    def sums(names, feeds):
        return [feeds["index"].sum(axis=0, keepdims=True)]

    one, two = BatchRunner(sums, batched=True)([job([1]), job([2], [3])])
    assert one["y"].tolist() == [[1]]
    assert isinstance(two, ModelportError)
    assert "'y' has shape [1, 1], expected 2 rows" in str(two)


def test_nothing_to_run_where_no_request_could_be_read(lookup):
    assert BatchRunner(lookup, batched=True)([]) == []
    assert lookup.runs == 0


def test_inputs_in_another_order_are_one_run():
    def sums(names, feeds):
        sums.runs += 1
        return [feeds["a"] + 10 * feeds["b"]]

    sums.runs = 0
    one, two = np.array([[1]]), np.array([[2]])
    outcomes = BatchRunner(sums, batched=True)(
        [Job({"a": one, "b": two}, ("y",)), Job({"b": one, "a": two}, ("y",))]
    )
    assert [outcome["y"].tolist() for outcome in outcomes] == [[[21]], [[12]]]
    assert sums.runs == 1
