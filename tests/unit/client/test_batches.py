from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.client import (
    ClientError,
    ModelMetadata,
    OverloadedError,
    PartialBatchError,
    ProtocolError,
    ServerFaultError,
)
from modelport.client.batches import Slice, join, split
from modelport.client.call import Call
from modelport.client.exchange import Reply
from modelport.client.tensors import Tensor

CALL = Call("http://h:1", 1.0, 0.0, "m", "3", "r-1", attempts=2)


def model(most: int | None) -> ModelMetadata:
    return ModelMetadata("m", ("3",), "", (), (), most)


def batch(rows: int) -> list[Tensor]:
    texts = np.array([[b"%d" % row] for row in range(rows)], object).reshape(rows, 1)
    return [
        Tensor("x", "FP32", np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)),
        Tensor("text", "BYTES", texts),
    ]


def cut(rows: int, most: int) -> list[Slice]:
    parts = split(model(most), batch(rows))
    assert parts is not None
    return parts


def echo(part: Slice, version: str = "3") -> Reply:
    return Reply({tensor.name: tensor.array for tensor in part.tensors}, version)


@given(rows=st.integers(1, 70), most=st.integers(1, 20))
def test_what_is_cut_and_joined_is_as_before(rows: int, most: int) -> None:
    whole = batch(rows)
    parts = split(model(most), whole)
    if parts is None:
        assert rows <= most
        return
    assert len(parts) == -(-rows // most)
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        for tensor, full in zip(part.tensors, whole, strict=True):
            assert tensor.array.base is not None
            assert tensor.array.tolist() == full.array[part.start : part.stop].tolist()
    reply = join(CALL, parts, [echo(part) for part in parts])
    assert reply.version == "3"
    for tensor in whole:
        got = reply.outputs[tensor.name]
        assert got.dtype == tensor.array.dtype
        assert got.tolist() == tensor.array.tolist()
        assert not got.flags.writeable


@pytest.mark.parametrize("most", [0, None, 4])
def test_what_fits_or_has_no_batch_is_not_cut(most: int | None) -> None:
    assert split(model(most), batch(4)) is None
    assert split(model(most), []) is None


def test_different_versions_are_told() -> None:
    one, two, three = cut(3, 1)
    assert join(CALL, [one, two, three], [echo(one), echo(two, "4"), echo(three)]).version == "3,4"


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"y": np.zeros((1, 3))}, r"'y' has the shape \[1, 3\] for 2 rows"),
        ({"y": np.zeros(())}, r"'y' has the shape \[\] for 2 rows"),
        ({"y": np.zeros((2, 4))}, r"different sizes in its parts: \[2, 3\], \[2, 4\]"),
        ({"y": np.zeros((2, 3), np.float32)}, "different sizes"),
        ({"z": np.zeros((2, 3))}, "different outputs"),
    ],
)
def test_answers_that_are_no_rows_are_refused(second: dict[str, np.ndarray], said: str) -> None:
    replies = [Reply({"y": np.zeros((2, 3))}, "3"), Reply(second, "3")]
    with pytest.raises(ProtocolError, match=said) as caught:
        join(CALL, cut(4, 2), replies)
    assert caught.value.objects["endpoint"] == "http://h:1"


def test_a_partial_failure_says_which_rows() -> None:
    parts = cut(12, 2)
    busy, broken = OverloadedError("queue is full"), ServerFaultError("tripped")
    outcomes = [echo(parts[0]), busy, busy, broken, echo(parts[4]), busy]
    with pytest.raises(PartialBatchError) as caught:
        join(CALL, parts, outcomes)
    error = caught.value
    assert error.what == (
        "8 of the 12 rows for 'm' version 3 at http://h:1 (request 'r-1') have no answer:"
        " rows 2-5, 10-11: OverloadedError: queue is full; rows 6-7: ServerFaultError: tripped"
    )
    assert error.failures == [(2, 4, busy), (4, 6, busy), (6, 8, broken), (10, 12, busy)]
    assert [start for start, _, result in error.results if result is None] == [2, 4, 6, 10]
    start, stop, result = error.results[4]
    assert result.x.tolist() == batch(12)[0].array[start:stop].tolist()
    assert (result.model_version, result.request_id) == ("3", "r-1")
    assert error.objects["model"] == "m"
    assert error.objects["attempts"] == 2


def test_one_row_is_named_as_one() -> None:
    parts = cut(3, 1)
    with pytest.raises(PartialBatchError, match=r"1 of the 3 rows .* rows 1: OverloadedError"):
        join(CALL, parts, [echo(parts[0]), OverloadedError("full"), echo(parts[2])])


def test_where_nothing_succeeded_the_first_error_is_the_answer() -> None:
    errors: list[ClientError] = [OverloadedError("full"), ServerFaultError("tripped")]
    with pytest.raises(OverloadedError) as caught:
        join(CALL, cut(4, 2), errors)
    assert caught.value is errors[0]
