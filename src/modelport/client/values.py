"""Values that numpy understands become arrays of a tensor's datatype, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.client import refusals
from modelport.client.dtypes import DTYPES, Array, name_of
from modelport.client.metadata import ModelMetadata, TensorMetadata

_TEXT_KINDS = "SUTO"  # bytes, str, numpy 2's variable-width str, objects
_LITERALS = (bool, int, float, list, tuple, range)


# --- BYTES -------------------------------------------------------------------


def to_bytes(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    """Give an object array of ``bytes`` of text, bytes, and lists or arrays of them.

    Raises:
        InvalidInputError: there is anything else in it.
    """
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        single = np.empty((), np.object_)
        single[()] = _to_item(value, tensor, metadata)
        return single
    try:  # numpy drops NUL bytes at the end of what is not an object array
        array = np.asarray(value, np.object_)
    except ValueError as error:
        raise refusals.refusal(tensor, metadata, f"cannot be made an array: {error}") from error
    source = value.dtype if isinstance(value, np.ndarray) else array.dtype
    if source.kind not in _TEXT_KINDS:
        got, hint = name_of(source), "encode the values as bytes or str"
        raise refusals.wrong_datatype(tensor, metadata, got, hint)
    items = array.ravel().tolist()
    if all(type(item) is bytes for item in items):
        return array
    encoded = np.empty(len(items), np.object_)
    encoded[:] = [_to_item(item, tensor, metadata) for item in items]
    return encoded.reshape(array.shape)


def _to_item(item: object, tensor: TensorMetadata, metadata: ModelMetadata) -> bytes:
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)  # numpy's own kind of bytes is written wrongly by tritonclient
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair
            got = f"text that UTF-8 cannot write ({error.reason})"
            raise refusals.wrong_datatype(tensor, metadata, got, "give bytes") from error
    hint = "make rows of equal length" if isinstance(item, list) else "give bytes or str"
    got = f"an element of type {type(item).__name__}"
    raise refusals.wrong_datatype(tensor, metadata, got, hint)


# --- numbers -----------------------------------------------------------------


def to_numbers(
    value: Any, expected: np.dtype[Any], tensor: TensorMetadata, metadata: ModelMetadata
) -> Array:
    """Give an array of ``expected``, when it can hold what ``value`` has.

    Raises:
        InvalidInputError: the values are of another kind, or do not fit.
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:  # rows of unequal length; 2**70
        raise refusals.refusal(tensor, metadata, f"cannot be made an array: {error}") from error
    if array.dtype == expected:
        return array
    if isinstance(value, (list, tuple)) and array.dtype.kind == "f":
        array = _integers(value, expected, array)
    have, want = _family(array.dtype), _family(expected)
    if array.size and have != want and not (have < want and isinstance(value, _LITERALS)):
        got, hint = _described(array), _hint(array, value, expected)
        raise refusals.wrong_datatype(tensor, metadata, got, hint)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(expected)
    if not _holds(array, converted, want):
        got = f"{name_of(array.dtype)} with values from {array.min()} to {array.max()}"
        hint = f"they do not fit into {tensor.datatype}"
        raise refusals.wrong_datatype(tensor, metadata, got, hint)
    return converted


def _integers(value: Any, expected: np.dtype[Any], array: Array) -> Array:
    """Keep whole numbers as such: of 0 and 2**63 together, numpy makes FP64."""
    if _family(expected) != _INTEGER:
        return array
    whole, info = np.asarray(value, np.object_), np.iinfo(expected)
    fits = all(type(item) is int and info.min <= item <= info.max for item in whole.flat)
    return whole.astype(expected) if fits else array


_BOOL, _INTEGER, _FLOAT, _OTHER = range(4)
_FAMILIES = {"b": _BOOL, "i": _INTEGER, "u": _INTEGER, "f": _FLOAT}


def _family(dtype: np.dtype[Any]) -> int:
    """Order the kinds: a literal may move up from truth value to integer to float."""
    family = _FAMILIES.get(dtype.kind, _OTHER)
    return _FLOAT if family == _OTHER and dtype == DTYPES["BF16"] else family


def _holds(array: Array, converted: Array, family: int) -> bool:
    """Whether no integer wrapped round and no finite value became infinite."""
    if family == _INTEGER:
        return bool((array == converted).all())
    if family == _FLOAT and converted.dtype.itemsize < array.dtype.itemsize:
        finite = np.isfinite(converted)
        return bool(finite.all()) or bool((np.isfinite(array) == finite).all())
    return True


def _described(array: Array) -> str:
    """Say what is in an array; of objects, what the first strange one is."""
    if array.dtype.kind != "O":
        return name_of(array.dtype)
    numbers = (bool, int, float, np.generic)
    strange = next((item for item in array.flat if not isinstance(item, numbers)), None)
    return f"object, with an element of type {type(strange).__name__}"


def _hint(array: Array, value: Any, expected: np.dtype[Any]) -> str:
    if array.dtype.kind in "mM":
        return "give the number of seconds, days, … that the model was trained on"
    if array.dtype.kind == "O" and not array.ndim and not isinstance(value, np.ndarray):
        return "give an array, a list, or a number"
    if array.dtype.kind in _TEXT_KINDS:
        return "give numbers"
    return f"convert it yourself if that is meant: array.astype({expected.name!r})"
