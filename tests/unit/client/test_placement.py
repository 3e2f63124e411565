from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.client.call import Call
from modelport.client.exchange import Inference, Placed, Reply
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.placement import THRESHOLD_BYTES, plan, read, write
from modelport.client.regions import Region
from modelport.client.tensors import DTYPES, Tensor
from modelport.errors import ProtocolError

OUTPUTS = (
    TensorMetadata("wide", "FP32", (-1, 16384)),
    TensorMetadata("open", "FP32", (-1, -1)),
    TensorMetadata("text", "BYTES", (-1, 16384)),
    TensorMetadata("small", "FP32", (-1, 1)),
)
CALL = Call("http://h:1", 1.0, 0.0, "m")


def model(batch: int | None = 8) -> ModelMetadata:
    return ModelMetadata("m", ("1",), "", (), OUTPUTS, batch)


def numbers(count: int) -> Tensor:
    return Tensor("x", "FP32", np.zeros((1, count), np.float32))


def texts(*items: bytes) -> Tensor:
    return Tensor("x", "BYTES", np.array([[item] for item in items], object))


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        (numbers(THRESHOLD_BYTES // 4 - 1), 0),
        (numbers(THRESHOLD_BYTES // 4), THRESHOLD_BYTES),
        (texts(b"x" * THRESHOLD_BYTES), THRESHOLD_BYTES + 4),
        (texts(*[b"x" * 4092] * 32), THRESHOLD_BYTES),
        (texts(b"x" * (THRESHOLD_BYTES - 5)), 0),
        (texts(*[b"x" * 4092] * 65), 0),
    ],
)
def test_large_inputs_are_placed(tensor: Tensor, size: int) -> None:
    layout = plan(model(), Inference([tensor], ["small"]))
    assert (layout.inputs["x"].size_bytes if layout else 0) == size
    assert layout is None or not layout.outputs


def test_large_outputs_of_known_shape_are_placed() -> None:
    layout = plan(model(), Inference([Tensor("x", "FP32", np.zeros((3, 1), np.float32))]))
    assert layout is not None
    assert {name: part.size_bytes for name, part in layout.outputs.items()} == {"wide": 3 * 65536}
    assert layout.wanted == ("wide", "open", "text", "small")
    assert not layout.inputs
    assert plan(model(), Inference([numbers(1)], ["open"])) is None
    assert plan(model(None), Inference([numbers(1)])) is None  # the batch is not known


@given(sizes=st.lists(st.integers(THRESHOLD_BYTES, 3 * THRESHOLD_BYTES), min_size=1, max_size=4))
def test_parts_do_not_overlap(sizes: list[int]) -> None:
    tensors = [
        Tensor(f"x{n}", "UINT8", np.zeros((1, size), np.uint8)) for n, size in enumerate(sizes)
    ]
    layout = plan(model(), Inference(tensors))
    assert layout is not None
    parts = [*layout.inputs.values(), *layout.outputs.values()]
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        assert part.offset % 64 == 0
        end = part.offset + part.size_bytes
        assert end <= (after.offset if after else layout.size_bytes)


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_what_is_written_is_read(datatype: str) -> None:
    dtype = DTYPES[datatype]
    raw = np.random.default_rng(5).integers(0, 256, (2, THRESHOLD_BYTES * dtype.itemsize), np.uint8)
    array = (raw % 2 if datatype == "BOOL" else raw).view(dtype)[:, ::2]
    known = ModelMetadata("m", ("1",), "", (), (TensorMetadata("y", datatype, array.shape),), 0)
    layout = plan(known, Inference([Tensor("x", datatype, array)]))
    assert layout is not None
    region = Region(layout.size_bytes)
    region.unlink()
    placed = write(region, Inference([Tensor("x", datatype, array)]), layout)
    (where, to) = placed.input_regions["x"], placed.output_regions["y"]
    begin = where.offset
    region.memory[to.offset : to.offset + to.size_bytes] = region.memory[
        begin : begin + where.size_bytes
    ]
    got = read(CALL, region, layout, Reply({}, "1", {"y": Placed(datatype, array.shape)}))
    assert got.outputs["y"].tobytes() == array.tobytes()
    assert not np.shares_memory(got.outputs["y"], region.memory)


def test_answers_that_are_not_where_they_should_be_are_refused() -> None:
    layout = plan(model(), Inference([Tensor("x", "FP32", np.zeros((2, 1), np.float32))]))
    assert layout is not None
    region = Region(layout.size_bytes)
    region.unlink()
    for name, shape in (("wide", (3, 16384)), ("small", (1, 1))):
        with pytest.raises(ProtocolError, match="where it was not asked to"):
            read(CALL, region, layout, Reply({}, "1", {name: Placed("FP32", shape)}))
