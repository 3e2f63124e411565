from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import DTYPES, check_outputs, prepare
from modelport.errors import InvalidInputError

NUMERIC = [name for name in DTYPES if name != "BYTES"]


def model(
    *inputs: tuple[str, str, tuple[int, ...]],
    optional: tuple[str, ...] = (),
    max_batch_size: int | None = 0,
) -> ModelMetadata:
    tensors = tuple(TensorMetadata(n, d, s, optional=n in optional) for n, d, s in inputs)
    outputs = (TensorMetadata("label", "BYTES", (-1, 1)), TensorMetadata("score", "FP32", (-1, 1)))
    return ModelMetadata("m", ("1",), "", tensors, outputs, max_batch_size)


def one(value: object, datatype: str, shape: tuple[int, ...] = (-1,), batch: int = 0) -> np.ndarray:
    (tensor,) = prepare(model(("x", datatype, shape), max_batch_size=batch), {"x": value})  # type: ignore[dict-item]
    assert (tensor.name, tensor.datatype) == ("x", datatype)
    assert tensor.array.dtype == DTYPES[datatype]
    return tensor.array


def refusal(value: object, datatype: str, shape: tuple[int, ...] = (-1,), batch: int = 0) -> str:
    with pytest.raises(InvalidInputError) as caught:
        one(value, datatype, shape, batch)
    assert "'x'" in caught.value.what
    assert caught.value.objects["tensor"] == "x"
    return str(caught.value)


# --- values ------------------------------------------------------------------


@pytest.mark.parametrize("datatype", NUMERIC)
@given(data=st.data())
def test_an_array_of_the_right_dtype_goes_through_untouched(
    datatype: str, data: st.DataObject
) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    raw = data.draw(hnp.arrays(np.uint8, (*shape, DTYPES[datatype].itemsize)))
    array = (raw % 2 if datatype == "BOOL" else raw).view(DTYPES[datatype])[..., 0]
    sent = one(array, datatype, (-1,) * array.ndim)
    assert sent is array


@pytest.mark.parametrize("datatype", [n for n in NUMERIC if "INT" in n])
@given(values=st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=4))
@example(values=[0, 2**63])
def test_integers_arrive_exactly_or_are_refused(datatype: str, values: list[int]) -> None:
    info = np.iinfo(DTYPES[datatype])
    if all(info.min <= value <= info.max for value in values):
        assert one(values, datatype).tolist() == values
    else:
        assert refusal(values, datatype)


@given(values=hnp.arrays(np.int64, 3), datatype=st.sampled_from([n for n in NUMERIC if "INT" in n]))
def test_an_integer_array_keeps_its_values_or_is_refused(values: np.ndarray, datatype: str) -> None:
    info = np.iinfo(DTYPES[datatype])
    if info.min <= int(values.min()) and int(values.max()) <= info.max:
        assert one(values, datatype).tolist() == values.tolist()
    else:
        assert "do not fit into" in refusal(values, datatype)


@given(values=hnp.arrays(np.float64, 3, elements=st.floats(width=32)))
def test_float64_becomes_fp32_when_it_fits(values: np.ndarray) -> None:
    np.testing.assert_array_equal(one(values, "FP32"), values.astype(np.float32))


def test_python_numbers_take_the_tensors_datatype() -> None:
    assert one([1, 2], "FP32").tolist() == [1.0, 2.0]
    assert one([True, False], "INT8").tolist() == [1, 0]
    assert one([0.5], "BF16").tolist() == [ml_dtypes.bfloat16(0.5)]
    assert one([], "FP32").shape == (0,)
    assert np.isnan(one([float("nan")], "FP16")).all()


def test_big_endian_arrays_are_turned() -> None:
    assert one(np.array([1, 2], ">f4"), "FP32").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "datatype", "expected"),
    [
        (np.array([1, 2]), "FP32", "expected FP32, got INT64 (int64)"),
        (np.array([1, 2], np.uint8), "FP32", "array.astype('float32')"),
        (np.array([1.0]), "INT32", "expected INT32, got FP64 (float64)"),
        (np.array([True]), "INT8", "expected INT8, got BOOL (bool)"),
        (np.array([1]), "BOOL", "expected BOOL, got INT64"),
        ([1.5], "INT32", "expected INT32, got FP64"),
        ([1], "BOOL", "expected BOOL, got INT64"),
        (["1"], "FP32", "(text)"),
        ("1", "FP32", "(text)"),
        ([300], "UINT8", "values from 300 to 300"),
        ([-1], "UINT8", "do not fit into UINT8"),
        ([1e39], "FP32", "do not fit into FP32"),
        (np.array([70000.0]), "FP16", "do not fit into FP16"),
        ([[1], [2, 3]], "FP32", "cannot be made an array"),
        ([None], "FP32", "got object"),
        ([1], "BYTES", "got an element of type int"),
        ([None], "BYTES", "got an element of type NoneType"),
        (np.array([1]), "BYTES", "got INT64"),
        ([["a"], ["b", "c"]], "BYTES", "equal length"),
        (["\ud800"], "BYTES", "text that UTF-8 cannot write"),
        ([1], "FP9", "not known here"),
    ],
)
def test_refuses_other_kinds(value: object, datatype: str, expected: str) -> None:
    assert expected in refusal(value, datatype)


@given(values=st.lists(st.binary(max_size=5) | st.text(max_size=5), min_size=1, max_size=4))
def test_bytes_and_text_arrive_byte_for_byte(values: list[bytes | str]) -> None:
    wanted = [v if isinstance(v, bytes) else v.encode() for v in values]
    assert one(values, "BYTES").tolist() == wanted
    assert one(np.array(values, dtype=object), "BYTES").tolist() == wanted


