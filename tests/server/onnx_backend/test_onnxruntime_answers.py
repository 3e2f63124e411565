"""The content of replies, against onnxruntime in this process or plain arithmetic."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from .conftest import ONNX_TYPES, Repository


def tensor(name: str, array: np.ndarray, datatype: str | None = None) -> triton.InferInput:
    sent = triton.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
    sent.set_data_from_numpy(array)
    return sent


def infer(client, model, outputs=None, **inputs):
    wanted = outputs and [triton.InferRequestedOutput(name) for name in outputs]
    result = client.infer(
        model, [tensor(name, array) for name, array in inputs.items()], outputs=wanted
    )
    return {o.name: result.as_numpy(o.name) for o in result.get_response().outputs}


def extremes(name: str) -> np.ndarray:
    """Values that a wrong dtype, byte order or width would change."""
    if name == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if name == "STRING":
        return np.array([[b"", "naïve 日本".encode(), b"a\0b"], [b"x" * 300, b" ", b"7"]], object)
    dtype = np.dtype({"FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(name, name.lower()))
    if dtype.kind == "f":
        top = np.finfo(dtype).max
        return np.array([[-top, 0.1, -0.0], [np.inf, np.nan, np.finfo(dtype).tiny]], dtype)
    limits = np.iinfo(dtype)
    return np.array([[limits.min, limits.max, 1], [0, limits.max - 1, 7]], dtype)


def test_every_type_comes_back_bit_for_bit(client):
    sent = {f"in_{name.lower()}": extremes(name) for name in ONNX_TYPES}
    got = infer(client, "identity_types", **sent)
    assert len(got) == len(ONNX_TYPES)
    for name, array in sent.items():
        answer = got[name.replace("in_", "out_")]
        assert answer.dtype == array.dtype
        assert answer.shape == array.shape
        assert answer.tolist() == array.tolist() or answer.tobytes() == array.tobytes()


def test_zero_size_tensors_keep_their_shape(client):
    sent = {f"in_{name.lower()}": extremes(name)[:, :0] for name in ONNX_TYPES}
    got = infer(client, "identity_types", **sent)
    assert {array.shape for array in got.values()} == {(2, 0)}


def bf16_request(values: list[list[float]], numbers: list[int]):
    bits = np.array(values, ml_dtypes.bfloat16)
    x = triton.InferInput("x", list(bits.shape), "BF16")
    x._raw_content = bits.tobytes()  # the client's own encoder takes float32 only
    return bits, [x, tensor("n", np.array([[number] for number in numbers]))]


def test_bf16_beside_other_types(client):
    bits, inputs = bf16_request([[1.5, -3.25], [3.0e38, 1e-38]], [5, -6])
    result = client.infer("identity_bf16", inputs)
    outputs = {o.name: i for i, o in enumerate(result.get_response().outputs)}
    raw = result.get_response().raw_output_contents[outputs["y"]]
    assert raw == bits.tobytes()
    assert result.as_numpy("z").tolist() == bits.astype(np.float32).tolist()
    assert result.as_numpy("m").tolist() == [[-5], [6]]


def test_bf16_input_without_bf16_output(client):
    bits, inputs = bf16_request([[1.5, -3.25]], [5])
    wanted = [triton.InferRequestedOutput(name) for name in ("z", "m")]
    result = client.infer("identity_bf16", inputs, outputs=wanted)
    assert result.as_numpy("z").tolist() == bits.astype(np.float32).tolist()
    assert result.as_numpy("m").tolist() == [[-5]]


def test_optional_input_given_and_left_out(client):
    x = np.array([1, 2, 3], np.float32)
    assert infer(client, "add_optional", x=x)["y"].tolist() == [11, 22, 33]
    offset = np.array([100, 100, 100], np.float32)
    assert infer(client, "add_optional", x=x, offset=offset)["y"].tolist() == [101, 102, 103]


def test_scalar_of_the_graph_is_one_element_for_the_client(client):
    y = infer(client, "scalar", x=np.array([21], np.float32))["y"]
    assert (y.shape, y.tolist()) == ((1,), [42])


def test_reshape_of_inputs_and_output(client):
    matrix = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    factor = np.array([[1], [10]], np.float32)
    y = infer(client, "reshaped", matrix=matrix, factor=factor)["y"]
    assert y.tolist() == [[1, 3, 2, 4], [50, 70, 60, 80]]


@pytest.mark.parametrize(
    ("model", "factor"), [("two_instances", 3), ("tuned", 5), ("renamed", 13), ("completed", 7)]
)
def test_batches_equal_onnxruntime_in_this_process(client, repository: Repository, model, factor):
    x = np.random.default_rng(factor).normal(size=(4, 3)).astype(np.float32)
    (path,) = (repository.path / model / "1").glob("*.onnx")
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_array_equal(infer(client, model, x=x)["y"], expected)
    np.testing.assert_allclose(expected, factor * x, rtol=1e-6)


def test_only_requested_outputs_are_returned(client):
    x = np.array([[1, 2, 3]], np.float32)
    assert set(infer(client, "several_outputs", x=x)) == {"square", "negative"}
    got = infer(client, "several_outputs", outputs=["negative"], x=x)
    assert {name: array.tolist() for name, array in got.items()} == {"negative": [[-1, -2, -3]]}
    swapped = infer(client, "several_outputs", outputs=["negative", "square"], x=x)
    assert swapped["square"].tolist() == [[1, 4, 9]]
    assert swapped["negative"].tolist() == [[-1, -2, -3]]


def test_output_that_the_configuration_hides_cannot_be_requested(client):
    with pytest.raises(InferenceServerException, match="unexpected inference output 'unused'"):
        infer(client, "several_outputs", outputs=["unused"], x=np.zeros((1, 3), np.float32))


def test_sequence_controls_reach_the_graph(client):
    def step(value, **flags):
        x = tensor("x", np.array([[value]], np.float32))
        return client.infer("sequence", [x], sequence_id=7, **flags).as_numpy("y").tolist()

    assert step(1, sequence_start=True) == [[101]]
    assert step(2) == [[2]]
    assert step(3, sequence_end=True) == [[3]]


def test_graph_that_loses_rows_is_an_error_not_an_answer(client):
    x = np.array([[1, 2, 3], [-1, 2, 3]], np.float32)
    assert infer(client, "drops_rows", x=x[:1])["y"].tolist() == [[1, 2, 3]]
    with pytest.raises(
        InferenceServerException, match=r"'y' has shape \[1, 3\], expected 2 rows"
    ) as e:
        infer(client, "drops_rows", x=x)
    assert e.value.status() == "StatusCode.INTERNAL"


def test_invalid_utf8_is_the_callers_error(client):
    with pytest.raises(InferenceServerException, match="element 1 is not UTF-8") as caught:
        infer(client, "shout", x=np.array([[b"fine"], [b"\xff\xfe"]], object))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_index_out_of_range_is_the_callers_error(client):
    with pytest.raises(InferenceServerException, match=r"lookup.*indices element out of") as e:
        infer(client, "lookup", index=np.array([[4]], np.int64))
    assert e.value.status() == "StatusCode.INVALID_ARGUMENT"
