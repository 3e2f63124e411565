"""gRPC, asyncio: one channel in one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, Reply, StreamExchange
from modelport.client.options import Options
from modelport.client.transports import channel
from modelport.client.transports.headers import Headers
from modelport.client.url import Endpoint
from modelport.client.wire.grpc import GrpcRequest, GrpcWire


class AsyncGrpcTransport:
    """V2 over gRPC in one event loop; another loop gets a channel of its own."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.wire = GrpcWire()
        self._metadata = channel.Metadata(Headers(options.headers))
        self._endpoint = endpoint
        self._settings = channel.settings(endpoint, options)
        self._compression = channel.compression(options)
        self._credentials = channel.credentials(options) if endpoint.secure else None
        self._channel: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._methods: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}
        self._pid = os.getpid()
        self._closed = False

    async def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer; a task that is cancelled cancels the request."""
        self._ready(call)
        request: GrpcRequest = exchange.request
        method = self._methods.get(request.method)
        if method is None:
            method = self._channel.unary_unary(channel.path(request.method))
            self._methods[request.method] = method
        rpc = method(request.message, timeout=call.remaining_s(), metadata=self._metadata.of(call))
        try:
            message = await rpc
        except grpc.RpcError as error:
            raise channel.fault(call, error, closed=self._closed) from error
        except asyncio.CancelledError as error:
            if self._ended_by_close():
                raise faults.closed(call) from error
            raise
        return exchange.read(call, message)

    async def stream(self, call: Call, exchange: StreamExchange) -> AsyncIterator[Reply]:
        """Send a request and give its responses as they come; leaving it early cancels."""
        self._ready(call)
        reader = exchange.reader(call)
        request: GrpcRequest = exchange.request
        method = self._streams.get(request.method)
        if method is None:
            method = self._channel.unary_stream(channel.path(request.method))
            self._streams[request.method] = method
        rpc = method(request.message, timeout=call.remaining_s(), metadata=self._metadata.of(call))
        try:
            # Read on after a refusal, as the blocking transport does.
            async for message in rpc:
                for reply in reader.feed(message):
                    yield reply
        except grpc.RpcError as error:
            raise channel.fault(call, error, closed=self._closed) from error
        except asyncio.CancelledError as error:
            if self._ended_by_close():
                raise faults.closed(call) from error
            raise
        finally:
            if not rpc.done():
                rpc.cancel()
        reader.finish()

    async def close(self) -> None:
        """Close the channel; calls that run end."""
        if not self._closed:
            self._closed = True
            if self._channel is not None and self._pid == os.getpid():
                await self._channel.close()

    def _ready(self, call: Call) -> None:
        """Have a channel for this loop."""
        if self._closed:
            raise faults.closed(call)
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._pid != os.getpid():
            raise faults.forked(call)
        self._loop, self._methods, self._streams = loop, {}, {}
        target = self._endpoint.target
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(target, self._settings, self._compression)
        else:
            self._channel = grpc.aio.secure_channel(
                target, self._credentials, self._settings, self._compression
            )

    def _ended_by_close(self) -> bool:
        """Whether a call was cancelled by its channel, and not by its task.

        grpc raises the same error for both; Python 3.10 cannot tell them apart.
        """
        task = asyncio.current_task()
        cancelling = getattr(task, "cancelling", None)
        return self._closed and not (cancelling and cancelling())
