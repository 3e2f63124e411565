"""Inferences as protobuf messages, without copying large tensors more than once.

protobuf copies a tensor when it is put into a message, and again when the message becomes
bytes. What is small goes through it here; the contents of tensors are put behind it by hand, or
cut out by hand: a message is the sequence of its fields, and fields may follow in any order
(https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tritonclient.grpc import service_pb2

from modelport.client.call import Call
from modelport.client.exchange import Inference, Parameter, Placed, Region, Reply
from modelport.client.tensors import DTYPES, Array
from modelport.client.wire import content
from modelport.client.wire.content import Buffer
from modelport.client.wire.parameters import (
    is_constant,
    region_parameters,
    request_parameters,
    wanted_outputs,
)

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")

_Request = service_pb2.ModelInferRequest
_Parameter = service_pb2.InferParameter

# Field numbers of inference.ModelInferRequest and ModelInferResponse, as tags of wire type 2.
_RAW_INPUT = bytes([7 << 3 | 2])
_RAW_OUTPUT = 6 << 3 | 2
_ID = bytes([3 << 3 | 2])
_PARAMETER = bytes([4 << 3 | 2])
# A map entry: the key, then the value with its int64.
_TIMEOUT_KEY = b"\x0a\x07timeout"

_VARIES = (3 << 3 | 2, 4 << 3 | 2)  # request id and parameters of a response
_COPIED_BYTES = 4096

# Which fields of InferTensorContents hold the elements of which datatype.
_TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class RequestWriter:
    """Writes requests; what does not change from call to call is kept."""

    def __init__(self) -> None:
        self._heads: dict[Any, bytes] = {}

    def write(self, call: Call, inference: Inference) -> bytes:
        """Give the message of one inference."""
        parts: list[Buffer] = [self._head(call, inference)]
        if call.request_id:
            identifier = call.request_id.encode()
            parts += (_ID, varint(len(identifier)), identifier)
        parts.append(_timeout(math.ceil(call.remaining_s() * 1e3)))
        regions = inference.input_regions
        for tensor in inference.tensors:
            if tensor.name not in regions:
                raw = content.to_buffer(tensor)
                parts += (_RAW_INPUT, varint(len(raw)), raw)
        return b"".join(parts)

    def _head(self, call: Call, inference: Inference) -> bytes:
        if not is_constant(inference):
            return _write_head(call, inference)
        key = (
            call.model,
            call.version,
            inference.priority,
            *inference.outputs,
            *[(t.name, t.datatype, t.array.shape) for t in inference.tensors],
        )
        head = self._heads.get(key)
        if head is None:
            head = _write_head(call, inference)
            _keep(self._heads, key, head)
        return head


def _write_head(call: Call, inference: Inference) -> bytes:
    """Write everything but request id, timeout and contents."""
    regions = inference.input_regions
    message = _Request(
        model_name=call.model,
        model_version=call.version,
        inputs=[
            _Request.InferInputTensor(
                name=t.name,
                datatype=t.datatype,
                shape=t.array.shape,
                parameters=_region(regions.get(t.name)),
            )
            for t in inference.tensors
        ],
        outputs=[
            _Request.InferRequestedOutputTensor(
                name=name, parameters=_region(inference.output_regions.get(name))
            )
            for name in wanted_outputs(inference)
        ],
        parameters={
            name: _request_parameter(name, value)
            for name, value in request_parameters(inference).items()
        },
    )
    head: bytes = message.SerializeToString()
    return head


def _region(region: Region | None) -> dict[str, Any] | None:
    if region is None:
        return None
    return {name: _parameter(value) for name, value in region_parameters(region).items()}


def _request_parameter(name: str, value: Any) -> Any:
    """Triton wants these two in one kind of integer each (tried: 2.51.0)."""
    if name == "priority":
        return _Parameter(uint64_param=value)
    if name == "sequence_id":
        return _Parameter(int64_param=value if value < 1 << 63 else value - (1 << 64))
    return _parameter(value)


def _parameter(value: Parameter) -> Any:
    if isinstance(value, bool):
        return _Parameter(bool_param=value)
    if isinstance(value, int):
        large = value >= 1 << 63
        return _Parameter(uint64_param=value) if large else _Parameter(int64_param=value)
    if isinstance(value, float):
        return _Parameter(double_param=value)
    return _Parameter(string_param=value)


# In whole milliseconds the timeouts of most calls are one, and need not be written anew.
@lru_cache(1024)
def _timeout(milliseconds: int) -> bytes:
    number = varint(milliseconds * 1000)
    entry = b"%b\x12%c\x10%b" % (_TIMEOUT_KEY, len(number) + 1, number)
    return b"%b%c%b" % (_PARAMETER, len(entry), entry)


def varint(number: int) -> bytes:
    """Write a number, seven bits a byte, the lowest first."""
    if number < 128:
        return bytes((number,))
    digits = bytearray()
    while number >= 128:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _keep(kept: dict[_Key, _Kept], key: _Key, value: _Kept) -> None:
    if len(kept) >= 256:  # of shapes there may be any number
        kept.clear()
    kept[key] = value


# --- responses ---------------------------------------------------------------


class ResponseReader:
    """Reads responses; how one is laid out is kept, for the next of the same model and shapes."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Layout] = {}
        self._frames: dict[int, _Frame] = {}

    def read(self, message: bytes) -> Reply:
        """Read a ModelInferResponse; the arrays of a large one are views of ``message``.

        Raises:
            google.protobuf.message.DecodeError, ValueError, KeyError, IndexError, TypeError: it
                is none.
        """
        frame = self._frames.get(len(message))
        if frame is not None and frame.fits(message):
            return _filled(frame.layout, message, frame.spans)
        try:
            head, spans = _cut(message)
        except (ValueError, IndexError):
            return _read_whole(message)
        layout = self._layouts.get(head)
        if layout is None:
            response = service_pb2.ModelInferResponse.FromString(head)
            if not spans:
                return to_reply(response, ())
            layout = _Layout(
                response.model_version,
                [(o.name, o.datatype, tuple(o.shape)) for o in response.outputs],
            )
            _keep(self._layouts, head, layout)
        if layout.fixed_size and message.startswith(head):  # nothing varies but the contents
            _keep(self._frames, len(message), _Frame(_between(message, spans), spans, layout))
        return _filled(layout, message, spans)

    def read_placed(self, message: bytes, elsewhere: Container[str]) -> Reply:
        """Read a response of which some outputs were written to shared memory."""
        try:
            head, spans = _cut(message)
        except (ValueError, IndexError):
            return _read_whole(message, elsewhere)
        response = service_pb2.ModelInferResponse.FromString(head)
        return to_reply(response, [_piece(message, *span) for span in spans], elsewhere)


