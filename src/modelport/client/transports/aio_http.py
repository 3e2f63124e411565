"""HTTP/1.1, asyncio: a pool of connections in one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, Reply, StreamExchange
from modelport.client.options import Options
from modelport.client.transports import tls
from modelport.client.transports.aio_connection import Connection
from modelport.client.transports.connection import (
    broken,
    gave_up,
    keep_alive,
    patience_s,
    unconnected,
)
from modelport.client.transports.headers import Headers
from modelport.client.url import Endpoint
from modelport.client.wire.generate import is_events, raise_unless_events
from modelport.client.wire.http import HttpWire
from modelport.client.wire.http1 import HeadWriter, HttpError, HttpRequest, Response
from modelport.errors import ConnectionLostError


class AsyncHttpTransport:
    """V2 over HTTP/1.1 in one event loop; another loop gets connections of its own."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.wire = HttpWire(options)
        self._endpoint, self._keepalive_s = endpoint, options.keepalive_s
        self._headers = Headers(options.headers)
        self._heads = HeadWriter(endpoint, self._headers.fixed or {})
        self._tls = tls.context(options.tls) if endpoint.secure else None
        self._name = (options.tls.server_name if options.tls else None) or endpoint.host
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Connection] = []
        self._running: set[Connection] = set()
        self._closed = False

    async def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer; a task that is cancelled closes its connection.

        A GET that a kept connection loses is sent once more, on a new one.
        """
        request: HttpRequest = exchange.request
        head = self._head(call, request)
        kept = self._take_idle(call)
        if kept is not None:
            try:
                response = await self._use(call, kept, head, request)
            except ConnectionLostError:
                if request.method != "GET":
                    raise
            else:
                return exchange.read(call, response)
        connection = await self._open(call)
        return exchange.read(call, await self._use(call, connection, head, request))

    async def stream(self, call: Call, exchange: StreamExchange) -> AsyncIterator[Reply]:
        """Send a request and give its responses as they come; leaving it early hangs up."""
        events = exchange.reader(call)
        request: HttpRequest = exchange.request
        head = self._head(call, request)
        connection = self._take_idle(call) or await self._open(call)
        self._begin(call, connection)
        try:
            await connection.send(head, request.parts, request.size)
            complete = False
            while not complete:
                complete = await connection.receive()
                if is_events(connection.reader.headers):
                    for reply in events.feed(connection.reader.take()):
                        yield reply
        except (OSError, HttpError) as error:
            self._drop(connection)
            raise self._fault(call, error) from error
        except BaseException:  # GeneratorExit, too: the caller has heard enough
            self._drop(connection)
            raise
        response = self._release(connection)
        events.finish()
        raise_unless_events(call, response)

    async def close(self) -> None:
        """Close every connection; calls that run end."""
        self._closed = True
        for connection in self._running:
            connection.fail(ConnectionAbortedError("closed"))
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes sockets in its next turn

    def _head(self, call: Call, request: HttpRequest) -> bytes:
        if self._headers.fixed is not None and not call.headers:
            return self._heads.write(request)
        return self._heads.write(request, self._headers.of(call))

    async def _use(
        self, call: Call, connection: Connection, head: bytes, request: HttpRequest
    ) -> Response:
        self._begin(call, connection)
        try:
            await connection.send(head, request.parts, request.size)
            while not await connection.receive():
                pass
        except (OSError, HttpError) as error:
            self._drop(connection)
            raise self._fault(call, error) from error
        except BaseException:
            self._drop(connection)
            raise
        return self._release(connection)

    def _begin(self, call: Call, connection: Connection) -> None:
        try:
            connection.begin(call)
        except BaseException:
            connection.abort()
            raise
        self._running.add(connection)

    def _release(self, connection: Connection) -> Response:
        response = connection.reader.response()
        self._running.discard(connection)
        if connection.end() and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return response

    def _drop(self, connection: Connection) -> None:
        self._running.discard(connection)
        connection.abort()

    def _fault(self, call: Call, error: Exception) -> Exception:
        return faults.closed(call) if self._closed else broken(call, error)

    def _take_idle(self, call: Call) -> Connection | None:
        if self._closed:
            raise faults.closed(call)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._idle, self._running = loop, [], set()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _open(self, call: Call) -> Connection:
        loop, left = asyncio.get_running_loop(), call.remaining_s()
        opening = loop.create_connection(
            Connection,
            self._endpoint.address or self._endpoint.host,
            self._endpoint.port,
            ssl=self._tls,
            server_hostname=self._name if self._tls else None,
        )
        try:
            transport, connection = await asyncio.wait_for(opening, patience_s(left))
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            late = isinstance(error, asyncio.TimeoutError) and not getattr(error, "errno", None)
            raise unconnected(call, gave_up(left) if late else error) from error
        if self._closed:
            connection.abort()
            raise faults.closed(call)
        opened: socket.socket | None = transport.get_extra_info("socket")
        if opened is not None:  # it is still open
            keep_alive(opened, self._keepalive_s)
        return connection
