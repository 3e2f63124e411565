"""HTTP/1.1, blocking: plain sockets that threads share."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, Reply, StreamExchange
from modelport.client.options import Options
from modelport.client.transports.connection import (
    Connection,
    ConnectionPool,
    broken,
    is_deadline,
    unconnected,
)
from modelport.client.transports.headers import Headers
from modelport.client.url import Endpoint
from modelport.client.wire.generate import is_events, raise_unless_events
from modelport.client.wire.http import HttpWire
from modelport.client.wire.http1 import HeadWriter, HttpError, HttpRequest, Response
from modelport.errors import ConnectionLostError


class HttpTransport:
    """V2 over HTTP/1.1, from any number of threads."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.wire = HttpWire(options)
        self._headers = Headers(options.headers)
        self._heads = HeadWriter(endpoint, self._headers.fixed or {})
        self._pool = ConnectionPool(endpoint, options)
        self._running: dict[int, Connection] = {}
        # Others end a connection only while it belongs to the call that they mean.
        self._lock = threading.Lock()

    def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer.

        A server may close a kept connection just as it is used again, so a GET that such a
        connection loses is sent once more, on a new one; a POST may have been carried out.
        """
        request: HttpRequest = exchange.request
        head = self._head(call, request)
        kept = self._pool.take_idle(call)
        if kept is not None:
            again = suppress(ConnectionLostError) if request.method == "GET" else nullcontext()
            response = None
            with again:
                response = self._use(call, kept, head, request)
            if response is not None:
                return exchange.read(call, response)
        return exchange.read(call, self._use(call, Connection(), head, request))

    def stream(self, call: Call, exchange: StreamExchange) -> Iterator[Reply]:
        """Send a request and give its responses as they come; leaving it early hangs up."""
        events = exchange.reader(call)
        request: HttpRequest = exchange.request
        head = self._head(call, request)
        connection = self._pool.take_idle(call) or Connection()
        self._running[id(call)] = connection
        try:
            complete = self._begin(call, connection, head, request)
            while not complete:
                complete = connection.receive(call)
                if is_events(connection.reader.headers):
                    yield from events.feed(connection.reader.take())
        except (OSError, UnicodeError, HttpError) as error:
            self._drop(call, connection)
            raise self._fault(call, connection, error) from error
        except BaseException:  # GeneratorExit, too: the caller has heard enough
            self._drop(call, connection)
            raise
        response = self._release(call, connection)
        events.finish()
        raise_unless_events(call, response)

    def leave(self, call: Call) -> None:
        """End the call, if it runs, by closing its connection."""
        with self._lock:
            connection = self._running.get(id(call))
            if connection:
                connection.end()

    def close(self) -> None:
        """Close every connection; calls that run end."""
        owned = self._pool.owned()
        self._pool.close()
        with self._lock:
            for connection in list(self._running.values()) if owned else ():
                connection.end()

    def _head(self, call: Call, request: HttpRequest) -> bytes:
        if self._headers.fixed is not None and not call.headers:
            return self._heads.write(request)
        return self._heads.write(request, self._headers.of(call))

    def _use(
        self, call: Call, connection: Connection, head: bytes, request: HttpRequest
    ) -> Response:
        self._running[id(call)] = connection
        try:
            complete = self._begin(call, connection, head, request)
            while not complete:
                complete = connection.receive(call)
        except (OSError, UnicodeError, HttpError) as error:
            self._drop(call, connection)
            raise self._fault(call, connection, error) from error
        except BaseException:
            self._drop(call, connection)
            raise
        return self._release(call, connection)

    def _release(self, call: Call, connection: Connection) -> Response:
        response = connection.reader.response()
        with self._lock:
            del self._running[id(call)]
        self._pool.give_back(connection)
        return response

    def _drop(self, call: Call, connection: Connection) -> None:
        with self._lock:
            del self._running[id(call)]
        connection.close()

    def _fault(self, call: Call, connection: Connection, error: Exception) -> Exception:
        if connection.ended:
            return faults.closed(call) if self._pool.closed else faults.cancelled(call)
        return (broken if connection.opened else unconnected)(call, error)

    def _begin(self, call: Call, connection: Connection, head: bytes, request: HttpRequest) -> bool:
        """Send a request; tells whether its answer is there already."""
        if not connection.opened:
            connection.open(call, self._pool.route)
        return _send(call, connection, head, request)


def _send(call: Call, connection: Connection, head: bytes, request: HttpRequest) -> bool:
    """Send a request; tells whether its answer is there already.

    A server that hangs up before it has read everything may have said why.
    """
    try:
        connection.send(call, head, request.parts, request.size)
    except OSError as error:
        if is_deadline(error):
            raise
        try:
            while not connection.receive(call):
                pass
        except ssl.SSLError:
            raise
        except (OSError, HttpError):
            raise error from None
        connection.reader.spoil()
        return True
    return False
