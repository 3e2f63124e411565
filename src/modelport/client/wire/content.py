"""Tensors as the bytes that both protocols carry: little-endian, row by row.

The elements of a BYTES tensor are each preceded by their length, 4 bytes:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from modelport.client.tensors import DTYPES, Array, Tensor

Buffer: TypeAlias = bytes | bytearray | memoryview

# Below this a copy costs less than a view of the array.
_VIEW_BYTES = 16384

_BFLOAT16_IS_NATIVE = DTYPES["BF16"].itemsize == 2
_length = struct.Struct("<I")
_read_length = _length.unpack_from
_write_length = _length.pack


def to_buffer(tensor: Tensor) -> Buffer:
    """Give the content of a tensor; of a large one that is contiguous without copying it."""
    array = tensor.array
    if tensor.datatype == "BYTES":
        return join_items(array.ravel().tolist())
    if tensor.datatype == "BF16" and not _BFLOAT16_IS_NATIVE:
        return _shorten(array)
    if array.nbytes <= _VIEW_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def to_array(datatype: str, shape: Sequence[int], content: Buffer) -> Array:
    """Give the array that the content stands for, read-only; a view of it where that can be.

    Args:
        datatype: V2 name.
        shape: dimensions.
        content: bytes; where they are kept in memory of their own, the array keeps them alive.

    Raises:
        ValueError: the content does not fit the datatype and shape.
        KeyError: no such datatype.
    """
    if datatype == "BYTES":
        return objects(split_items(content), shape)
    if datatype == "BF16" and not _BFLOAT16_IS_NATIVE:
        return _lengthen(content).reshape(shape)
    dtype = DTYPES[datatype]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for {datatype} {list(shape)}")
    array: Array = np.ndarray(shape, dtype, content)
    flags = array.flags
    if not flags.aligned:  # numpy reads such arrays slowly, and others not at all
        array = array.copy()
        flags = array.flags
    if flags.writeable:
        flags.writeable = False
    return array


def objects(items: Sequence[bytes], shape: Sequence[int]) -> Array:
    """Give a read-only object array of these elements.

    Raises:
        ValueError: their number does not fit the shape.
    """
    if len(items) != math.prod(shape):
        raise ValueError(f"{len(items)} elements for the shape {list(shape)}")
    array: Array = np.empty(len(items), np.object_)
    array[:] = items
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def join_items(items: Sequence[bytes]) -> bytes:
    """Write each element with its length in front."""
    if len(items) == 1:
        return _write_length(len(items[0])) + items[0]
    return b"".join([part for item in items for part in (_write_length(len(item)), item)])


def split_items(content: Buffer) -> list[bytes]:
    """Read elements that each have their length in front.

    Raises:
        ValueError: the content ends within one.
    """
    content = bytes(content)
    items, position, end = [], 0, len(content)
    try:
        while position < end:
            (size,) = _read_length(content, position)
            position += 4
            items.append(content[position : position + size])
            position += size
    except struct.error as error:
        raise ValueError("BYTES content ends within a length") from error
    if position != end:
        raise ValueError("BYTES content ends within an element")
    return items


def _shorten(array: Array) -> bytes:
    """Keep the upper half of each float32, as tritonclient does without ml_dtypes."""
    halves = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint16)[1::2]
    return halves.tobytes()


def _lengthen(content: Buffer) -> Array:
    array = (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32)
    array.flags.writeable = False
    return array