def _read_whole(message: bytes, elsewhere: Container[str] = ()) -> Reply:
    """Let protobuf read what is laid out as no response of today is."""
    response = service_pb2.ModelInferResponse.FromString(message)
    return to_reply(response, response.raw_output_contents, elsewhere)


class _Layout(NamedTuple):
    version: str
    outputs: Sequence[tuple[str, str, tuple[int, ...]]]

    @property
    def fixed_size(self) -> bool:
        return all(datatype != "BYTES" for _, datatype, _ in self.outputs)


class _Frame(NamedTuple):
    """What responses of one length have in common: all bytes but the contents of tensors."""

    fixed: Sequence[tuple[bytes, int]]
    spans: Sequence[tuple[int, int]]
    layout: _Layout

    def fits(self, message: bytes) -> bool:
        for part, position in self.fixed:  # noqa: SIM110 (each answer comes by here)
            if not message.startswith(part, position):
                return False
        return True


def _filled(layout: _Layout, message: bytes, spans: Sequence[tuple[int, int]]) -> Reply:
    outputs = {}
    for (name, datatype, shape), (begin, end) in zip(layout.outputs, spans, strict=True):
        outputs[name] = content.to_array(datatype, shape, _piece(message, begin, end))
    return Reply(outputs, layout.version)


def _piece(message: bytes, begin: int, end: int) -> Buffer:
    # A small copy is aligned, which a view into the message rarely is.
    small = end - begin <= _COPIED_BYTES
    return message[begin:end] if small else memoryview(message)[begin:end]


def _between(message: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[bytes, int]]:
    """Give the bytes around the spans, with their positions."""
    begins, ends = (0, *(end for _, end in spans)), (*(begin for begin, _ in spans), len(message))
    return [(message[a:b], a) for a, b in zip(begins, ends, strict=True) if a < b]


def _cut(message: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Cut out what is the same from response to response; find the contents of tensors.

    Raises:
        ValueError, IndexError: it has fields that are not known here, or is no message.
    """
    head: list[bytes] = []
    spans: list[tuple[int, int]] = []
    position, end = 0, len(message)
    while position < end:
        begin, tag, size = position, message[position], message[position + 1]
        position += 2
        if size > 127:
            size, position = _read_varint(message, position - 1)
        stop = position + size
        if tag & 7 != 2 or tag > 127 or stop > end:  # no known field is so
            raise ValueError(f"a field {tag} of {size} bytes")
        if tag == _RAW_OUTPUT:
            spans.append((position, stop))
        elif tag not in _VARIES:
            head.append(message[begin:stop])
        position = stop
    return b"".join(head), spans


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def to_reply(response: Any, raw: Sequence[Buffer], elsewhere: Container[str] = ()) -> Reply:
    """Give the arrays of a response.

    Args:
        response: the message.
        raw: the contents that it carries apart, in the order of the outputs.
        elsewhere: outputs that were written to shared memory, whose content is empty here.

    Raises:
        ValueError, KeyError: content, datatype and shape do not fit together.
    """
    outputs = {}
    placed: dict[str, Placed] = {}
    if raw and len(raw) != len(response.outputs):
        raise ValueError(f"{len(raw)} contents for {len(response.outputs)} outputs")
    for index, output in enumerate(response.outputs):
        shape = tuple(output.shape)
        if output.name in elsewhere:
            placed[output.name] = Placed(output.datatype, shape)
        elif raw:
            outputs[output.name] = content.to_array(output.datatype, shape, raw[index])
        else:
            outputs[output.name] = _from_typed(output, shape)
    if placed:
        return Reply(outputs, response.model_version, placed)
    return Reply(outputs, response.model_version)


def _from_typed(output: Any, shape: tuple[int, ...]) -> Array:
    """Read elements that came one by one, as servers other than Triton send them."""
    items = list(getattr(output.contents, _TYPED[output.datatype]))
    if output.datatype == "BYTES":
        return content.objects(items, shape)
    array = np.array(items, DTYPES[output.datatype]).reshape(shape)
    array.flags.writeable = False
    return array
