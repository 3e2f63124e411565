"""The two 16-bit floating point types: how numbers are rounded to them, and what they lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LowType:
    """A floating point type of 16 bits.

    Args:
        name: as people say it.
        onnx_name: as ONNX's operators name it.
        onnx_type: the number of the type in an ONNX file.
        largest: the largest finite number.
        epsilon: relative error of rounding, at most, where the number is neither too large
            nor too small.
        encode: float32 to the 16 bits as ``uint16``, to the nearest, ties to even.
        decode: the 16 bits to float32.
    """

    name: str
    onnx_name: str
    onnx_type: int
    largest: float
    epsilon: float
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]

    @property
    def barrier(self) -> float:
        """What stands for minus infinity in a mask; half the range, so that sums stay finite."""
        return -self.largest / 2

    def round(self, values: np.ndarray) -> np.ndarray:
        """Give float32 numbers as they are after a trip through this type."""
        return self.decode(self.encode(values))


def _fp16_bits(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


def _fp16_values(bits: np.ndarray) -> np.ndarray:
    return bits.view(np.float16).astype(np.float32)


def _bf16_bits(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> 16) & np.uint32(1)
    # Adding just under half a unit carries into the upper half where it should; NaN would
    # become infinite by it.
    rounded = ((bits + (np.uint32(0x7FFF) + odd)) >> 16).astype(np.uint16)
    return np.asarray(np.where(np.isnan(values), np.uint16(0x7FC0), rounded))


def _bf16_values(bits: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = bits.astype(np.uint32) << 16
    return shifted.view(np.float32)


# TensorProto.FLOAT16 and TensorProto.BFLOAT16: written out, so that this loads without onnx.
FP16 = LowType("FP16", "tensor(float16)", 10, 65504.0, 2.0**-11, _fp16_bits, _fp16_values)
BF16 = LowType("BF16", "tensor(bfloat16)", 16, 3.3895314e38, 2.0**-8, _bf16_bits, _bf16_values)