def test_numpys_own_text_is_taken() -> None:
    assert one(np.array(["ä", "b"]), "BYTES").tolist() == ["ä".encode(), b"b"]
    assert one(np.array([b"a", b"b"]), "BYTES").tolist() == [b"a", b"b"]


@pytest.mark.parametrize("value", [b"a\0", bytearray(b"a\0"), memoryview(b"a\0"), "a\0"])
def test_a_single_string_of_any_kind_is_one_element(value: object) -> None:
    assert one(value, "BYTES").tolist() == [b"a\0"]


# --- shapes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (np.zeros((3, 4), np.float32), (-1, 4), (3, 4)),
        (np.zeros(4, np.float32), (-1, 4), (1, 4)),  # one item
        ([1, 2, 3], (-1, 1), (3, 1)),  # a batch of numbers
        ([7], (-1, 1), (1, 1)),
        (7, (-1, 1), (1, 1)),
        (7, (-1, -1), (1, 1)),
        (np.zeros((5, 6), np.float32), (-1, -1, -1), (1, 5, 6)),
        (np.zeros((2, 5, 6), np.float32), (-1, -1, -1), (2, 5, 6)),
        (7, (-1,), (1,)),  # one item of a model without inner dimensions
    ],
)
def test_a_batching_model_gets_its_batch_dimension(
    value: object, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert one(value, "FP32", shape, batch=8).shape == expected


def test_strings_for_a_batching_model() -> None:
    assert one(b"png", "BYTES", (-1, 1), batch=8).tolist() == [[b"png"]]
    assert one("text", "BYTES", (-1, 1), batch=8).tolist() == [[b"text"]]
    assert one(["a", "b"], "BYTES", (-1, 1), batch=8).tolist() == [[b"a"], [b"b"]]
    assert one([["a"], ["b"]], "BYTES", (-1, 1), batch=8).tolist() == [[b"a"], [b"b"]]


@pytest.mark.parametrize(
    ("value", "shape", "batch"),
    [
        (np.zeros((2, 5), np.float32), (-1, 4), 8),
        (np.zeros(5, np.float32), (-1, 4), 8),
        (np.zeros((1, 2, 4), np.float32), (-1, 4), 8),
        (np.zeros(4, np.float32), (-1, 4), 0),  # -1 is a size here, not the batch
        (np.zeros(3, np.float32), (-1, 1), 0),
        (7, (2,), 0),
    ],
)
def test_wrong_shapes_are_refused(value: object, shape: tuple[int, ...], batch: int) -> None:
    said = refusal(value, "FP32", shape, batch)
    assert f"expected {list(shape)}, got {list(np.shape(value))}" in said  # type: ignore[arg-type]


def test_batches_must_agree_and_fit() -> None:
    pair = model(("a", "FP32", (-1, 2)), ("b", "FP32", (-1, 2)), max_batch_size=4)
    with pytest.raises(InvalidInputError, match="differ in batch size: a 2, b 3"):
        prepare(pair, {"a": np.zeros((2, 2)), "b": np.zeros((3, 2))})
    for rows in (0, 5):
        with pytest.raises(InvalidInputError, match="takes 1 to 4") as caught:
            prepare(pair, {"a": np.zeros((rows, 2)), "b": np.zeros((rows, 2))}, whole=True)
        assert caught.value.objects["batch_size"] == rows
    assert prepare(pair, {"a": np.zeros((5, 2)), "b": np.zeros((5, 2))})[1].array.shape == (5, 2)
    with pytest.raises(InvalidInputError, match="a batch of 0"):
        prepare(pair, {"a": np.zeros((0, 2)), "b": np.zeros((0, 2))})


# --- names -------------------------------------------------------------------


def test_unknown_names_get_near_ones() -> None:
    known = model(("image", "BYTES", (1,)))
    for name in ("imgae", "Image"):
        with pytest.raises(InvalidInputError, match="did you mean 'image'"):
            prepare(known, {name: b"x"})
    with pytest.raises(InvalidInputError, match=r"has no output 'lable'.*\n.*'label'"):
        check_outputs(known, ["lable"])
    assert check_outputs(known, ["score"]) == ["score"]


def test_missing_inputs_are_named_with_what_they_want() -> None:
    both = model(("x", "FP32", (-1, 4)), ("y", "INT32", (1,)), optional=("y",))
    with pytest.raises(InvalidInputError, match=r"lacks 'x' \(FP32 \[-1, 4\]\)") as caught:
        prepare(both, {"y": [1]})
    assert caught.value.objects["tensor"] == "x"
    assert [t.name for t in prepare(both, {"x": np.zeros((1, 4))})] == ["x"]


def test_a_request_without_any_input_is_refused() -> None:
    optional = model(("x", "FP32", (1,)), ("y", "FP32", (1,)), optional=("x", "y"))
    with pytest.raises(InvalidInputError, match=r"at least one of 'x' .* 'y'"):
        prepare(optional, {})


def test_without_a_configuration_nothing_is_taken_for_the_batch() -> None:
    foreign = model(("x", "FP32", (-1, 2)), max_batch_size=None)
    with pytest.raises(InvalidInputError, match="wrong shape"):
        prepare(foreign, {"x": np.zeros(2)})
    assert prepare(foreign, {"x": np.zeros((9, 2))})[0].array.shape == (9, 2)
