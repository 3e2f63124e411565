"""BF16 tensors, which numpy has no type for.

Inside the backend a BF16 tensor is a ``uint16`` array of its bit patterns: that
can be concatenated, sliced and reshaped like any other. Triton's python stub
passes BF16 by DLPack only, and ONNX Runtime by `OrtValue` only; `OrtValue`
speaks DLPack, so it stands at both doors. (``ml_dtypes.bfloat16`` arrays are
views of the same bits, for those who want to read the numbers.)
"""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

import numpy as np

from modelport.serving.onnx.environment import import_onnxruntime
from modelport.serving.onnx.tensors import Array

_NOTHING = np.zeros(0, np.float32)
_ONNX_BFLOAT16 = 16  # TensorProto.DataType.BFLOAT16


def bits(value: Any) -> Array:
    """Copy the BF16 `OrtValue` ``value`` into a new ``uint16`` array of the same shape."""
    shape = tuple(value.shape())
    return _window(value, shape).copy() if prod(shape) else np.empty(shape, np.uint16)


def ort_value(array: Array) -> Any:
    """Copy a ``uint16`` array of bit patterns into a new BF16 `OrtValue` of the same shape."""
    onnxruntime = import_onnxruntime()
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), _ONNX_BFLOAT16)
    if array.size:
        _window(value, array.shape)[...] = array
    return value


def from_dlpack(tensor: Any) -> Array:
    """Copy a BF16 tensor that offers ``__dlpack__`` into a new ``uint16`` array."""
    value_type = import_onnxruntime().OrtValue
    if hasattr(value_type, "from_dlpack"):
        return bits(value_type.from_dlpack(tensor))
    # Before 1.24, which Python 3.10 is bound to, only the inner type speaks DLPack.
    inner = type(value_type.ortvalue_from_numpy(_NOTHING)._get_c_value())
    return bits(inner.from_dlpack(tensor.__dlpack__(), False))


def to_dlpack(array: Array) -> Any:
    """Copy a ``uint16`` array of bit patterns into something that offers it as BF16 by DLPack."""
    value = ort_value(array)
    return value if hasattr(value, "__dlpack__") else value._get_c_value()


def _window(value: Any, shape: tuple[int, ...]) -> Array:
    """Return the memory of ``value`` as a ``uint16`` array; valid while ``value`` lives."""
    memory = (ctypes.c_uint16 * prod(shape)).from_address(value.data_ptr())
    return np.ctypeslib.as_array(memory).reshape(shape)
