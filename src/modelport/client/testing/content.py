"""Tensors as bytes and as JSON, the way Triton reads and writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.client.dtypes import DTYPES, Array
from modelport.client.testing.requests import Refusal

_LENGTH_BYTES = 4
_NOT_IN_JSON = ("FP16", "BF16")


@dataclass
class Sent:
    """One input as it was sent: ``raw`` bytes, or ``values`` that were read from JSON."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | None = None
    values: Array | None = None


def to_bytes(datatype: str, array: Array) -> bytes:
    """Write a tensor's content; each string has its length in front."""
    if datatype != "BYTES":
        return array.tobytes()
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.ravel().tolist())


def from_bytes(sent: Sent, model: str, expected_bytes: int, prefix: str) -> Array:
    """Read a tensor's content.

    Args:
        sent: the input; ``raw`` is read.
        model: for messages.
        expected_bytes: how many it must have, BYTES aside.
        prefix: of messages: the request's id.

    Raises:
        Refusal: there are more or fewer than the shape says.
    """
    raw = sent.raw or b""
    count = math.prod(sent.shape)
    if sent.datatype != "BYTES":
        if len(raw) != expected_bytes:
            raise Refusal(
                f"{prefix}input byte size mismatch for input '{sent.name}' for model '{model}'."
                f" Expected {expected_bytes}, got {len(raw)}"
            )
        return np.frombuffer(raw, DTYPES[sent.datatype], count).reshape(sent.shape)
    items, position = [], 0
    while position + _LENGTH_BYTES <= len(raw):
        length = int.from_bytes(raw[position : position + _LENGTH_BYTES], "little")
        position += _LENGTH_BYTES
        if position + length > len(raw):
            raise Refusal(
                f"incomplete string data for inference input '{sent.name}', expecting string of"
                f" length {length} but only {len(raw) - position} bytes available"
            )
        items.append(raw[position : position + length])
        position += length
    if len(items) != count:
        raise Refusal(
            f"expected {count} strings for inference input '{sent.name}', got {len(items)}"
        )
    return _objects(items, sent.shape)


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """Read a tensor's content from JSON: a list, nested or flat.

    Raises:
        Refusal: it does not fit the datatype or the shape.
    """
    del name
    flat = _flattened(data)
    if len(flat) != math.prod(shape):
        raise Refusal(
            "Unable to parse 'data': Shape does not match true shape of 'data' field", "INTERNAL"
        )
    if datatype == "BYTES":
        if not all(isinstance(item, str) for item in flat):
            what = "Unable to parse JSON bytes array: attempt to access JSON non-string as string"
            raise Refusal(what, "INTERNAL")
        return _objects([item.encode() for item in flat], shape)
    if not all(isinstance(item, (int, float)) for item in flat):
        kind = "double" if datatype.startswith("FP") else "signed-integer"
        what = f"Unable to parse 'data': attempt to access JSON non-number as {kind}"
        raise Refusal(what, "INTERNAL")
    try:
        return np.array(flat).astype(DTYPES[datatype]).reshape(tuple(shape))
    except (OverflowError, ValueError) as error:
        raise Refusal(f"Unable to parse 'data': {error}", "INTERNAL") from error


def to_json(name: str, datatype: str, array: Array) -> list[Any]:
    """Give a tensor's content as a flat list.

    Raises:
        Refusal: JSON has no form of it.
    """
    if datatype in _NOT_IN_JSON:
        raise Refusal(
            f"sending {datatype} data via JSON is not supported. Please use the binary data format"
            f" for output {name}"
        )
    if datatype == "BYTES":
        # Triton writes bytes into JSON as they are, UTF-8 or not.
        return [item.decode(errors="surrogateescape") for item in array.ravel().tolist()]
    flat: list[Any] = array.ravel().tolist()
    return flat


def _objects(items: list[bytes], shape: Sequence[int]) -> Array:
    array = np.empty(len(items), np.object_)
    array[:] = items
    return array.reshape(tuple(shape))


def _flattened(data: Any) -> list[Any]:
    if not isinstance(data, list):
        return [data]
    return [
        leaf for item in data for leaf in (_flattened(item) if isinstance(item, list) else [item])
    ]
