"""HTTP/1.1 connections that threads may share, with one deadline over a whole exchange.

tritonclient's own HTTP client is bound to the thread that made it, because its
sockets belong to that thread's gevent loop, and it knows a timeout per socket
operation but none per call. These are plain sockets, with the same C parser
(llhttp, from geventhttpclient) reading the answer.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress

from geventhttpclient.response import HTTPParseError, HTTPResponse

from modelport import __version__
from modelport.client import faults
from modelport.client.faults import Call
from modelport.client.url import Endpoint
from modelport.errors import ClientError, ConnectionLostError

_CHUNK_BYTES = 65536
_FIRST_FINAL_STATUS = 200


class Response(HTTPResponse):
    """The answer to one request: ``status_code``, ``get(header)`` and ``body``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = bytearray()

    def _on_body(self, buf: bytearray) -> None:
        self.body += buf


class ConnectionPool:
    """Keep-alive connections to one endpoint; each is used by one thread at a time."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._head = _constant_head(endpoint, headers)
        self._tls = ssl.create_default_context() if endpoint.secure else None
        self._idle: deque[socket.socket] = deque()
        self._pid = os.getpid()
        self._closed = False

    def request(
        self, call: Call, method: str, path: str, body: bytes = b"", header_size: int | None = None
    ) -> Response:
        """Send one request and read its answer, whatever its status is.

        A server may close a kept connection just as it is used again, so a GET that such a
        connection loses is sent once more, on a new one; a POST may have been carried out.

        Args:
            call: the call with its deadline.
            method: ``GET`` or ``POST``.
            path: what follows the endpoint's base path, with its slash.
            body: the content.
            header_size: size of the JSON part in bytes, where binary tensors follow it.

        Raises:
            ClientError: the leaf for what happened to the connection.
        """
        head = self._write_head(method, path, body, header_size)
        kept = self._take_idle(call)
        if kept:
            with suppress(ConnectionLostError) if method == "GET" else nullcontext():
                return self._use(call, kept, head, body)
        return self._use(call, _open(call, self._endpoint, self._tls), head, body)

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their answer is there."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _write_head(self, method: str, path: str, body: bytes, header_size: int | None) -> bytes:
        extra = f"Inference-Header-Content-Length: {header_size}\r\n" if header_size else ""
        return (
            f"{method} {self._endpoint.base_path}{path} HTTP/1.1\r\n{self._head}{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode("latin-1")

    def _use(self, call: Call, connection: socket.socket, head: bytes, body: bytes) -> Response:
        try:
            response = _exchange(call, connection, head, body)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, response)
        return response

    def _take_idle(self, call: Call) -> socket.socket | None:
        if self._closed:
            raise faults.closed(call)
        if self._pid != os.getpid():  # after a fork the sockets are the parent's
            self._idle, self._pid = deque(), os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if _is_quiet(connection):
                return connection
            connection.close()
        return None

    def _give_back(self, connection: socket.socket, response: Response) -> None:
        if self._closed or response.should_close():
            connection.close()
        else:
            self._idle.append(connection)


def _constant_head(endpoint: Endpoint, headers: Mapping[str, str]) -> str:
    lines = {"Host": endpoint.authority, "User-Agent": f"modelport/{__version__}", **headers}
    for name, value in lines.items():
        if not name or any(c in f"{name}{value}" for c in "\r\n\0") or not name.isascii():
            raise ClientError(f"the header {name!r} holds characters that no header may have")
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items())


def _is_quiet(connection: socket.socket) -> bool:
    """An idle connection that can be read was closed by the server, or holds rubbish."""
    poll = select.poll()  # select() fails beyond 1024 open files
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def _open(call: Call, endpoint: Endpoint, tls: ssl.SSLContext | None) -> socket.socket:
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), call.remaining_s())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            connection = tls.wrap_socket(connection, server_hostname=endpoint.host)
    except ConnectionRefusedError as error:
        raise faults.refused(call) from error
    except (socket.gaierror, UnicodeError) as error:
        raise faults.unresolved(call, str(error)) from error
    except TimeoutError as error:
        raise faults.deadline(call, "no connection") from error
    except OSError as error:  # no route, TLS
        raise faults.unreachable(call, str(error)) from error
    return connection


def _exchange(call: Call, connection: socket.socket, head: bytes, body: bytes) -> Response:
    try:
        _send(call, connection, head, body)
        return _receive(call, connection)
    except TimeoutError as error:
        raise faults.deadline(call) from error
    except OSError as error:
        raise faults.lost(call, error.strerror or str(error)) from error
    except HTTPParseError as error:
        raise faults.protocol(call, f"the answer is not HTTP ({error})") from error


def _send(call: Call, connection: socket.socket, head: bytes, body: bytes) -> None:
    connection.settimeout(call.remaining_s())
    if len(body) <= _CHUNK_BYTES:  # one system call, and no second small packet
        connection.sendall(head + body)
    else:
        connection.sendall(head)
        connection.settimeout(call.remaining_s())
        connection.sendall(body)


def _receive(call: Call, connection: socket.socket) -> Response:
    response = Response()
    while not response.message_complete or response.status_code < _FIRST_FINAL_STATUS:
        connection.settimeout(call.remaining_s())
        data = connection.recv(_CHUNK_BYTES)
        if data:
            response.feed(data)
        else:
            _finish(response)
    return response


def _finish(response: Response) -> None:
    """Take the end of the stream for the end of the answer where HTTP allows that."""
    with suppress(HTTPParseError):
        response.feed(b"")
    if not response.message_complete:
        where = "in the middle of" if response.message_begun else "without"
        raise ConnectionResetError(f"the server closed it {where} an answer")
