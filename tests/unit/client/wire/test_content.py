"""Tensors there and back, and contents that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from modelport.client.tensors import DTYPES, Tensor
from modelport.client.wire.content import join_items, split_items, to_array, to_buffer

NUMERIC = sorted(DTYPES.keys() - {"BYTES"})
items = st.lists(st.binary(max_size=9), max_size=9)


@given(st.data(), st.sampled_from(NUMERIC), st.booleans())
def test_numbers_there_and_back(data: st.DataObject, datatype: str, reverse: bool) -> None:
    dtype = DTYPES[datatype]
    shape = data.draw(arrays.array_shapes(max_dims=3, min_side=0, max_side=4))
    raw = data.draw(arrays.arrays(np.uint8, (*shape, dtype.itemsize)))
    array = (raw % 2).astype(bool)[..., 0] if datatype == "BOOL" else raw.view(dtype)[..., 0]
    array = array.T[::-1] if reverse else array
    content = bytes(to_buffer(Tensor("x", datatype, array)))
    assert content == array.tobytes()
    back = to_array(datatype, array.shape, content)
    assert (back.dtype, back.shape) == (dtype, array.shape)
    assert back.tobytes() == content
    assert back.flags.aligned
    assert not back.flags.writeable


@pytest.mark.parametrize("datatype", NUMERIC)
@pytest.mark.parametrize("step", [1, 3])
def test_large_tensors_are_not_copied_where_they_lie_in_one_piece(datatype: str, step: int) -> None:
    array = np.zeros(90_000, DTYPES[datatype])[::step]
    buffer = to_buffer(Tensor("x", datatype, array))
    assert bytes(buffer) == array.tobytes()
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array) == (step == 1)
    whole = to_array(datatype, array.shape, buffer)
    assert np.shares_memory(whole, array) == (step == 1)


@given(items)
def test_bytes_are_written_as_tritonclient_writes_them(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    content = bytes(to_buffer(Tensor("x", "BYTES", array)))
    theirs = serialize_byte_tensor(array)
    assert content == (theirs.item() if theirs.size else b"")
    assert to_array("BYTES", array.shape, content).tolist() == values
    assert deserialize_bytes_tensor(content).tolist() == values


@given(items, st.data())
def test_a_part_of_bytes_content_is_refused(values: list[bytes], data: st.DataObject) -> None:
    content = join_items(values)
    part = content[: data.draw(st.integers(0, len(content)))]
    try:
        whole = split_items(part)
    except ValueError:
        return
    assert whole == values[: len(whole)]


@pytest.mark.parametrize(
    ("datatype", "shape", "content"),
    [
        ("FP32", (2,), b"\0" * 7),
        ("FP32", (2,), b"\0" * 9),
        ("FP32", (-1,), b"\0" * 4),
        ("BYTES", (2,), b"\0\0\0\0"),
        ("BYTES", (1,), b"\xff\xff\xff\xff"),
    ],
)
def test_what_does_not_fit_is_refused(
    datatype: str, shape: tuple[int, ...], content: bytes
) -> None:
    with pytest.raises(ValueError, match=r"for|ends within"):
        to_array(datatype, shape, content)


def test_what_is_not_aligned_is_copied() -> None:
    content = memoryview(b"\0" + np.arange(5000, dtype=np.float32).tobytes())
    array = to_array("FP32", (5000,), content[1:])
    assert array.flags.aligned
    assert array.tolist() == list(range(5000))
