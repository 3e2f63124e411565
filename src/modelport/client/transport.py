"""What a client needs of a transport, and the tables of those there are.

Each is imported when the first endpoint of its scheme is opened: a program that
speaks HTTP alone never loads grpc, and the other way round.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import Any, Protocol, cast

from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, Reply, StreamExchange, Wire
from modelport.client.options import Options
from modelport.client.url import Endpoint


class Transport(Protocol):
    """One protocol spoken with one endpoint by blocking, from any number of threads.

    Every method raises errors of :mod:`modelport.errors` only, within the time of its call.
    """

    @property
    def wire(self) -> Wire:
        """What makes the requests that this transport sends."""

    def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer."""

    def stream(self, call: Call, exchange: StreamExchange) -> Iterator[Reply]:
        """Send a request and give its responses as they come; closing it early cancels it."""

    def leave(self, call: Call) -> None:
        """End the running :meth:`ask` of this very call, from another thread.

        It raises :class:`~modelport.errors.CallCancelledError` then; the server may work on.
        Nothing happens when the call does not run, or when it is not ``leavable``.
        """

    def close(self) -> None:
        """Close every connection; calls that run end, and calls after this fail."""


class AsyncTransport(Protocol):
    """One protocol spoken with one endpoint in one event loop.

    A task that is cancelled cancels its request.
    """

    @property
    def wire(self) -> Wire:
        """What makes the requests that this transport sends."""

    async def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer."""

    def stream(self, call: Call, exchange: StreamExchange) -> AsyncIterator[Reply]:
        """Send a request and give its responses as they come; closing it early cancels it."""

    async def close(self) -> None:
        """Close every connection; calls that run end, and calls after this fail."""


_PACKAGE = "modelport.client.transports"
_BLOCKING = {"http": ("http", "HttpTransport"), "grpc": ("grpc", "GrpcTransport")}
_ASYNC = {"http": ("aio_http", "AsyncHttpTransport"), "grpc": ("aio_grpc", "AsyncGrpcTransport")}


def connect(endpoint: Endpoint, options: Options) -> Transport:
    """Make the transport that the endpoint's scheme asks for; nothing is sent yet.

    Raises:
        ClientError: a header or a certificate is of no use.
    """
    return cast("Transport", _find(_BLOCKING, endpoint)(endpoint, options))


def connect_async(endpoint: Endpoint, options: Options) -> AsyncTransport:
    """Make the asyncio transport of the endpoint's scheme, in the loop that will use it.

    Raises:
        ClientError: as for :func:`connect`.
    """
    return cast("AsyncTransport", _find(_ASYNC, endpoint)(endpoint, options))


def _find(table: dict[str, tuple[str, str]], endpoint: Endpoint) -> Any:
    module, name = table[endpoint.protocol]
    return getattr(import_module(f"{_PACKAGE}.{module}"), name)
