"""The V2 protocol over HTTP: tritonclient's encoding over our own connections."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from modelport.client import faults
from modelport.client.connection import ConnectionPool, Response
from modelport.client.exchange import IndexEntry, Reply, SequenceStep
from modelport.client.faults import Call
from modelport.client.tensors import Array, Tensor
from modelport.client.url import Endpoint
from modelport.errors import ClientError

_OK = 200
_NO_SEQUENCE = SequenceStep(0, start=False, end=False)

# Triton's translation, https://github.com/triton-inference-server/server/blob/main/src/http_server.cc
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# What a proxy may answer in its own words, without the protocol's JSON.
_FROM_PROXIES = (401, 403, 429, 502, 503, 504)


class HttpTransport:
    """V2 over HTTP/1.1 with binary tensors."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._pool = ConnectionPool(endpoint, headers)

    def infer(
        self,
        call: Call,
        tensors: Sequence[Tensor],
        outputs: Sequence[str],
        step: SequenceStep | None = None,
    ) -> Reply:
        """Run the model once."""
        id_, start, end = step or _NO_SEQUENCE
        body, header_size = InferenceServerClient.generate_request_body(
            [_to_input(tensor) for tensor in tensors],
            outputs=[InferRequestedOutput(name) for name in outputs],
            request_id=call.request_id,
            sequence_id=id_,
            sequence_start=start,
            sequence_end=end,
            timeout=int(call.remaining_s() * 1e6),
        )
        path = f"{_model_path(call)}/infer"
        response = self._pool.request(call, "POST", path, body, header_size)
        _raise_unless_ok(call, response)
        return _to_reply(call, response)

    def stream(
        self, call: Call, tensors: Sequence[Tensor], outputs: Sequence[str]
    ) -> Iterator[Reply]:
        """Refuse: the protocol has no stream of tensors over HTTP."""
        del tensors, outputs
        raise faults.no_stream(call)

    def metadata(self, call: Call) -> dict[str, Any]:
        """Give the V2 model metadata document."""
        document: dict[str, Any] = self._document(call, "GET", _model_path(call))
        return document

    def config(self, call: Call) -> dict[str, Any]:
        """Give Triton's model configuration."""
        document: dict[str, Any] = self._document(call, "GET", f"{_model_path(call)}/config")
        return document

    def ready(self, call: Call) -> bool:
        """Whether the model or the server is ready."""
        path = f"{_model_path(call)}/ready" if call.model else "/v2/health/ready"
        response = self._pool.request(call, "GET", path)
        # Not ready is 400 from Triton 2.51; a proxy says 502 or 503; an unknown model is 404 in
        # the protocol's JSON.
        if response.status_code in (400, 502, 503):
            return False
        if response.status_code == 404 and call.model and _server_message(response):
            return False
        _raise_unless_ok(call, response)
        return True

    def index(self, call: Call) -> list[IndexEntry]:
        """Give the repository index."""
        rows = self._document(call, "POST", "/v2/repository/index")
        return [
            IndexEntry(
                row["name"], row.get("version", ""), row.get("state", ""), row.get("reason", "")
            )
            for row in rows
        ]

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _document(self, call: Call, method: str, path: str) -> Any:
        response = self._pool.request(call, method, path)
        _raise_unless_ok(call, response)
        try:
            return json.loads(response.body)
        except ValueError as error:
            raise faults.protocol(call, f"{path} is not JSON ({error})") from error


def _model_path(call: Call) -> str:
    version = f"/versions/{quote(call.version, safe='')}" if call.version else ""
    return f"/v2/models/{quote(call.model, safe='')}{version}"


def _to_input(tensor: Tensor) -> InferInput:
    encoded = InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
    return encoded.set_data_from_numpy(tensor.array)


def _raise_unless_ok(call: Call, response: Response) -> None:
    status = response.status_code
    if status == _OK:
        return
    message = _server_message(response)
    if not message and status not in _FROM_PROXIES:
        raise faults.protocol(call, f"HTTP {status} without the protocol's error document")
    raise _refusal(call, status, message)


def _refusal(call: Call, status: int, message: str) -> ClientError:
    code = "UNAVAILABLE" if status == 502 else _CODES.get(status, "INTERNAL")
    error = faults.from_server(call, code, message or f"HTTP {status} from a proxy")
    error.objects["status"] = status
    return error


def _server_message(response: Response) -> str:
    """Give the text of the protocol's error document, empty when it is none."""
    try:
        document = json.loads(response.body)
    except ValueError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def _to_reply(call: Call, response: Response) -> Reply:
    size = response.get("Inference-Header-Content-Length")
    try:
        result = InferenceServerClient.parse_response_body(
            response.body, header_length=None if size is None else int(str(size))
        )
        document = result.get_response()
        outputs = {o["name"]: _to_array(result, o["name"]) for o in document["outputs"]}
        return Reply(outputs, document.get("model_version", ""))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        struct.error,
        InferenceServerException,
    ) as error:
        raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error


def _to_array(result: InferResult, name: str) -> Array:
    array: Array = result.as_numpy(name)
    if array.dtype.kind == "O" and any(isinstance(item, str) for item in array.flat):
        # A server without the binary extension sends strings as JSON.
        array = np.array([str(item).encode() for item in array.flat], object).reshape(array.shape)
    array.flags.writeable = False
    return array
