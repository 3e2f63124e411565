"""gRPC, blocking: one channel that threads share.

tritonclient's own client copies each tensor twice more than needed, has no call that another
thread could end, and knows one stream at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from grpc.experimental import ChannelOptions

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, Reply, StreamExchange
from modelport.client.options import Options
from modelport.client.transports import channel
from modelport.client.transports.headers import Headers
from modelport.client.url import Endpoint
from modelport.client.wire.grpc import GrpcRequest, GrpcWire


class GrpcTransport:
    """V2 over gRPC, from any number of threads.

    A plain call is the cheapest that grpc has, and nothing but the end of its channel ends it from
    outside. A call that may be left is made as a future, and goes on by itself when it is: of
    cancellations that meet the answer, tritonserver 2.51 dies (Signal 11; perf/early_ends.py).
    """

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.wire = GrpcWire()
        self._metadata = channel.Metadata(Headers(options.headers))
        self._channel = _open(endpoint, options)
        self._methods: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}
        self._leavable: dict[int, threading.Event] = {}
        self._pid = os.getpid()
        self._closed = False

    def ask(self, call: Call, exchange: Exchange[Answer]) -> Answer:
        """Send a request and read its answer."""
        self._check(call)
        request = exchange.request
        try:
            method = self._methods.get(request.method) or self._make(request.method)
            if call.leavable:
                message = self._ask_leavable(call, request, method)
            else:
                message = method(request.message, call.remaining_s(), self._metadata.of(call))
        except grpc.RpcError as error:
            raise channel.fault(call, error, closed=self._closed) from error
        except ValueError as error:  # grpc's answer when another thread closed the channel
            if self._closed:
                raise faults.closed(call) from error
            raise
        return exchange.read(call, message)

    def stream(self, call: Call, exchange: StreamExchange) -> Iterator[Reply]:
        """Send a request and give its responses as they come; leaving it early cancels."""
        self._check(call)
        reader = exchange.reader(call)
        rpc = None
        try:
            rpc = self._start(call, exchange.request)
            # Read on after a refusal: streams that are cancelled while they end can end
            # tritonserver (Signal 11; tried: 2.51.0).
            for message in rpc:
                yield from reader.feed(message)
        except grpc.RpcError as error:
            raise channel.fault(call, error, closed=self._closed) from error
        except ValueError as error:
            if self._closed:
                raise faults.closed(call) from error
            raise
        finally:
            if rpc is not None and rpc.is_active():
                rpc.cancel()
        reader.finish()

    def leave(self, call: Call) -> None:
        """Wait no longer for the call, if it runs and is leavable; the server is not told."""
        ended = self._leavable.get(id(call))
        if ended is not None:
            ended.set()

    def close(self) -> None:
        """Close the channel; calls that run end."""
        if not self._closed:
            self._closed = True
            if self._pid == os.getpid():  # a child has nothing of the channel but its memory
                self._channel.close()

    def _check(self, call: Call) -> None:
        if self._closed:
            raise faults.closed(call)
        if self._pid != os.getpid():
            raise faults.forked(call)

    def _make(self, method: str) -> Any:
        made = self._methods[method] = self._channel.unary_unary(channel.path(method))
        return made

    def _ask_leavable(self, call: Call, request: GrpcRequest, method: Any) -> bytes:
        rpc = method.future(request.message, call.remaining_s(), self._metadata.of(call))
        ended = self._leavable[id(call)] = threading.Event()
        try:
            rpc.add_done_callback(lambda _: ended.set())
            ended.wait()
        except BaseException:  # KeyboardInterrupt
            rpc.cancel()
            raise
        finally:
            del self._leavable[id(call)]
        if not rpc.done():
            raise faults.cancelled(call)
        answer: bytes = rpc.result()
        return answer

    def _start(self, call: Call, request: GrpcRequest) -> Any:
        method = self._streams.get(request.method)
        if method is None:
            method = self._channel.unary_stream(channel.path(request.method))
            self._streams[request.method] = method
        # Without Triton's `triton_grpc_error`, which would give a stream's refusals a status:
        # streams that are refused side by side then end tritonserver (Signal 11; tried: 2.51.0).
        return method(request.message, call.remaining_s(), self._metadata.of(call))


def _open(endpoint: Endpoint, options: Options) -> grpc.Channel:
    settings = [
        *channel.settings(endpoint, options),
        (ChannelOptions.SingleThreadedUnaryStream, 1),
    ]
    compression = channel.compression(options)
    if endpoint.secure:
        return grpc.secure_channel(
            endpoint.target, channel.credentials(options), settings, compression
        )
    return grpc.insecure_channel(endpoint.target, settings, compression)
