"""The V2 protocol over HTTP, with Triton's extensions."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import (
    Answer,
    Exchange,
    IndexEntry,
    Inference,
    Parameter,
    Reply,
    StreamExchange,
)
from modelport.client.options import Options
from modelport.client.tensors import Tensor
from modelport.client.wire import answers, content, generate
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HttpRequest
from modelport.client.wire.parameters import (
    is_constant,
    region_parameters,
    request_parameters,
    wanted_outputs,
)


class HttpWire:
    """V2 over HTTP/1.1 with binary tensors."""

    def __init__(self, options: Options) -> None:
        self._compression = options.compression
        accept = f"Accept-Encoding: {options.compression}\r\n" if options.compression else ""
        self._accept = accept
        self._paths: dict[tuple[str, str], str] = {}
        self._documents: dict[Any, tuple[str, str]] = {}
        self._replies = answers.ReplyReader()

    def infer(self, call: Call, inference: Inference) -> Exchange[Reply]:
        """Run the call's model once."""
        if not inference.binary:
            document = _json_document(call, inference)
            return Exchange(self._post(f"{self._path(call)}/infer", document), self._replies.read)
        regions = inference.input_regions
        parts: list[Buffer] = [b""]
        parts += [content.to_buffer(t) for t in inference.tensors if t.name not in regions]
        parts[0] = self._document(call, inference, parts).encode()
        size, head_size = sum(map(len, parts)), len(parts[0])
        headers = f"{self._accept}Inference-Header-Content-Length: {head_size}\r\n"
        request = HttpRequest("POST", f"{self._path(call)}/infer", headers, parts, size)
        regions = inference.output_regions
        read = self._replies.reading_placed(regions) if regions else self._replies.read
        return Exchange(self._packed(request), read)

    def stream(self, call: Call, inference: Inference) -> StreamExchange:
        """Run the call's model once and read its responses as they come.

        Raises:
            InvalidInputError: Triton's JSON events cannot carry one of the tensors.
        """
        body = json.dumps(generate.to_document(call, inference)).encode()
        headers = "Content-Type: application/json\r\nAccept: text/event-stream\r\n"
        path = f"{self._path(call)}/generate_stream"
        request = HttpRequest("POST", path, headers, (body,), len(body))
        return StreamExchange(request, lambda call: generate.Events(call, inference))

    def metadata(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 model metadata document."""
        return self._get(self._path(call), answers.to_mapping)

    def config(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read Triton's model configuration."""
        return self._get(f"{self._path(call)}/config", answers.to_mapping)

    def server(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 server metadata document."""
        del call
        return self._get("/v2", answers.to_mapping)

    def ready(self, call: Call) -> Exchange[bool]:
        """Ask whether the call's model, or without one the server, is ready."""
        path = f"{self._path(call)}/ready" if call.model else "/v2/health/ready"
        return Exchange(HttpRequest("GET", path), answers.read_ready)

    def index(self, call: Call) -> Exchange[list[IndexEntry]]:
        """Read the repository index."""
        del call
        return Exchange(
            HttpRequest("POST", "/v2/repository/index"), answers.reading(answers.to_entries)
        )

    def statistics(self, call: Call) -> Exchange[list[dict[str, Any]]]:
        """Read the statistics of the call's model, or of all."""
        path = f"{self._path(call)}/stats" if call.model else "/v2/models/stats"
        return self._get(path, lambda document: list(document["model_stats"]))

    def load(self, call: Call, config: str = "") -> Exchange[None]:
        """Refuse: over HTTP, Triton answers no inference while it loads a model."""
        del config
        raise faults.grpc_only(call, "cannot load")

    def unload(self, call: Call, *, dependents: bool = False) -> Exchange[None]:
        """Refuse, as :meth:`load` does."""
        del dependents
        raise faults.grpc_only(call, "cannot unload")

    def register(self, call: Call, name: str, key: str, size_bytes: int) -> Exchange[None]:
        """Let the server map a region of system shared memory."""
        del call
        body = json.dumps({"key": key, "offset": 0, "byte_size": size_bytes}).encode()
        path = f"/v2/systemsharedmemory/region/{quote(name, safe='')}/register"
        return Exchange(HttpRequest("POST", path, "", (body,), len(body)), answers.read_nothing)

    def unregister(self, call: Call, name: str) -> Exchange[None]:
        """Let the server forget a region."""
        del call
        path = f"/v2/systemsharedmemory/region/{quote(name, safe='')}/unregister"
        return Exchange(HttpRequest("POST", path), answers.read_nothing)

    def regions(self, call: Call) -> Exchange[list[str]]:
        """List the names of the regions that the server has registered."""
        del call
        return self._get("/v2/systemsharedmemory/status", answers.region_names)

    # --- requests ----------------------------------------------------------------

    def _path(self, call: Call) -> str:
        path = self._paths.get((call.model, call.version))
        if path is None:
            version = f"/versions/{quote(call.version, safe='')}" if call.version else ""
            path = f"/v2/models/{quote(call.model, safe='')}{version}"
            if len(self._paths) < 1024:  # names may come from anywhere
                self._paths[call.model, call.version] = path
        return path

    def _get(self, path: str, convert: Callable[[Any], Answer]) -> Exchange[Answer]:
        return Exchange(HttpRequest("GET", path, self._accept), answers.reading(convert))

    def _post(self, path: str, document: Any) -> HttpRequest:
        body = json.dumps(document).encode()
        headers = f"{self._accept}Content-Type: application/json\r\n"
        return self._packed(HttpRequest("POST", path, headers, (body,), len(body)))

    def _packed(self, request: HttpRequest) -> HttpRequest:
        if not self._compression:
            return request
        # What HTTP calls deflate has the two bytes of zlib in front.
        packer = zlib.compressobj(wbits=31 if self._compression == "gzip" else 15)
        parts = [packer.compress(part) for part in request.parts]
        parts = [part for part in (*parts, packer.flush()) if part]
        headers = f"{request.headers}Content-Encoding: {self._compression}\r\n"
        return request._replace(headers=headers, parts=parts, size=sum(map(len, parts)))

    def _document(self, call: Call, inference: Inference, parts: list[Buffer]) -> str:
        """Write the JSON part of a request with binary tensors."""
        if is_constant(inference):
            key = (
                inference.priority,
                *inference.outputs,
                *[(t.name, t.datatype, t.array.shape) for t in inference.tensors],
                *map(len, parts),
            )
            kept = self._documents.get(key)
            if kept is None:
                if len(self._documents) >= 256:  # of shapes there may be any number
                    self._documents.clear()
                kept = self._documents[key] = _constant_document(inference, parts)
        else:
            kept = _constant_document(inference, parts)
        begin, end = kept
        identifier = f'"id":{json.dumps(call.request_id)},' if call.request_id else ""
        return f"{{{identifier}{begin}{int(call.remaining_s() * 1e6)}{end}"


def _constant_document(inference: Inference, parts: list[Buffer]) -> tuple[str, str]:
    """Write what comes before and after the timeout; the first of ``parts`` is the JSON's."""
    parameters = request_parameters(inference) | {"binary_data_output": True}
    parameters.pop("timeout", None)  # its place is the last, and its value the call's
    sizes = iter(parts[1:])
    inputs = []
    for tensor in inference.tensors:
        region = inference.input_regions.get(tensor.name)
        where = (
            {"binary_data_size": len(next(sizes))} if region is None else region_parameters(region)
        )
        inputs.append(_input(tensor) | {"parameters": where})
    begin = json.dumps(parameters)
    rest = json.dumps({"inputs": inputs} | _outputs(inference, {"binary_data": True}))
    return f'"parameters":{begin[:-1]}, "timeout": ', f"}},{rest[1:]}"


def _input(tensor: Tensor) -> dict[str, Any]:
    shape = list(tensor.array.shape)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}


def _outputs(inference: Inference, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Name the outputs; of those that are named, Triton ignores ``binary_data_output`` (2.51.0)."""
    named = []
    for name in wanted_outputs(inference):
        region = inference.output_regions.get(name)
        how = parameters if region is None else region_parameters(region)
        named.append({"name": name, "parameters": how} if how else {"name": name})
    return {"outputs": named} if named else {}


def _json_document(call: Call, inference: Inference) -> dict[str, Any]:
    """Make a request whose tensors are JSON, for servers without Triton's extension."""
    document: dict[str, Any] = {"id": call.request_id} if call.request_id else {}
    parameters = request_parameters(inference)
    if parameters:
        document["parameters"] = parameters
    document["inputs"] = [_input(t) | {"data": _elements(call, t)} for t in inference.tensors]
    return document | _outputs(inference, {})


def _elements(call: Call, tensor: Tensor) -> list[Any]:
    items: list[Any] = tensor.array.ravel().tolist()
    if tensor.datatype != "BYTES":
        return items
    try:
        return [item.decode() for item in items]
    except UnicodeDecodeError as error:
        raise faults.not_in_json(call, tensor.name, "it holds bytes that are not UTF-8") from error
