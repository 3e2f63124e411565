"""What servers and proxies answer over HTTP: results, refusals and documents."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, IndexEntry, Placed, Reply
from modelport.client.tensors import DTYPES, Array
from modelport.client.wire import content
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HEADER_SIZE, Response
from modelport.errors import ClientError

_OK = 200

# Triton's translation, https://github.com/triton-inference-server/server/blob/main/src/http_server.cc
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "NOT_READY",
    504: "DEADLINE_EXCEEDED",
}
# What a proxy may answer in its own words, without the protocol's JSON.
_FROM_PROXIES = (401, 403, 429, 500, 502, 503, 504)

# What reading a document that is not the protocol's may raise.
UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
)  # fmt: skip


def reading(convert: Callable[[Any], Answer]) -> Callable[[Call, Response], Answer]:
    """Give the function that reads a JSON document and converts it."""

    def read(call: Call, response: Response) -> Answer:
        raise_unless_ok(call, response)
        try:
            return convert(json.loads(bytes(_unpacked(response))))
        except UNREADABLE as error:
            raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error

    return read


def to_mapping(document: Any) -> dict[str, Any]:
    """Keep a JSON object as it is.

    Raises:
        TypeError, ValueError: it is none.
    """
    return dict(document)


def to_entries(rows: Any) -> list[IndexEntry]:
    """Read the repository index."""
    return [
        IndexEntry(row["name"], row.get("version", ""), row.get("state", ""), row.get("reason", ""))
        for row in rows
    ]


def region_names(document: Any) -> list[str]:
    """Read which regions of shared memory are registered."""
    return sorted(str(region["name"]) for region in document)


def read_nothing(call: Call, response: Response) -> None:
    """Read that it was done."""
    raise_unless_ok(call, response)


def read_ready(call: Call, response: Response) -> bool:
    """Read whether a model or the server is ready."""
    # Not ready is 400 from Triton 2.51; a proxy says 502 or 503; an unknown model is 404 in
    # the protocol's JSON.
    if response.status in (400, 502, 503):
        return False
    if response.status == 404 and call.model and _server_message(response):
        return False
    raise_unless_ok(call, response)
    return True


def raise_unless_ok(call: Call, response: Response) -> None:
    """Raise the error for a refusal, the server's or that of a proxy in front of it."""
    status = response.status
    if status == _OK:
        return
    message = _server_message(response)
    if not message and status == 404 and _is_document(response):
        raise faults.lacking(call)
    if not message and status not in _FROM_PROXIES:
        raise faults.protocol(call, f"HTTP {status} without the protocol's error document")
    raise _refusal(call, status, message)


def _refusal(call: Call, status: int, message: str) -> ClientError:
    if status == 502 or (status == 503 and not message):
        # It may have handed the request on, and lost the server while that worked.
        error = faults.lost(call, f"HTTP {status} from a proxy")
    else:
        code = _CODES.get(status, "INTERNAL")
        error = faults.from_server(call, code, message or f"HTTP {status} from a proxy")
    error.objects["status"] = status
    return error


def _server_message(response: Response) -> str:
    """Give the text of the protocol's error document, empty when it is none."""
    try:
        document = json.loads(bytes(_unpacked(response)))
    except (ValueError, RecursionError):
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def _is_document(response: Response) -> bool:
    """Whether a program answered, as web frameworks do for paths that they do not have."""
    return response.headers.get("content-type", "").startswith("application/json")


def _unpacked(response: Response) -> Buffer:
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return response.body
    if coding not in ("gzip", "deflate"):
        raise ValueError(f"the content encoding {coding!r} was not asked for")
    try:
        return zlib.decompress(response.body, wbits=47)
    except zlib.error as error:
        raise ValueError(f"the content is not {coding}: {error}") from error


class ReplyReader:
    """Reads replies; how one is laid out is kept, for the next of the same model and shapes."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Layout] = {}

    def read(self, call: Call, response: Response) -> Reply:
        """Read an answer to an inference."""
        return self._read(call, response, ())

    def reading_placed(self, elsewhere: Container[str]) -> Callable[[Call, Response], Reply]:
        """Give the function that reads an answer with outputs in shared memory."""
        return lambda call, response: self._read(call, response, elsewhere)

    def _read(self, call: Call, response: Response, elsewhere: Container[str]) -> Reply:
        raise_unless_ok(call, response)
        try:
            body = _unpacked(response)
            head_size = response.headers.get(HEADER_SIZE)
            view = memoryview(body)
            end = len(body) if head_size is None else int(head_size)
            head, binary = bytes(view[:end]), view[end:]
            layout = self._layouts.get(head)
            if layout is None:
                document = json.loads(head)
                if elsewhere or not all(map(_is_binary, document["outputs"])):
                    return _to_reply(document, binary, elsewhere)
                layout = self._keep(head, document)
            outputs = {
                name: content.to_array(datatype, shape, binary[begin:end])
                for name, datatype, shape, begin, end in layout.outputs
            }
            return Reply(outputs, layout.version)
        except UNREADABLE as error:
            raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error

    def _keep(self, head: bytes, document: Any) -> _Layout:
        if len(self._layouts) >= 256:  # of shapes there may be any number
            self._layouts.clear()
        # Not read again: another thread may clear them meanwhile.
        layout = self._layouts[head] = _to_layout(document)
        return layout


class _Layout(NamedTuple):
    """The outputs of a reply: name, datatype, shape, and where the content begins and ends."""

    version: str
    outputs: Sequence[tuple[str, str, tuple[int, ...], int, int]]


def _to_layout(document: Any) -> _Layout:
    outputs, begin = [], 0
    for output in document["outputs"]:
        end = begin + output["parameters"]["binary_data_size"]
        outputs.append((output["name"], output["datatype"], tuple(output["shape"]), begin, end))
        begin = end
    return _Layout(document.get("model_version") or "", outputs)


def _is_binary(output: Any) -> bool:
    return "binary_data_size" in (output.get("parameters") or ())


def _to_reply(document: Any, binary: memoryview, elsewhere: Container[str]) -> Reply:
    outputs: dict[str, Array] = {}
    placed: dict[str, Placed] = {}
    position = 0
    for output in document["outputs"]:
        name, datatype, shape = output["name"], output["datatype"], output["shape"]
        if name in elsewhere:
            placed[name] = Placed(datatype, tuple(shape))
        elif _is_binary(output):
            end = position + output["parameters"]["binary_data_size"]
            outputs[name] = content.to_array(datatype, shape, binary[position:end])
            position = end
        else:
            outputs[name] = from_json(datatype, shape, output["data"])
    return Reply(outputs, document.get("model_version") or "", placed)


def from_json(datatype: str, shape: Iterable[int], data: Any) -> Array:
    """Give the array that JSON numbers or strings stand for, read-only.

    Raises:
        ValueError, TypeError: they do not fit the datatype and shape.
    """
    shape = tuple(shape)
    if datatype == "BYTES":
        flat = np.array(data, np.object_).ravel().tolist()
        return content.objects([item.encode() for item in flat], shape)
    array = np.array(data, DTYPES[datatype]).reshape(shape)
    array.flags.writeable = False
    return array
