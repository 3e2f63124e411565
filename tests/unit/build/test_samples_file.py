"""Requests and expected answers that users bring: .npz archives and perf_analyzer's JSON."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelport.build import samples_file
from modelport.errors import DataError
from modelport.spec import Datatype, ModelSequenceBatching, OnnxModel, PythonModel, Tensor

FLOATS = st.floats(width=32, allow_nan=False)


def model(
    *, dims: tuple[int, ...] = (2,), datatype: Datatype = "FP32", batch: int = 8
) -> OnnxModel:
    """x to y of the same shape."""
    return OnnxModel(
        name="m",
        inputs=(Tensor("x", datatype, dims), Tensor("scale", "INT32", (1,), optional=True)),
        outputs=(Tensor("y", datatype, dims),),
        max_batch_size=batch,
        file=Path("m.onnx"),
    )


def python(**fields: Any) -> PythonModel:
    tensors = {"inputs": (Tensor("x", "FP32", (2,)),), "outputs": (Tensor("y", "FP32", (2,)),)}
    return PythonModel(name="m", reference=dict, **{**tensors, **fields})


def written(folder: Path, document: object) -> Path:
    path = folder / "samples.json"
    path.write_text(json.dumps(document))
    return path


@given(x=arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(2)), elements=FLOATS))
def test_both_formats_say_the_same(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("same")
    np.savez(folder / "samples.npz", x=x, y=-x)
    document = {
        "data": [{"x": row.tolist()} for row in x],
        "validation_data": [{"y": (-row).tolist()} for row in x],
    }
    one = samples_file.read(folder / "samples.npz", model())
    other = samples_file.read(written(folder, document), model())
    assert len(one) == len(other) == len(x)
    for a, b, row in zip(one, other, x, strict=True):
        for item in (a, b):
            np.testing.assert_array_equal(item.inputs["x"], row)
            np.testing.assert_array_equal(item.outputs["y"], -row)
            assert item.inputs["x"].dtype == item.outputs["y"].dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3, 4],
        [[1, 2], [3, 4]],
        {"content": [1, 2, 3, 4]},
        {"content": [1, 2, 3, 4], "shape": [2, 2]},
        {"b64": base64.b64encode(np.arange(1, 5, dtype="<f4").tobytes()).decode()},
    ],
)
def test_a_tensor_is_written_in_many_ways(tmp_path: Path, value: object) -> None:
    (item,) = samples_file.read(written(tmp_path, {"data": [{"x": value}]}), model(dims=(2, 2)))
    assert item.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert item.outputs == {}


def test_dimensions_that_vary_take_their_size_from_the_file(tmp_path: Path) -> None:
    values = [[1], [1, 2], {"content": [1, 2, 3, 4], "shape": [4]}]
    path = written(tmp_path, {"data": [{"x": value} for value in values]})
    shapes = [item.inputs["x"].shape for item in samples_file.read(path, model(dims=(-1,)))]
    assert shapes == [(1,), (2,), (4,)]


def test_texts_are_bytes(tmp_path: Path) -> None:
    texts = model(dims=(1,), datatype="BYTES")
    (item,) = samples_file.read(written(tmp_path, {"data": [{"x": ["größe"]}]}), texts)
    assert item.inputs["x"].tolist() == ["größe".encode()]
    np.savez(tmp_path / "s.npz", x=np.array([["größe"], ["b"]]))
    read = samples_file.read(tmp_path / "s.npz", texts)
    assert [one.inputs["x"].tolist() for one in read] == [["größe".encode()], [b"b"]]


def test_without_batches_an_archive_is_one_request(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.zeros(2, np.float32), y=np.ones(2, np.float32))
    (item,) = samples_file.read(tmp_path / "s.npz", model(batch=0))
    (case,) = samples_file.cases(model(batch=0), [item])
    assert case.inputs["x"].shape == case.outputs["y"].shape == (2,)


def test_answers_stay_with_their_requests_in_every_batch(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.savez(tmp_path / "s.npz", x=x, y=3 * x)
    cases = samples_file.cases(model(), samples_file.read(tmp_path / "s.npz", model()))
    assert {len(case.inputs["x"]) for case in cases} >= {1, 2, 3, 8}
    for case in cases:
        np.testing.assert_array_equal(case.outputs["y"], 3 * case.inputs["x"])


def test_an_input_and_an_output_of_one_name(tmp_path: Path) -> None:
    tensors = (Tensor("x", "FP32", (2,)),)
    same = python(inputs=tensors, outputs=tensors)
    document = {"data": [{"x": [1, 2]}], "validation_data": [{"x": [3, 4]}]}
    case = samples_file.cases(same, samples_file.read(written(tmp_path, document), same))[0]
    assert (case.inputs["x"].tolist(), case.outputs["x"].tolist()) == ([[1, 2]], [[3, 4]])


def test_a_stream_of_requests_is_a_sequence(tmp_path: Path) -> None:
    data = [[{"x": [1, 2]}, {"x": [3, 4]}, {"x": [5, 6]}], [{"x": [7, 8]}]]
    answers = [[{"y": step["x"]} for step in stream] for stream in data]
    path = written(tmp_path, {"data": data, "validation_data": answers})
    remembers = python(sequence=ModelSequenceBatching())
    cases = samples_file.cases(remembers, samples_file.read(path, remembers))
    assert [case.inputs["x"].shape for case in cases] == [(3, 2), (1, 2)]
    assert cases[0].outputs["y"].tolist() == [[1, 2], [3, 4], [5, 6]]
    # To any other model they are requests like others.
    assert len(samples_file.read(path, python())) == 4


def test_responses_of_a_stream_are_joined(tmp_path: Path) -> None:
    answer = {"content": [1, 2, 3, 4, 5, 6], "shape": [3, 2]}
    path = written(tmp_path, {"data": [{"x": [1, 2]}], "validation_data": [{"y": answer}]})
    streams = python(decoupled=True)
    (case,) = samples_file.cases(streams, samples_file.read(path, streams))
    assert (case.inputs["x"].shape, case.outputs["y"].shape) == ((1, 2), (3, 2))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([1], "there is no `data`"),
        ({"data": []}, "holds no request"),
        ({"data": [5]}, "no list of requests"),
        ({"data": [{}]}, "holds nothing; the model takes x, scale and gives y"),
        ({"data": [{"x": [1, 2], "z": [1]}]}, "holds x, z; the model takes x, scale and gives y"),
        ({"data": [{"x": [1, 2, 3]}]}, "data[0]: input 'x' of 'm' has the wrong shape"),
        ({"data": [{"x": [1, 2]}, {"x": ["a", "b"]}]}, "data[1]: input 'x' of 'm' has the wrong"),
        ({"data": [{"x": [1, 10**400]}]}, "expected FP32, got object"),
        ({"data": [{"x": [1, 1e300]}]}, "do not fit into FP32"),
        ({"data": [{"x": None}]}, "has the wrong datatype"),
        ({"data": [{"x": [[1], [1, 2]]}]}, "rows of unequal length"),
        ({"data": [{"x": {"what": 1}}]}, "expected `content` or `b64`"),
        ({"data": [{"x": {"content": [1, 2], "shape": [9]}}]}, "do not fill [9]"),
        ({"data": [{"x": {"content": [1, 2], "shape": [1, 2]}}]}, "has the wrong shape"),
        ({"data": [{"x": {"content": [1, 2], "shape": [1e9]}}]}, "no list of sizes"),
        ({"data": [{"x": {"b64": "!"}}]}, "does not decode"),
        ({"data": [{"x": {"b64": "AAA="}}]}, "does not decode"),
        ({"data": [{"x": [1, 2], "scale": [2**31]}]}, "do not fit into INT32"),
        ({"data": [{"x": [1, 2], "scale": [1.5]}]}, "expected INT32"),
        ({"data": [{"x": [1, 2]}], "validation_data": []}, "1 requests in `data`, 0 in"),
        ({"data": [{"x": [1, 2]}], "validation_data": [{}]}, "expected answers without y"),
        (
            {"data": [{"x": [1, 2]}], "validation_data": [{"y": [1, "a"]}]},
            "validation_data[0]: output 'y' of 'm' has the wrong datatype",
        ),
    ],
)
def test_json_that_does_not_fit_is_named(tmp_path: Path, document: object, words: str) -> None:
    path = written(tmp_path, document)
    with pytest.raises(DataError) as caught:
        samples_file.read(path, model())
    assert words in f"{caught.value.what} {caught.value.next_step}"
    assert str(path) in caught.value.what


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"data": [{"x": [1, ' + b"9" * 5000 + b"]}]}", "not JSON that can be read"),
        (b'{"data": [{"x": ' + b"[" * 200 + b"]" * 200 + b"}]}", "input 'x'"),
    ],
)
def test_files_that_are_no_json(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "samples.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        samples_file.read(path, model())


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"x": np.zeros((2, 2)), "y": np.zeros((3, 2))}, "holds 2 items of x, 3 items of y"),
        ({"x": np.zeros((0, 2))}, "holds 0 items of x"),
        ({"y": np.zeros((2, 2))}, "holds nothing; the model takes x"),
        ({"x": np.zeros((2, 2)), "z": np.zeros(2)}, "holds x, z; the model takes x"),
        ({"x": np.zeros((2, 2), np.int64)}, "expected FP32, got INT64"),
        ({"x": np.array([[{}, {}]])}, "Object arrays cannot be loaded"),
    ],
)
def test_archives_that_do_not_fit_are_named(
    tmp_path: Path, made: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "s.npz", **made)
    with pytest.raises(DataError) as caught:
        samples_file.read(tmp_path / "s.npz", model())
    assert words in caught.value.what


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x=np.zeros((2, 2)))
    whole = (tmp_path / "whole.npz").read_bytes()
    np.save(tmp_path / "one.npy", np.zeros((2, 2)))
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").touch()
    (tmp_path / "flipped.npz").write_bytes(whole.replace(b"\0" * 8, b"\1" * 8))
    for name in ("one.npy", "cut.npz", "empty.npz", "flipped.npz", "missing.npz", "."):
        with pytest.raises(DataError, match=r"not an \.npz file|there is no such file"):
            samples_file.read(tmp_path / name, model())
