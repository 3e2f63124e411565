"""ONNX files that others made, as published models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from workplace import Workplace

from modelport.build import onnx_import
from modelport.client import Client
from modelport.errors import BuilderError, DataError, RepositoryError
from modelport.repository.samples import Samples
from modelport.runtime.server import Server

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def save(path: Path, *, batch: int | str, external: bool = False) -> Path:
    """y = x @ WEIGHTS: float32[batch, 2] to float32[batch, 3]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(WEIGHTS, "w")])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, path, **(options if external else {}))
    return path


def publish(workplace: Workplace, file: Path, name: str = "matmul", **options: object):
    return onnx_import.publish(file, name, repository=workplace.repository, **options)


def test_graphs_of_every_kind_are_served(workplace: Workplace) -> None:
    """Batching, fixed, and with weights in a file beside it: one server for all three."""
    files = {
        "batching": save(workplace.path / "batching.onnx", batch="N"),
        "fixed": save(workplace.path / "fixed.onnx", batch=4),
        "external": save(workplace.path / "external.onnx", batch="N", external=True),
    }
    for name, file in files.items():
        built = publish(workplace, file, name)
        assert (built.model, built.version, built.new) == (name, 1, True)
    sizes = {name: workplace.model(name).config().max_batch_size for name in files}
    assert sizes == {"batching": 64, "fixed": 0, "external": 64}
    manifest = workplace.model("external").manifest(1)
    assert {entry.path for entry in manifest.files} == {
        "config.pbtxt",
        "environment.json",
        "model.onnx",
        "samples.json",
        "weights.bin",
    }
    assert manifest.proof.through_server.reference == "onnxruntime in process"
    assert manifest.builder.path.endswith("external.onnx")
    assert workplace.model("fixed").manifest(1).proof.through_server.batch_sizes == [4]

    x = np.array([[1, 0], [0, 1], [2, 2], [5, -1]], np.float32)
    with Server.start(workplace.repository) as server, Client(server.endpoints.grpc) as client:
        for name in files:
            np.testing.assert_array_equal(client.infer(name, {"x": x})["y"], x @ WEIGHTS)

    again = publish(workplace, files["batching"], "batching")
    assert (again.version, again.new) == (1, False)
    changed = onnx.load(files["batching"])
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(-WEIGHTS, "w"))
    onnx.save(changed, files["batching"])
    newer = publish(workplace, files["batching"], "batching")
    assert (newer.version, newer.new) == (2, True)


def test_samples_of_the_users_own_are_the_proof(workplace: Workplace) -> None:
    file = save(workplace.path / "m.onnx", batch="N")
    items = np.array([[7, 8], [9, 10]], np.float32)
    np.savez(workplace.path / "items.npz", x=items)
    command = ["import", str(file), "--name", "mine", "--repository", "repository", "--json"]
    done = workplace.run([*command, "--samples", "items.npz", "--max-batch-size", "8"])
    assert json.loads(done.stdout) == {"model": "mine", "version": 1, "new": True}, done.stderr
    folder = workplace.model("mine")
    assert folder.config().max_batch_size == 8
    cases = Samples.read(folder.version_dir(1) / "samples.json").cases
    assert [case.inputs["x"].tolist() for case in cases[:2]] == [[[7, 8]], [[9, 10]]]
    assert cases[0].outputs["y"].tolist() == (items[:1] @ WEIGHTS).tolist()


def test_two_imports_at_once_make_one_version(workplace: Workplace) -> None:
    file = save(workplace.path / "m.onnx", batch="N")
    command = [sys.executable, "-m", "modelport.cli", "import", str(file), "--name", "m"]
    both = [
        subprocess.Popen(command, cwd=workplace.path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    codes = {process.returncode for process in both}
    # The one that came second found the version there, or was told that it is there now.
    assert codes in ({0}, {0, 23}), said
    folder = workplace.path / "model_repository" / "m"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]
    assert not (workplace.path / ".model_repository.staging").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_named(workplace: Workplace, share: float) -> None:
    file = save(workplace.path / "m.onnx", batch="N")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RepositoryError) as caught:
        publish(workplace, file)
    assert str(file) in str(caught.value)
    assert not workplace.repository.exists()


def test_weights_that_were_left_behind_are_named(workplace: Workplace) -> None:
    file = save(workplace.path / "m.onnx", batch="N", external=True)
    (workplace.path / "weights.bin").unlink()
    with pytest.raises(RepositoryError) as caught:
        publish(workplace, file)
    assert f"{workplace.path / 'weights.bin'}: missing" in caught.value.what
    assert "put weights.bin beside m.onnx" in str(caught.value.next_step)
    assert not workplace.repository.exists()


def test_a_sequence_is_no_tensor(workplace: Workplace) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("SequenceConstruct", ["x"], ["y"])], "g", [x], [y])
    file = workplace.path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), file)
    with pytest.raises(RepositoryError) as caught:
        publish(workplace, file)
    assert str(file) in caught.value.what
    assert "'y'" in caught.value.what
    assert "sequence" in caught.value.what
    assert not workplace.repository.exists()


def test_a_batch_size_for_a_graph_that_cannot_batch(workplace: Workplace) -> None:
    file = save(workplace.path / "m.onnx", batch=4)
    with pytest.raises(BuilderError, match="the first dimension of 'x' is fixed") as caught:
        publish(workplace, file, max_batch_size=8)
    assert caught.value.objects["tensor"] == "x"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((1, 2), np.float32)}, "holds z; the model takes x"),
        ({}, "holds nothing; the model takes x"),
        ({"x": np.zeros((0, 2), np.float32)}, "holds 0 items of x; expected"),
        ({"x": np.float32(1)}, "'x' of 'matmul' has the wrong shape: expected [-1, 2], got []"),
        ({"x": np.zeros((2, 3), np.float32)}, "has the wrong shape: expected [-1, 2], got [2, 3]"),
        ({"x": np.zeros(2, np.float32)}, "has the wrong shape: expected [-1, 2], got [2]"),
        ({"x": np.zeros((2, 2), np.int64)}, "expected FP32, got INT64"),
        ({"x": np.zeros((1, 2)), "y": np.zeros((1, 3))}, "holds expected answers (y)"),
        ({"x": np.array([None])}, "not an .npz file that can be read"),
    ],
)
def test_samples_that_do_not_fit_are_named(
    workplace: Workplace, arrays: dict[str, np.ndarray], words: str
) -> None:
    file = save(workplace.path / "m.onnx", batch="N")
    np.savez(workplace.path / "items.npz", **arrays)
    with pytest.raises(DataError) as caught:
        publish(workplace, file, samples=workplace.path / "items.npz")
    assert words in caught.value.what
    assert str(workplace.path / "items.npz") in caught.value.what
    assert workplace.staged() == []


def test_samples_that_are_no_archive(workplace: Workplace) -> None:
    file = save(workplace.path / "m.onnx", batch="N")
    (workplace.path / "items.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"not an \.npz file"):
        publish(workplace, file, samples=workplace.path / "items.npz")
