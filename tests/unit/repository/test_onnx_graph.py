"""Inputs, outputs and outside files of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_files
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository import onnx_graph
from modelport.repository.onnx_graph import ExternalFile, OnnxTensor


def test_fixed_symbolic_and_unknown_dimensions(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path / "m.onnx",
        [
            onnx_files.tensor("x", TensorProto.FLOAT16, ["batch", 3, None]),
            onnx_files.tensor("scalar", TensorProto.INT64, []),
            onnx_files.tensor("any", TensorProto.STRING, None),
        ],
        [onnx_files.tensor("y", TensorProto.BFLOAT16, [-1, 3])],
    )
    graph = onnx_graph.read(path)
    assert graph.inputs == (
        OnnxTensor("x", "TYPE_FP16", ("batch", 3, None)),
        OnnxTensor("scalar", "TYPE_INT64", ()),
        OnnxTensor("any", "TYPE_STRING", None),
    )
    assert [tensor.triton_dims() for tensor in graph.inputs] == [(-1, 3, -1), (), None]
    assert graph.outputs == (OnnxTensor("y", "TYPE_BF16", (None, 3)),)
    assert (graph.opset, graph.external_files) == (17, ())
    assert graph.input("scalar") is graph.inputs[1]
    assert graph.output("x") is None


def test_every_type_of_triton_has_its_onnx_type() -> None:
    from typing import get_args

    from modelport.spec.config import DataType

    known = set(onnx.TensorProto.DataType.keys())
    assert set(onnx_graph.DATA_TYPES) <= known
    assert set(onnx_graph.DATA_TYPES.values()) == set(get_args(DataType)) - {"TYPE_INVALID"}


def test_an_initializer_that_is_also_an_input_is_optional(tmp_path: Path) -> None:
    bias = numpy_helper.from_array(np.zeros(4, np.float32), "bias")
    path = onnx_files.save(
        tmp_path / "m.onnx",
        [onnx_files.tensor("x"), onnx_files.tensor("bias", shape=[4])],
        nodes=[helper.make_node("Add", ["x", "bias"], ["y"])],
        initializers=[bias],
    )
    assert [(t.name, t.optional) for t in onnx_graph.read(path).inputs] == [
        ("x", False),
        ("bias", True),
    ]


def test_external_files_are_found_in_subgraphs_and_their_size_is_the_last_byte(
    tmp_path: Path,
) -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "inner",
        [],
        [onnx_files.tensor("z")],
        [onnx_files.external("deep", "b.data", offset=96, length=32)],
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    path = onnx_files.save(
        tmp_path / "m.onnx",
        [onnx_files.tensor("x"), onnx_files.tensor("c", TensorProto.BOOL, [])],
        nodes=[branch],
        initializers=[
            onnx_files.external("one", "a.data", offset=0, length=32),
            onnx_files.external("two", "a.data", offset=64, length=None),
        ],
    )
    assert onnx_graph.read(path).external_files == (
        ExternalFile("a.data", 96),
        ExternalFile("b.data", 128),
    )


@pytest.mark.parametrize("size", [0, 1, 40, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = onnx_files.save(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IntegrityError) as caught:
        onnx_graph.read(path)
    assert caught.value.objects["path"] == path
    assert "bytes" in caught.value.objects["reason"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path / "m.onnx")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError):
            onnx_graph.read(path)


def test_a_git_lfs_pointer_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(IntegrityError, match="No such file"):
        onnx_graph.read(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(IntegrityError, match="Git LFS"):
        onnx_graph.read(path)


def test_a_sequence_and_a_type_without_counterpart_are_named(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    path = onnx_files.save(tmp_path / "m.onnx", outputs=[sequence])
    with pytest.raises(RepositoryError, match="output 's' is a sequence"):
        onnx_graph.read(path)
    complex_input = onnx_files.tensor("c", TensorProto.COMPLEX64)
    path = onnx_files.save(tmp_path / "m.onnx", [complex_input])
    with pytest.raises(RepositoryError, match="input 'c' is a tensor of COMPLEX64"):
        onnx_graph.read(path)
