"""Datatypes as Triton, ONNX Runtime and numpy name them, and strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.errors import InvalidInputError

Array = NDArray[Any]

INVALID = "TYPE_INVALID"
STRING = "TYPE_STRING"
BF16 = "TYPE_BF16"

_ONNX_TO_TRITON = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(bfloat16)": BF16,
    "tensor(string)": STRING,
}
SUPPORTED = frozenset(_ONNX_TO_TRITON.values())


def triton_type(onnx_type: str) -> str:
    """Return Triton's name (``TYPE_FP32``) of ONNX Runtime's type (``tensor(float)``).

    Types that Triton has no name for (complex, float8, int4) give `INVALID`.
    """
    return _ONNX_TO_TRITON.get(onnx_type, INVALID)


def decode_strings(name: str, array: Array) -> Array:
    """Return the bytes of ``array`` as an object array of `str` in the same shape.

    Raises:
        InvalidInputError: an element is not UTF-8, which is what ONNX strings are.
    """
    elements: list[bytes] = array.ravel().tolist()
    try:
        return _objects([element.decode("utf-8") for element in elements], array.shape)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"input '{name}': element {elements.index(error.object)} is not UTF-8 ({error})",
            cause="ONNX strings are UTF-8 text; the client sent other bytes",
            next_step="encode the text as UTF-8, or send raw bytes as UINT8",
            tensor=name,
        ) from error


def encode_strings(array: Array) -> Array:
    """Return the strings of ``array`` as an object array of UTF-8 `bytes` in the same shape."""
    return _objects([element.encode("utf-8") for element in array.ravel().tolist()], array.shape)


def _objects(elements: Sequence[object], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array.reshape(shape)
