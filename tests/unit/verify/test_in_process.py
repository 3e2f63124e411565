"""An ONNX file in ONNX Runtime, compared with the expected answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelport.errors import ExportError
from modelport.repository.samples import Case
from modelport.spec.parts import Tolerance
from modelport.verify import in_process


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """y = x + x, float32[batch, 2]."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def case(factor: float, batch: int) -> Case:
    x = np.arange(2 * batch, dtype=np.float32).reshape(batch, 2)
    return Case({"x": x}, {"y": x * np.float32(factor)})


def test_equal_answers(doubling: Path) -> None:
    found = in_process.parity(doubling, [case(2, 1), case(2, 3)], Tolerance(0.0, 0.0))
    assert (found.requests, found.batch_sizes, found.problems) == (2, {1, 3}, [])


def test_a_different_answer_names_its_case(doubling: Path) -> None:
    found = in_process.parity(doubling, [case(2, 1), case(2.5, 3)], Tolerance(0.1, 0.1))
    assert found.worst_absolute == 2.5
    (problem,) = found.problems
    assert problem.startswith("case 1, in process (batch 3): y[2, 1]: 10, expected 12.5")


def test_a_damaged_file_is_an_export_error_that_names_it(doubling: Path) -> None:
    doubling.write_bytes(doubling.read_bytes()[:-30])
    with pytest.raises(ExportError, match="does not load it") as caught:
        in_process.session(doubling)
    assert caught.value.objects["path"] == doubling
