"""Readiness of servers that hang, refuse, or come later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from modelport.client import Client, DeadlineExceededError
from modelport.client.testing import FakeServer

Peer = Callable[[Callable[[socket.socket], None]], int]


def hangs(connection: socket.socket) -> None:
    """Read whatever comes and never answer."""
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("first", [True, False])
def test_a_server_that_hangs_does_not_hide_one_that_is_ready(peer: Peer, first: bool) -> None:
    with FakeServer() as server:
        server.add("m", inputs={"x": ("FP32", [1])}, outputs={}, answer=lambda inputs: {})
        urls = [f"http://127.0.0.1:{peer(hangs)}", server.http_url]
        with Client(urls if first else urls[::-1], timeout_s=1.0) as client:
            assert client.ready("m")


def test_the_only_server_that_hangs_is_an_error(peer: Peer) -> None:
    with (
        Client(f"http://127.0.0.1:{peer(hangs)}", timeout_s=0.2) as client,
        pytest.raises(DeadlineExceededError, match="no answer"),
    ):
        client.ready()


def test_waiting_in_vain_tells_what_it_waited_for(closed_port: int) -> None:
    with (
        Client(f"http://127.0.0.1:{closed_port}") as client,
        pytest.raises(DeadlineExceededError, match=r"was not ready within 0\.2 s; last: no server"),
    ):
        client.wait_ready("m", timeout_s=0.2)


def test_waiting_ends_when_the_model_comes() -> None:
    with FakeServer() as server, Client(server.grpc_url) as client:
        assert not client.ready("late")
        late = threading.Timer(
            0.2, server.add, ("late",), {"inputs": {}, "outputs": {}, "answer": lambda inputs: {}}
        )
        late.start()
        client.wait_ready("late", timeout_s=20)
        assert client.ready("late")
        late.join()
