"""Triton's streams over HTTP: one JSON document asks, server-sent events answer.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md

The JSON names neither datatypes nor shapes. Triton takes single values and flat lists, and
spreads them over the shape in the model's metadata: fixed dimensions first, the rest to the
innermost variable one (``ExactMappingInput`` in its http_server.cc).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Inference, Reply
from modelport.client.metadata import ModelMetadata
from modelport.client.tensors import DTYPES, Array, Tensor
from modelport.client.wire import content
from modelport.client.wire.answers import UNREADABLE, raise_unless_ok
from modelport.client.wire.http1 import Response
from modelport.client.wire.parameters import request_parameters

# JSON has no such numbers that Triton reads into these.
_NOT_IN_JSON = ("FP16", "BF16")


def to_document(call: Call, inference: Inference) -> dict[str, Any]:
    """Make the request's document.

    Raises:
        InvalidInputError: a tensor cannot be carried.
    """
    model = inference.model
    # No timeout: what is no tensor is handed to the model as a parameter of its own.
    document: dict[str, Any] = dict(request_parameters(inference))
    if call.request_id:
        document["id"] = call.request_id
    if inference.step:
        raise faults.no_stream(call, "it has no place for a sequence")
    for tensor in inference.tensors:
        if model is None:
            raise faults.no_stream(call, "the model's metadata is not known", tensor.name)
        if tensor.name in inference.input_regions:
            raise faults.no_stream(call, "it lies in shared memory", tensor.name)
        document[tensor.name] = _to_json(call, tensor, model)
    return document


def _to_json(call: Call, tensor: Tensor, model: ModelMetadata) -> Any:
    array, known = tensor.array, model.input_by_name.get(tensor.name)
    if tensor.datatype in _NOT_IN_JSON:
        raise faults.no_stream(call, f"JSON has no {tensor.datatype}", tensor.name)
    if array.size == 0:
        raise faults.no_stream(call, "it is empty", tensor.name)
    if known is not None and spread(array.size, known.shape) != array.shape:
        why = f"its shape {list(array.shape)} is not to be told from {array.size} values"
        raise faults.no_stream(call, why, tensor.name)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise faults.no_stream(call, "JSON has no infinite or undefined numbers", tensor.name)
    items: list[Any] = array.ravel().tolist()
    if tensor.datatype == "BYTES":
        items = [_to_text(call, tensor.name, item) for item in items]
    return items[0] if len(items) == 1 else items


def _to_text(call: Call, name: str, item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise faults.no_stream(call, "it holds bytes that are not UTF-8", name) from error


def spread(count: int, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Spread ``count`` values over a shape with variable dimensions as Triton does.

    Returns:
        The dimensions; ``None`` when they do not fit.
    """
    fixed = math.prod(size for size in shape if size != -1)
    if fixed == 0 or count % fixed:
        return None
    left, sizes = count // fixed, []
    for size in reversed(shape):
        if size == -1:
            size, left = left, 1
        sizes.append(size)
    return tuple(reversed(sizes)) if left == 1 else None


def is_events(headers: Mapping[str, str]) -> bool:
    """Whether a body consists of events; a refusal before the first one may be plain JSON."""
    return headers.get("content-type", "").lower().startswith("text/event-stream")


def raise_unless_events(call: Call, response: Response) -> None:
    """Raise the error for an answer that is no stream: a refusal, or another program's."""
    raise_unless_ok(call, response)
    if not is_events(response.headers):
        kind = response.headers.get("content-type", "")
        raise faults.protocol(call, f"a stream of the content type {kind!r}")


class Events:
    """Reads server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self, call: Call, inference: Inference) -> None:
        self._call, self._inference = call, inference
        self._pending = b""
        self._after_return = False
        self._refusal: str = ""

    def feed(self, part: bytes) -> Sequence[Reply]:
        """Give the replies of the events that are complete with these bytes."""
        *events, self._pending = (self._pending + self._lines(part)).split(b"\n\n")
        replies = []
        for event in events:
            data = b"\n".join(
                line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")
            )
            if data and not self._refusal:
                replies += self._read(data)
        return replies

    def _lines(self, part: bytes) -> bytes:
        """Give the bytes with one kind of line end, of which any may be cut in two."""
        if self._after_return and part.startswith(b"\n"):
            part = part[1:]
            self._after_return = False
        if part:
            self._after_return = part.endswith(b"\r")
        return part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def finish(self) -> None:
        """Raise the error that the stream told of, or that it ended within an event."""
        if self._refusal:
            raise faults.from_stream(self._call, self._refusal)
        if self._pending.strip():
            raise faults.lost(self._call, "the stream ended within a response")

    def _read(self, data: bytes) -> list[Reply]:
        try:
            document = json.loads(data)
            if "error" in document:
                self._refusal = str(document["error"])
                return []
            return self._to_replies(document)
        except UNREADABLE as error:
            raise faults.protocol(self._call, f"a response cannot be read ({error!r})") from error

    def _to_replies(self, document: dict[str, Any]) -> list[Reply]:
        model, wanted = self._inference.model, self._inference.outputs
        outputs = {
            tensor.name: _from_json(tensor.datatype, tensor.shape, document[tensor.name])
            for tensor in (model.outputs if model else ())
            if tensor.name in document and (not wanted or tensor.name in wanted)
        }
        return [Reply(outputs, str(document.get("model_version", "")))] if outputs else []


def _from_json(datatype: str, shape: Sequence[int], data: Any) -> Array:
    items = data if isinstance(data, list) else [data]
    sizes = spread(len(items), shape)
    if sizes is None:
        raise ValueError(f"{len(items)} values for the shape {list(shape)}")
    if datatype == "BYTES":
        return content.objects([item.encode() for item in items], sizes)
    array = np.array(items, DTYPES[datatype]).reshape(sizes)
    array.flags.writeable = False
    return array
