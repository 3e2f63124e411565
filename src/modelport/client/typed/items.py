"""From single items to the tensors of a request, and from an answer to its rows.

A wrapper is asked with items, which have no batch dimension; that is added here, so that no
shape is ever guessed. Items that do not fit into one batch, because a picture is larger or an
option is missing, go in several requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelport.client.tensors import Array, Value
from modelport.client.typed.model import Model, Tensor
from modelport.errors import InvalidInputError, ProtocolError

# Values of one item by tensor name; None for what is left out.
Item = Mapping[str, Any]


class Group(NamedTuple):
    """Items that go in one request: their places among all, and the tensors."""

    places: list[int]
    inputs: dict[str, Value]


class Row:
    """The answer to one item.

    Args:
        model: that gave it.
        answer: arrays by output name.
        index: of the item in the batch; ``None`` for a model that does not batch.
    """

    __slots__ = ("_answer", "_index", "_model")

    def __init__(self, model: Model, answer: Mapping[str, Array], index: int | None) -> None:
        self._model, self._answer, self._index = model, answer, index

    def array(self, name: str) -> Array:
        """Give an output as it is."""
        try:
            array = self._answer[name]
        except KeyError:
            raise self._wrong(name, "is not in the answer") from None
        return array if self._index is None else array[self._index]

    def number(self, name: str) -> Any:
        """Give the only number of an output, as Python has it: ``int``, ``float`` or ``bool``."""
        array = self.array(name)
        if array.size != 1:
            raise self._wrong(name, f"has {array.size} values instead of one")
        return array.item()

    def data(self, name: str) -> bytes:
        """Give the only element of a BYTES output."""
        content: bytes = self.number(name)
        return content

    def data_list(self, name: str) -> list[bytes]:
        """Give the elements of a BYTES output with one dimension."""
        found: list[bytes] = self.array(name).ravel().tolist()
        return found

    def text(self, name: str) -> Any:
        """Give the only text of an output: a ``str``, typed loosely for outputs of few values."""
        return self._decoded(name, self.data(name))

    def texts(self, name: str) -> list[Any]:
        """Give the texts of an output with one dimension."""
        return [self._decoded(name, item) for item in self.array(name).ravel().tolist()]

    def text_array(self, name: str) -> Array:
        """Give an output of texts with more dimensions, as an object array of ``str``."""
        array = self.array(name)
        decoded = np.empty(array.shape, np.object_)
        decoded.ravel()[:] = self.texts(name)
        return decoded

    def document(self, name: str) -> Any:
        """Give what the only JSON text of an output says."""
        try:
            return json.loads(self.data(name))
        except ValueError as error:
            raise self._wrong(name, f"is not JSON: {error}") from error

    def _decoded(self, name: str, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self._wrong(name, f"is not UTF-8: {error}") from error

    def _wrong(self, name: str, what: str) -> ProtocolError:
        return ProtocolError(
            f"output {name!r} of {self._model.name!r} {what}",
            cause="the model does not hold what its interface says",
            next_step="modelport codegen python makes the wrapper anew",
            model=self._model.name,
            tensor=name,
        )


def content(value: bytes | str | PathLike[str]) -> bytes:
    """Give bytes as they are, and read the file that a path names.

    Raises:
        InvalidInputError: it cannot be read.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the file {str(value)!r}: {error.strerror}", path=str(value)
        ) from error
    except (TypeError, ValueError) as error:  # no path at all; a NUL in it
        raise InvalidInputError(
            f"expected bytes or the path of a file, got {type(value).__name__}"
        ) from error


def document(value: Any) -> str:
    """Write a value as the JSON text that a model takes.

    Raises:
        InvalidInputError: JSON has no way to say it.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"cannot be written as JSON: {error}") from error


def single(model: Model, item: Item) -> dict[str, Value]:
    """Give the tensors of a request with one item.

    Raises:
        InvalidInputError: an array has too few dimensions or too many.
    """
    found: dict[str, Value] = {}
    for name, value in item.items():
        if value is not None:
            whole = _whole(model, model.input_by_name[name], value)
            found[name] = whole if not model.batching else _stacked([whole])
    return found


def grouped(model: Model, items: Iterable[Item]) -> list[Group]:
    """Sort items into as few requests as can hold them, in the order of their first items.

    Raises:
        InvalidInputError: an array has too few dimensions or too many.
    """
    groups: dict[object, tuple[list[int], list[dict[str, Any]]]] = {}
    for place, item in enumerate(items):
        given = {
            name: _whole(model, model.input_by_name[name], value)
            for name, value in item.items()
            if value is not None
        }
        key = tuple((name, *_form(value)) for name, value in given.items())
        places, members = groups.setdefault(key, ([], []))
        places.append(place)
        members.append(given)
    return [
        Group(places, {name: _stacked([one[name] for one in members]) for name in members[0]})
        for places, members in groups.values()
    ]


def _whole(model: Model, tensor: Tensor, value: Any) -> Any:
    """Give an item's value with as many dimensions as the tensor has."""
    if isinstance(value, np.ndarray):
        if value.ndim != len(tensor.dims):
            raise _wrong_shape(model, tensor, value)
        return value
    if isinstance(value, (str, bytes, bytearray, memoryview, bool, int, float, np.generic)):
        # A scalar stands for a tensor of one element; one text for a list of one.
        for _ in tensor.dims:
            value = [value]
        return value
    if isinstance(value, (list, tuple)):
        return list(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"input {tensor.name!r} of {model.name!r} cannot be made an array: {error}",
            model=model.name,
            tensor=tensor.name,
        ) from error
    return _whole(model, tensor, array)


def _wrong_shape(model: Model, tensor: Tensor, value: Array) -> InvalidInputError:
    expected = list(tensor.dims)
    return InvalidInputError(
        f"input {tensor.name!r} of {model.name!r} must be one item, {tensor.datatype} {expected}"
        f" (-1: any size), got {value.dtype}{list(value.shape)}",
        next_step="give items one by one; many of them to batch()" if model.batching else None,
        model=model.name,
        tensor=tensor.name,
        expected=expected,
        got=list(value.shape),
    )


def _form(value: Any) -> tuple[object, ...]:
    """What values that go into one tensor have in common."""
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape)
    try:
        return (None, np.shape(value))
    except ValueError:  # rows of unequal length, which the client will refuse by name
        return (None, id(value))


def _stacked(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], np.ndarray):
        return list(values)
    # A view of a single array: large pictures are not copied for their batch of one.
    return values[0][np.newaxis] if len(values) == 1 else np.stack(values)
