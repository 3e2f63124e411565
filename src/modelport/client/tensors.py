"""From what a caller has to the arrays that a model takes, checked before a byte leaves.

A few rules, and no guesses beyond them:

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

**Other packages.** Series and data frames of pandas and polars are arrays, those with missing
values are refused. Tensors of torch and of all that speak DLPack are arrays, too; they are copied
from a GPU, and gradients stay behind. An image of Pillow is written as PNG for a BYTES tensor, and
is its pixels for any other: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``, as the tensor's shape says;
grey becomes RGB where three channels are wanted, nothing is scaled or resized. A
:class:`pathlib.Path` for a BYTES tensor is the content of that file. A list of such values is a
batch of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from modelport.client import binding, foreign, refusals
from modelport.client.dtypes import DTYPES, Array
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.values import to_bytes, to_numbers
from modelport.errors import InvalidInputError

__all__ = ["DTYPES", "Array", "Tensor", "Value", "check_outputs", "convert", "prepare"]

# numpy arrays, numbers, text, bytes, lists, and values of packages that are not known here.
Value: TypeAlias = Any


class Tensor(NamedTuple):
    """One named array on its way to a server."""

    name: str
    datatype: str
    array: Array


def prepare(
    metadata: ModelMetadata, inputs: Mapping[str, Value] | Value, *, whole: bool = False
) -> list[Tensor]:
    """Check the inputs of one request against the model and convert them.

    Args:
        metadata: what the server says of the model.
        inputs: values by tensor name; or what :func:`modelport.client.binding.of_one` takes: a
            data frame, or the value of the only input.
        whole: the batch goes out in one request, as a step of a sequence or a stream must, so
            that one over ``max_batch_size`` is refused here.

    Returns:
        The tensors to send, in the order of ``inputs``.

    Raises:
        InvalidInputError: an input is unknown, missing, or of the wrong datatype or shape;
            the batches differ or are empty; or, if ``whole``, over the model's maximum.
    """
    named = inputs if type(inputs) is dict else binding.of_one(metadata, inputs)
    known = metadata.input_by_name
    if not (named.keys() <= known.keys()):
        raise refusals.unknown("input", named, known, metadata)
    if len(named) < len(known):
        _check_missing(metadata, named)
    tensors = []
    for name, value in named.items():
        tensor = known[name]
        tensors.append(Tensor(name, tensor.datatype, convert(value, tensor, metadata)))
    if tensors and metadata.max_batch_size:
        _check_batch(metadata, tensors, whole=whole)
    return tensors


def check_outputs(metadata: ModelMetadata, names: Iterable[str]) -> list[str]:
    """Check that the model has outputs of these names.

    Raises:
        InvalidInputError: it lacks one of them.
    """
    wanted = list(names)
    if wanted and not (set(wanted) <= metadata.output_by_name.keys()):
        raise refusals.unknown("output", wanted, metadata.output_by_name, metadata)
    return wanted


def convert(value: Value, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    """Give the array of one input, of the tensor's dtype and with its batch dimension.

    Raises:
        InvalidInputError: wrong datatype or shape.
    """
    expected = DTYPES.get(tensor.datatype)
    if type(value) is np.ndarray and value.dtype == expected and tensor.datatype != "BYTES":
        array: Array = value
    elif expected is None:
        what = f"has the datatype {tensor.datatype}, which is not known here"
        raise refusals.refusal(tensor, metadata, what)
    else:
        array = _converted(foreign.plain(value, tensor, metadata), expected, tensor, metadata)
    return array if _fits(array.shape, tensor.shape) else _to_shape(array, tensor, metadata)


def _converted(
    value: Value, expected: np.dtype[Any], tensor: TensorMetadata, metadata: ModelMetadata
) -> Array:
    if expected.kind == "O":
        return to_bytes(value, tensor, metadata)
    return to_numbers(value, expected, tensor, metadata)


def _to_shape(array: Array, tensor: TensorMetadata, metadata: ModelMetadata) -> Array:
    shape = tensor.shape
    if metadata.batching and _fits((1, *array.shape), shape):
        return array[np.newaxis]
    if metadata.batching and shape == (-1, 1) and array.ndim == 1:
        return array[:, np.newaxis]
    if array.ndim == 0 and all(size in (-1, 1) for size in shape):
        return array.reshape((1,) * len(shape))
    raise refusals.wrong_shape(tensor, metadata, array.shape)


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if len(shape) != len(expected):
        return False
    for size, want in zip(shape, expected):  # noqa: B905, SIM110 (each call comes by here)
        if want not in (-1, size):
            return False
    return True


def _check_missing(metadata: ModelMetadata, inputs: Mapping[str, Value]) -> None:
    lacking = [t for t in metadata.inputs if t.name not in inputs and not t.optional]
    if lacking or not inputs:
        raise refusals.missing(metadata, lacking)


def _check_batch(metadata: ModelMetadata, tensors: list[Tensor], *, whole: bool) -> None:
    size = tensors[0].array.shape[0]
    for tensor in tensors:
        if tensor.array.shape[0] != size:
            raise _different(metadata, tensors)
    most = metadata.max_batch_size
    if size < 1 or (whole and most and size > most):
        raise InvalidInputError(
            f"a batch of {size} for {metadata.name!r}, which takes 1 to {most}",
            next_step=f"send slices of at most {most} rows" if size else None,
            model=metadata.name,
            batch_size=size,
            max_batch_size=most,
        )


def _different(metadata: ModelMetadata, tensors: list[Tensor]) -> InvalidInputError:
    listed = ", ".join(f"{tensor.name} {tensor.array.shape[0]}" for tensor in tensors)
    return InvalidInputError(
        f"the inputs of {metadata.name!r} differ in batch size: {listed}",
        next_step="give every input the same first dimension",
        model=metadata.name,
    )
