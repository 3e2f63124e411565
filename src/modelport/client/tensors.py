"""From what a caller has to the arrays that a model takes, checked before a byte leaves.

Two rules, and no guesses beyond them:

**Values.** Python numbers and lists of them are literals: they take the
tensor's datatype when it can hold them (1 may become FP32 1.0; 1.5 never
becomes an integer; 300 never becomes UINT8). A numpy array keeps its kind:
float64 may become FP32 and int64 may become UINT8 when every value fits, but
an integer array is refused for a float tensor, because an image that was never
scaled looks just like that.

**Batch.** A tensor of a batching model may be given without its batch
dimension: a batch of one is meant. A scalar (a number, ``str`` or ``bytes``)
stands for a tensor of one element. A vector for a tensor ``[batch, 1]`` is a
batch of its entries, so that a list of strings is a batch of strings. Answers
always keep the batch dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from modelport.client.faults import near
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.errors import InvalidInputError

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = npt.ArrayLike | bytes | bytearray | memoryview | str


class Tensor(NamedTuple):
    """One named array on its way to a server."""

    name: str
    datatype: str
    array: Array


def _bfloat16() -> np.dtype[Any]:
    """Give ml_dtypes' bfloat16: numpy has none.

    A tritonclient that does without ml_dtypes takes and gives float32 instead.
    """
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        return np.dtype(np.float32)
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype


# Names of the V2 protocol: https://github.com/kserve/open-inference-protocol
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": _bfloat16(),
    "BYTES": np.dtype(np.object_),
}

_TEXT_KINDS = "SUTO"  # bytes, str, numpy 2's variable-width str, objects


def prepare(
    metadata: ModelMetadata, inputs: Mapping[str, Value], *, whole: bool = False
) -> list[Tensor]:
    """Check the inputs of one request against the model and convert them.

    Args:
        metadata: what the server says of the model.
        inputs: values by tensor name.
        whole: the batch goes out in one request, as a step of a sequence or a stream must, so
            that one over ``max_batch_size`` is refused here.

    Returns:
        The tensors to send, in the order of ``inputs``.

    Raises:
        InvalidInputError: an input is unknown, missing, or of the wrong datatype or shape;
            the batches differ or are empty; or, if ``whole``, over the model's maximum.
    """
    known = metadata.input_by_name
    if not (inputs.keys() <= known.keys()):
        raise _unknown("input", inputs, known, metadata)
    if len(inputs) < len(known):
        _check_missing(metadata, inputs)
    tensors = [
        Tensor(name, known[name].datatype, convert(value, known[name], metadata))
        for name, value in inputs.items()
    ]
    if metadata.batching:
        _check_batch(metadata, tensors, whole=whole)
    return tensors


def check_outputs(metadata: ModelMetadata, names: Iterable[str]) -> list[str]:
    """Check that the model has outputs of these names.

    Raises:
        InvalidInputError: it lacks one of them.
    """
    wanted = list(names)
    if not (set(wanted) <= metadata.output_by_name.keys()):
        raise _unknown("output", wanted, metadata.output_by_name, metadata)
    return wanted


def convert(value: Value, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    """Give the array of one input, of the tensor's dtype and with its batch dimension.

    Raises:
        InvalidInputError: wrong datatype or shape.
    """
    expected = DTYPES.get(tensor.datatype)
    if expected is None:
        raise _refusal(
            tensor, metadata, f"has the datatype {tensor.datatype}, which is not known here"
        )
    if isinstance(value, np.ndarray) and value.dtype == expected and expected.kind != "O":
        array = value
    elif tensor.datatype == "BYTES":
        array = _to_bytes(value, tensor, metadata)
    else:
        array = _to_numbers(value, expected, tensor, metadata)
    return _to_shape(array, tensor, metadata)


# --- datatypes ---------------------------------------------------------------


def _to_bytes(value: Value, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    # numpy drops NUL bytes at the end of what is not an object array.
    array = np.array(value, dtype=np.object_)
    source = value.dtype if isinstance(value, np.ndarray) else array.dtype
    if source.kind not in _TEXT_KINDS:
        raise _wrong_datatype(tensor, metadata, _name(source), "encode the values as bytes or str")
    encoded = np.empty(array.shape, dtype=np.object_)
    encoded.ravel()[:] = [_to_item(item, tensor, metadata) for item in array.ravel()]
    return encoded


def _to_item(item: object, tensor: TensorMetadata, metadata: ModelMetadata) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair
            got = f"text that UTF-8 cannot write ({error.reason})"
            raise _wrong_datatype(tensor, metadata, got, "give bytes") from error
    hint = "make rows of equal length" if isinstance(item, list) else "give bytes or str"
    raise _wrong_datatype(tensor, metadata, f"an element of type {type(item).__name__}", hint)


def _to_numbers(
    value: Value, expected: np.dtype[Any], tensor: TensorMetadata, metadata: ModelMetadata
) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:  # rows of unequal length; 2**70
        raise _refusal(tensor, metadata, f"cannot be made an array: {error}") from error
    if isinstance(value, (list, tuple)) and array.dtype.kind == "f":
        array = _integers(value, expected, array)
    literal = isinstance(value, (bool, int, float, list, tuple))
    have, want = _family(array.dtype), _family(expected)
    if array.size and have != want and not (literal and have < want):
        raise _wrong_datatype(tensor, metadata, _name(array.dtype), _cast_hint(array, expected))
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(expected)
    if not _holds(array, converted, want):
        raise _wrong_datatype(
            tensor,
            metadata,
            f"{_name(array.dtype)} with values from {array.min()} to {array.max()}",
            f"they do not fit into {tensor.datatype}",
        )
    return converted


def _integers(value: Value, expected: np.dtype[Any], array: Array) -> Array:
    """Keep whole numbers as such: of 0 and 2**63 together, numpy makes FP64."""
    if _family(expected) != _INTEGER:
        return array
    whole, info = np.asarray(value, np.object_), np.iinfo(expected)
    fits = all(type(item) is int and info.min <= item <= info.max for item in whole.flat)
    return whole.astype(expected) if fits else array


_BOOL, _INTEGER, _FLOAT, _OTHER = range(4)


def _family(dtype: np.dtype[Any]) -> int:
    """Order the kinds: a literal may move up from truth value to integer to float."""
    if dtype == DTYPES["BF16"]:
        return _FLOAT
    return {"b": _BOOL, "i": _INTEGER, "u": _INTEGER, "f": _FLOAT}.get(dtype.kind, _OTHER)


def _holds(array: Array, converted: Array, family: int) -> bool:
    """Whether no integer wrapped round and no finite value became infinite."""
    if family == _INTEGER:
        return bool(np.array_equal(array, converted))
    if family == _FLOAT:
        return bool(np.array_equal(np.isfinite(array), np.isfinite(converted)))
    return True


def _name(dtype: np.dtype[Any]) -> str:
    """Name a numpy dtype as the protocol does, where it can."""
    if dtype.kind in "SUT":
        return f"{dtype} (text)"
    for name, known in DTYPES.items():
        if known == dtype and name != "BYTES":
            return f"{name} ({dtype})"
    return str(dtype)


def _cast_hint(array: Array, expected: np.dtype[Any]) -> str:
    if array.dtype.kind in _TEXT_KINDS:
        return "give numbers"
    return f"convert it yourself if that is meant: array.astype({expected.name!r})"


# --- shapes ------------------------------------------------------------------


def _to_shape(array: Array, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    shape = tensor.shape
    if _fits(array.shape, shape):
        return array
    if metadata.batching and _fits((1, *array.shape), shape):
        return array[np.newaxis]
    if metadata.batching and shape == (-1, 1) and array.ndim == 1:
        return array[:, np.newaxis]
    if array.ndim == 0 and all(size in (-1, 1) for size in shape):
        return array.reshape((1,) * len(shape))
    hint = "the first dimension is the batch" if metadata.batching else None
    raise _refusal(
        tensor,
        metadata,
        f"has the wrong shape: expected {list(shape)}, got {list(array.shape)}",
        hint,
        expected=list(shape),
        got=list(array.shape),
    )


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if shape == expected:
        return True
    if len(shape) != len(expected):
        return False
    return all(want in (-1, size) for size, want in zip(shape, expected, strict=True))


def _check_batch(metadata: ModelMetadata, tensors: list[Tensor], *, whole: bool) -> None:
    sizes = {tensor.array.shape[0] for tensor in tensors}
    if len(sizes) > 1:
        listed = ", ".join(f"{tensor.name} {tensor.array.shape[0]}" for tensor in tensors)
        raise InvalidInputError(
            f"the inputs of {metadata.name!r} differ in batch size: {listed}",
            next_step="give every input the same first dimension",
            model=metadata.name,
        )
    size = sizes.pop() if sizes else 1
    if size < 1 or (whole and size > (metadata.max_batch_size or size)):
        raise InvalidInputError(
            f"a batch of {size} for {metadata.name!r}, which takes 1 to {metadata.max_batch_size}",
            next_step=f"send slices of at most {metadata.max_batch_size} rows" if size else None,
            model=metadata.name,
            batch_size=size,
            max_batch_size=metadata.max_batch_size,
        )


# --- refusals ----------------------------------------------------------------


def _refusal(
    tensor: TensorMetadata,
    metadata: ModelMetadata,
    what: str,
    hint: str | None = None,
    *,
    expected: object = None,
    got: object = None,
) -> InvalidInputError:
    return InvalidInputError(
        f"input {tensor.name!r} of {metadata.name!r} {what}",
        next_step=hint,
        model=metadata.name,
        tensor=tensor.name,
        expected=expected,
        got=got,
    )


def _wrong_datatype(
    tensor: TensorMetadata, metadata: ModelMetadata, got: str, hint: str
) -> InvalidInputError:
    what = f"has the wrong datatype: expected {tensor.datatype}, got {got}"
    return _refusal(tensor, metadata, what, hint, expected=tensor.datatype, got=got)


def _unknown(
    kind: str, names: Iterable[str], known: Mapping[str, TensorMetadata], metadata: ModelMetadata
) -> InvalidInputError:
    name = next(name for name in names if name not in known)
    return InvalidInputError(
        f"{metadata.name!r} has no {kind} {name!r}; it has {', '.join(map(repr, known))}",
        next_step=near(name, known),
        model=metadata.name,
        tensor=name,
    )


def _check_missing(metadata: ModelMetadata, inputs: Mapping[str, Value]) -> None:
    missing = [t for t in metadata.inputs if t.name not in inputs and not t.optional]
    if inputs and not missing:
        return
    listed = ", ".join(
        f"{tensor.name!r} ({tensor.datatype} {list(tensor.shape)})"
        for tensor in missing or metadata.inputs
    )
    lacks = "lacks" if missing else "needs at least one of"
    raise InvalidInputError(
        f"the request for {metadata.name!r} {lacks} {listed}",
        model=metadata.name,
        tensor=missing[0].name if missing else None,
    )
