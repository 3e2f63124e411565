"""Connections that do not come about, and those that the kernel gives up."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from askers import Asker

from modelport.client.call import Call
from modelport.client.exchange import Exchange
from modelport.client.options import Options
from modelport.client.transports import aio_connection, channel, connection
from modelport.client.transports.http import HttpTransport
from modelport.client.url import parse
from modelport.client.wire.http1 import HttpRequest
from modelport.errors import (
    CallCancelledError,
    ConnectionLostError,
    DeadlineExceededError,
    ServerUnreachableError,
)

GET = Exchange(HttpRequest("GET", "/v2"), lambda _, response: response)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port whose queue of connections is full: the kernel answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
        for one in waiting:
            one.close()


@pytest.mark.parametrize("kind", ["http", "aio_http", "grpc", "aio_grpc"])
def test_no_connection_is_not_waited_for_until_the_end(
    kind: str, black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)
    quick = dict(channel._ALWAYS) | {"grpc.min_reconnect_backoff_ms": 200}
    monkeypatch.setattr(channel, "_ALWAYS", tuple(quick.items()))
    asker = Asker(kind, f"{kind.removeprefix('aio_')}://127.0.0.1:{black_hole}")
    with pytest.raises(ServerUnreachableError) as caught:
        asker.ask("metadata", asker.call("m"))
    assert type(caught.value) is ServerUnreachableError
    asker.stop()
    asker = Asker(kind, asker.endpoint)
    with pytest.raises(DeadlineExceededError):
        asker.ask("metadata", asker.call("m", 0.1))
    asker.stop()


def test_a_call_that_connects_can_be_cancelled(
    black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1000.0)
    asker = Asker("http", f"http://127.0.0.1:{black_hole}")
    running = asker.begin("metadata", asker.call("m", 1000.0, leavable=True))
    connections = asker.transport._running
    while not any(hasattr(one, "_socket") for one in list(connections.values())):
        time.sleep(0.001)
    time.sleep(0.05)  # until its thread waits for the server
    running.cancel()
    assert isinstance(running._future.exception(timeout=10), CallCancelledError)
    asker.stop()


def test_a_call_that_is_cancelled_before_it_has_a_socket(peer) -> None:
    """The name is still looked up: nothing is sent afterwards."""
    asked = threading.Event()
    port = peer(lambda opened: asked.set() if opened.recv(1) else None)
    transport = HttpTransport(parse(f"http://127.0.0.1:{port}"), Options())
    call = Call("http://h", 10.0, time.monotonic() + 10)
    opening = connection.Connection()
    opening.end()
    with pytest.raises(CallCancelledError):
        transport._use(call, opening, b"GET / HTTP/1.1\r\n\r\n", GET.request)
    assert not asked.is_set()
    assert not transport._running


def test_the_kernels_timeouts_are_not_the_callers() -> None:
    call = Call("http://h:1", 60.0, time.monotonic() + 60, model="m")
    given_up, over = OSError(errno.ETIMEDOUT, "Connection timed out"), TimeoutError("timed out")
    assert isinstance(given_up, TimeoutError)
    kinds = [
        (connection.broken, given_up, ConnectionLostError),
        (connection.broken, over, DeadlineExceededError),
        (connection.unconnected, given_up, ServerUnreachableError),
        (connection.unconnected, over, DeadlineExceededError),
    ]
    for make, error, kind in kinds:
        made = make(call, error)
        assert type(made) is kind
        if error is given_up:
            assert "Connection timed out" in str(made)


def test_the_kernel_gives_up_a_connection_of_an_event_loop() -> None:
    async def lose() -> None:
        lost = aio_connection.Connection()
        lost.begin(Call("http://h:1", 60.0, time.monotonic() + 60))
        lost.connection_lost(OSError(errno.ETIMEDOUT, "Connection timed out"))
        with pytest.raises(TimeoutError) as caught:
            await lost.receive()
        assert not connection.is_deadline(caught.value)

    asyncio.run(lose())
