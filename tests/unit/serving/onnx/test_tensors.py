from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from modelport.errors import InvalidInputError, ToolchainError
from modelport.serving.onnx import bfloat16
from modelport.serving.onnx.environment import require_numpy_1
from modelport.serving.onnx.tensors import decode_strings, encode_strings, triton_type

TEXTS = np.array([[b"", "naïve".encode()], [b"a\0b", "日本".encode()]], object)


def test_strings_there_and_back():
    decoded = decode_strings("x", TEXTS)
    assert decoded.tolist() == [["", "naïve"], ["a\0b", "日本"]]
    assert encode_strings(decoded).tolist() == TEXTS.tolist()


@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_strings_keep_their_shape(shape):
    array = np.full(shape, b"x", object)
    assert decode_strings("x", array).shape == shape
    assert encode_strings(decode_strings("x", array)).shape == shape


def test_undecodable_element_is_named():
    with pytest.raises(InvalidInputError, match="input 'x': element 2 is not UTF-8") as caught:
        decode_strings("x", np.array([[b"a", b"b"], [b"\xff", b"c"]], object))
    assert caught.value.objects["tensor"] == "x"


def test_types_without_a_name_in_triton():
    assert triton_type("tensor(float)") == "TYPE_FP32"
    assert triton_type("tensor(complex64)") == "TYPE_INVALID"


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), ()])
def test_bfloat16_bits_survive_ort_value(shape):
    numbers = np.linspace(-3, 3, int(np.prod(shape))).astype(ml_dtypes.bfloat16).reshape(shape)
    bits = numbers.view(np.uint16)
    value = bfloat16.ort_value(bits)
    assert value.data_type() == "tensor(bfloat16)"
    back = bfloat16.bits(value)
    assert back.shape == shape
    assert back.tobytes() == bits.tobytes()
    assert bfloat16.from_dlpack(value).tobytes() == bits.tobytes()


def test_bfloat16_copies_outlive_their_source():
    bits = np.arange(4096, dtype=np.uint16)
    value = bfloat16.ort_value(bits)
    copy = bfloat16.bits(value)
    bfloat16._window(value, (4096,))[...] = 0
    assert copy.tolist() == bits.tolist()


@pytest.mark.parametrize("version", ["2.0.0", "2.4.6", "10.1"])
def test_numpy_2_is_refused(version):
    with pytest.raises(ToolchainError, match=f"has numpy {version}, expected numpy < 2"):
        require_numpy_1(version)


def test_numpy_1_is_accepted():
    require_numpy_1("1.26.4")
