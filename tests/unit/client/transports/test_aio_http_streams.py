"""Connections in an event loop, whose consumer is slow or whose bytes come encrypted."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from certificates import Authority, TlsProxy

from modelport.client.call import Call
from modelport.client.exchange import Exchange, Inference, StreamExchange
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.options import TLS, Options
from modelport.client.transports.aio_http import AsyncHttpTransport
from modelport.client.url import parse
from modelport.client.wire.http1 import HttpRequest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODEL = ModelMetadata("m", ("1",), "p", (), (TensorMetadata("t", "BYTES", (1,)),), 0)


def chunk(text: str) -> bytes:
    event = b"data: %b\n\n" % json.dumps({"t": text}).encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def connect(port: int, scheme: str = "http", **options: object) -> AsyncHttpTransport:
    return AsyncHttpTransport(parse(f"{scheme}://127.0.0.1:{port}"), Options(**options))  # type: ignore[arg-type]


def begin() -> Call:
    return Call("http://test", 10.0, time.monotonic() + 10, model="m")


def streaming(transport: AsyncHttpTransport, call: Call) -> StreamExchange:
    return transport.wire.stream(call, Inference((), model=MODEL))


def test_what_comes_while_the_consumer_is_busy_is_not_missed(peer) -> None:
    """The server sends its last event only when it is told that the second one was seen."""
    go, seen = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + chunk("1"))
        go.wait(10)
        connection.sendall(chunk("2"))
        seen.wait(30)  # beyond the call
        connection.sendall(chunk("3") + b"0\r\n\r\n")

    async def consume(transport: AsyncHttpTransport) -> list[bytes]:
        call, texts = begin(), []
        async for reply in transport.stream(call, streaming(transport, call)):
            texts.append(reply.outputs["t"][0])
            if len(texts) == 1:
                (connection,) = transport._running
                go.set()
                while not connection.reader.waiting:
                    await asyncio.sleep(0.001)
            else:
                seen.set()
        await transport.close()
        return texts

    assert asyncio.run(consume(connect(peer(serve)))) == [b"1", b"2", b"3"]


def test_a_stream_that_was_held_back_goes_on(peer) -> None:
    texts = [f"{number}" * 1000 for number in range(3000)]

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"".join(map(chunk, texts)) + b"0\r\n\r\n")
        connection.recv(1)

    async def consume(transport: AsyncHttpTransport) -> int:
        call, count = begin(), 0
        async for _ in transport.stream(call, streaming(transport, call)):
            if count == 0:
                (connection,) = transport._running
                while not connection._held:
                    await asyncio.sleep(0.001)
            count += 1
        await transport.close()
        return count

    assert asyncio.run(consume(connect(peer(serve)))) == len(texts)


@pytest.mark.parametrize("size", [2, 30_000, 200_000])
def test_encrypted_connections_are_kept(size: int, peer, tmp_path: Path) -> None:
    connections: list[int] = []

    def serve(connection: socket.socket) -> None:
        connections.append(1)
        while connection.recv(65536):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            connection.sendall(head + bytes(size))

    async def ask(port: int) -> None:
        transport = connect(port, "https", tls=TLS(authority.ca))
        exchange = Exchange(HttpRequest("GET", "/"), lambda _, response: len(response.body))
        for _ in range(4):
            assert await transport.ask(begin(), exchange) == size
        await transport.close()

    authority = Authority(tmp_path)
    with TlsProxy(authority.issue("127.0.0.1"), peer(serve)) as proxy:
        asyncio.run(ask(proxy.port))
    assert len(connections) == 1
