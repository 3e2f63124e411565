"""A fake server's HTTP side."""

from __future__ import annotations

import gzip
import json
import re
import select
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from modelport.client.testing import documents, generate, inference
from modelport.client.testing.core import Core
from modelport.client.testing.failures import Garbage, Hang, Lost
from modelport.client.testing.requests import Refusal, Request
from modelport.errors import PortInUseError

# https://github.com/triton-inference-server/server/blob/main/src/http_server.cc
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}
_WATCH_MS = 20
_JSON = "application/json"
_EVENTS = "text/event-stream; charset=utf-8"


class HttpSide:
    """Listens for HTTP/1.1 and translates; :class:`Core` answers.

    Args:
        core: what answers.
        port: where to listen, 0 for a free port.

    Raises:
        PortInUseError: another process listens there.
    """

    def __init__(self, core: Core, port: int) -> None:
        try:
            self._server = _Listener(("127.0.0.1", port), core)
        except OSError as error:
            what = f"port {port} is in use, so that no fake server can listen there"
            raise PortInUseError(what, port=port) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Break every connection and listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._server.break_connections()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], core: Core) -> None:
        self.core = core
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def break_connections(self) -> None:
        for connection in list(self.open):
            _break(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    # --- one request -------------------------------------------------------------

    def _answer(self, method: str) -> None:
        self.asked = {name.lower(): value for name, value in self.headers.items()}
        try:
            self.body = self._body()
            self.server.core.admit(self.asked)
            self._route(method)
        except Refusal as error:
            status = _STATUSES.get(error.code, 500)
            self.send(status, json.dumps({"error": error.message}, separators=(",", ":")).encode())
        except Garbage:
            self.wfile.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            self.wfile.flush()
            self._hang_up()
        except (Lost, Hang, OSError):
            self._hang_up()

    def _route(self, method: str) -> None:
        path = self.path.partition("?")[0]
        for pattern, wanted, control, function in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if control:
                self.server.core.admit_control(self.asked)
            if method != wanted:
                raise Refusal("Method Not Allowed", "METHOD_NOT_ALLOWED")
            function(self, *[unquote(group or "") for group in match.groups()])
            return
        raise Refusal("Not Found", "NOT_FOUND")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.asked.get("content-length", 0)))
        encoding = self.asked.get("content-encoding", "")
        try:
            if encoding == "gzip":
                return gzip.decompress(body)
            return zlib.decompress(body) if encoding == "deflate" else body
        except (OSError, zlib.error, EOFError) as error:
            raise Refusal(f"cannot decompress the request: {error}") from error

    def _hang_up(self) -> None:
        self.close_connection = True
        _break(self.connection)

    # --- answers -----------------------------------------------------------------

    def document(self, value: Any) -> None:
        """Answer with JSON."""
        self.send(200, json.dumps(value, separators=(",", ":")).encode())

    def send(self, status: int, body: bytes = b"", header_size: int | None = None) -> None:
        """Answer once; ``header_size`` is that of the JSON before binary tensors."""
        body, encoding = self._packed(body)
        self.send_response(status)
        self.send_header(
            "Content-Type", _JSON if header_size is None else "application/octet-stream"
        )
        if header_size is not None:
            self.send_header("Inference-Header-Content-Length", str(header_size))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _packed(self, body: bytes) -> tuple[bytes, str]:
        accepted = self.asked.get("accept-encoding", "")
        if body and "gzip" in accepted:
            return gzip.compress(body, 1), "gzip"
        if body and "deflate" in accepted:
            return zlib.compress(body, 1), "deflate"
        return body, ""

    def chunks(self, parts: Iterator[bytes], content_type: str) -> None:
        """Answer with parts as they come; the first is waited for, so that it may be refused."""
        first = next(parts, None)
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while first is not None:
            self.wfile.write(f"{len(first):x}\r\n".encode() + first + b"\r\n")
            self.wfile.flush()
            first = next(parts, None)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def watch(self, request: Request) -> None:
        """Note when the client hangs up, for as long as the request runs."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)

        def wait() -> None:
            while id(request) in self.server.core.running:
                if poll.poll(_WATCH_MS):
                    request.gone.set()
                    return

        threading.Thread(target=wait, daemon=True).start()


def _break(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


# --- the paths ---------------------------------------------------------------


def _live(handler: _Handler) -> None:
    handler.send(200)


def _ready(handler: _Handler) -> None:
    handler.send(200 if handler.server.core.ready else 400)


def _server(handler: _Handler) -> None:
    handler.document(documents.SERVER)


def _metadata(handler: _Handler, name: str, version: str) -> None:
    handler.document(documents.metadata(handler.server.core.find(name, version)))


def _config(handler: _Handler, name: str, version: str) -> None:
    handler.document(documents.config(handler.server.core.find(name, version)))


def _model_ready(handler: _Handler, name: str, version: str) -> None:
    if not handler.server.core.is_ready(name, version):
        raise Refusal("Model version not ready")
    handler.send(200)


def _statistics(handler: _Handler, name: str = "", version: str = "") -> None:
    handler.document({"model_stats": handler.server.core.statistics(name, version)})


def _index(handler: _Handler) -> None:
    handler.document(handler.server.core.index(ready=bool(_json(handler.body).get("ready"))))


def _load(handler: _Handler, name: str) -> None:
    handler.server.core.load(name)
    handler.send(200)


def _unload(handler: _Handler, name: str) -> None:
    handler.server.core.unload(name)
    handler.send(200)


def _memory_status(handler: _Handler, name: str = "") -> None:
    handler.document(handler.server.core.memory.status(name))


def _memory_register(handler: _Handler, name: str) -> None:
    document = _json(handler.body)
    for field in ("key", "byte_size"):
        if field not in document:
            raise Refusal(f"Shared memory register request has no '{field}' field")
    handler.server.core.memory.register(
        name, document["key"], int(document.get("offset", 0)), int(document["byte_size"])
    )
    handler.send(200)


def _memory_unregister(handler: _Handler, name: str = "") -> None:
    handler.server.core.memory.unregister(name)
    handler.send(200)


def _infer(handler: _Handler, name: str, version: str) -> None:
    core = handler.server.core
    if core.find(name, version).metadata.decoupled:
        what = "HTTP end point doesn't support models with decoupled transaction policy"
        raise Refusal(what, "UNIMPLEMENTED")
    request, sent, wanted = inference.read(core, name, version, handler.body, handler.asked)
    request.watch = partial(handler.watch, request)
    answered, outputs = core.infer_once(request, sent)
    head, binary = inference.write(core, request, wanted, answered, outputs)
    handler.send(200, head + binary, len(head) if binary else None)


def _generate(handler: _Handler, name: str, version: str) -> None:
    handler.chunks(
        generate.single(handler.server.core, name, version, handler.body, handler.asked), _JSON
    )


def _generate_stream(handler: _Handler, name: str, version: str) -> None:
    parts = generate.events(handler.server.core, name, version, handler.body, handler.asked)
    handler.chunks(parts, _EVENTS)


def _json(body: bytes) -> Mapping[str, Any]:
    document = inference.parse(body) if body else {}
    return document if isinstance(document, dict) else {}


_MODEL = r"/v2/models/([^/]+)(?:/versions/(\d+))?"
_MEMORY = "/v2/systemsharedmemory"
_ROUTES: tuple[tuple[re.Pattern[str], str, bool, Callable[..., None]], ...] = tuple(
    (re.compile(path), method, control, function)
    for path, method, control, function in (
        ("/v2", "GET", False, _server),
        ("/v2/health/live", "GET", False, _live),
        ("/v2/health/ready", "GET", False, _ready),
        ("/v2/models/stats", "GET", False, _statistics),
        (_MODEL, "GET", False, _metadata),
        (f"{_MODEL}/config", "GET", False, _config),
        (f"{_MODEL}/ready", "GET", False, _model_ready),
        (f"{_MODEL}/stats", "GET", False, _statistics),
        (f"{_MODEL}/infer", "POST", False, _infer),
        (f"{_MODEL}/generate", "POST", False, _generate),
        (f"{_MODEL}/generate_stream", "POST", False, _generate_stream),
        ("/v2/repository/index", "POST", True, _index),
        ("/v2/repository/models/([^/]+)/load", "POST", True, _load),
        ("/v2/repository/models/([^/]+)/unload", "POST", True, _unload),
        (f"{_MEMORY}/status", "GET", True, _memory_status),
        (f"{_MEMORY}/region/([^/]+)/status", "GET", True, _memory_status),
        (f"{_MEMORY}/region/([^/]+)/register", "POST", True, _memory_register),
        (f"{_MEMORY}/region/([^/]+)/unregister", "POST", True, _memory_unregister),
        (f"{_MEMORY}/unregister", "POST", True, _memory_unregister),
    )
)
