"""samples.json: every element type survives the round trip, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from modelport.errors import IntegrityError
from modelport.repository.samples import Case, Samples
from modelport.spec.parts import Datatype

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BF16": ml_dtypes.bfloat16, "BYTES": np.object_,
}  # fmt: skip
SHAPES = stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn, datatype: str) -> np.ndarray:
    """Any array of an element type; numbers from random bits, so that NaNs of all kinds occur."""
    shape = draw(SHAPES)
    count = int(np.prod(shape))
    if datatype == "BYTES":
        items = draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))
        array = np.empty(count, dtype=np.object_)
        array[:] = items
        return array.reshape(shape)
    dtype = np.dtype(DTYPES[datatype])
    if dtype == np.bool_:
        return draw(stn.arrays(dtype, shape))
    size = count * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


def test_every_datatype_of_the_specification_is_covered_here() -> None:
    assert set(DTYPES) == set(get_args(Datatype))


@pytest.mark.parametrize("datatype", DTYPES)
def test_arrays_survive_to_the_bit(datatype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples.json"

    @settings(deadline=None, max_examples=50)
    @given(arrays(datatype))
    def holds(array: np.ndarray) -> None:
        Samples((Case({"x": array}, {"y": array}, "a title", {"y": array}),)).write(path)
        (case,) = Samples.read(path).cases
        assert case.title == "a title"
        for got in (case.inputs["x"], case.outputs["y"], case.truth["y"]):
            assert (got.dtype, got.shape) == (array.dtype, array.shape)
            assert got.tolist() == array.tolist() if datatype == "BYTES" else _bits(got, array)

    holds()


def _bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.tobytes() == other.tobytes()


def test_bytes_keep_their_nuls(tmp_path: Path) -> None:
    items = [b"", b"\0", b"a\0b\0", b"\0\0\0\0"]
    array = np.array([*items, None], dtype=np.object_)[:-1]
    Samples((Case({"x": array}, {}),)).write(tmp_path / "samples.json")
    assert Samples.read(tmp_path / "samples.json").cases[0].inputs["x"].tolist() == items


def test_an_array_that_is_not_contiguous_is_stored_in_its_order(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    Samples((Case({"x": array}, {}),)).write(tmp_path / "samples.json")
    got = Samples.read(tmp_path / "samples.json").cases[0].inputs["x"]
    assert got.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_same_cases_give_the_same_file(tmp_path: Path) -> None:
    cases = Samples((Case({"x": np.ones(3, np.float32)}, {"y": np.zeros(3)}),))
    cases.write(tmp_path / "one")
    cases.write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def _document(**changes: object) -> str:
    tensor = {"datatype": "INT32", "shape": [2], "b64": "AQAAAAIAAAA="} | changes
    return json.dumps({"schema_version": 1, "cases": [{"inputs": {"x": tensor}, "outputs": {}}]})


def test_the_document_that_the_damaged_ones_start_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(_document())
    assert Samples.read(tmp_path / "samples.json").cases[0].inputs["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_document()[:-20], "EOF"),
        (_document(datatype="FP99"), "FP99"),
        (_document(shape=[3]), "2 elements do not fill shape [3]"),
        (_document(shape=[-2]), "greater than or equal to 0"),
        (_document(b64="AQAAAAIA"), "buffer size must be a multiple"),
        (_document(b64="no base64!"), "base64"),
        (_document(datatype="BYTES", b64="/////w==", shape=[1]), ""),
        (_document().replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (_document().replace('"outputs"', '"output"'), "output"),
        ("", "EOF"),
    ],
)
def test_damage_is_an_integrity_error_that_names_the_file(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "samples.json"
    path.write_text(text)
    with pytest.raises(IntegrityError) as caught:
        Samples.read(path)
    assert str(path) in caught.value.what
    assert words in caught.value.what
    assert caught.value.objects["path"] == path


def test_a_missing_file_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="No such file"):
        Samples.read(tmp_path / "samples.json")
