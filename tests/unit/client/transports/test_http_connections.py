"""What HTTP/1.1 allows, on real sockets."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from modelport.client import Client
from modelport.client.call import Call
from modelport.client.exchange import Exchange
from modelport.client.options import Options
from modelport.client.transports.http import HttpTransport
from modelport.client.url import parse
from modelport.client.wire.http1 import HttpRequest, Response
from modelport.errors import ClientError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def connect(url: str, **options: object) -> HttpTransport:
    return HttpTransport(parse(url), Options(**options))  # type: ignore[arg-type]


def get(transport: HttpTransport, body: bytes = b"") -> Response:
    call = Call("http://test", timeout_s=10.0, expires_s=time.monotonic() + 10)
    request = HttpRequest("POST" if body else "GET", "/v2", parts=(body,), size=len(body))
    return transport.ask(call, Exchange(request, lambda _, response: response))


class Recorder:
    """Answers each request with the next of its answers and keeps what it read."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.answers = list(answers)
        self.close = close
        self.connections = 0
        self.requests: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        self.connections += 1
        while self.answers:
            request = connection.recv(65536)
            if not request:
                return
            self.requests.append(request)
            connection.sendall(self.answers.pop(0))
            if self.close:
                return


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",  # ends where the stream ends
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
def test_bodies_of_every_framing(answer: bytes, peer) -> None:
    transport = connect(f"127.0.0.1:{peer(Recorder(answer, close=True))}")
    response = get(transport)
    assert (response.status, bytes(response.body)) == (200, b"{}")


def test_a_connection_is_kept_and_used_again(peer) -> None:
    server = Recorder(OK, OK, OK)
    transport = connect(f"127.0.0.1:{peer(server)}")
    assert [bytes(get(transport).body) for _ in range(3)] == [b"{}"] * 3
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_not_used_again(peer) -> None:
    server = Recorder(OK, OK, OK, close=True)
    transport = connect(f"127.0.0.1:{peer(server)}")
    for _ in range(3):
        assert get(transport).status == 200
        time.sleep(0.05)  # let the FIN arrive
    assert server.connections == 3


def test_headers_host_and_base_path_are_sent(peer) -> None:
    server = Recorder(OK)
    port = peer(server)
    get(connect(f"http://127.0.0.1:{port}/base/", headers={"Authorization": "Bearer t"}))
    request = server.requests[0].decode()
    assert request.startswith("GET /base/v2 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n" in request
    assert "Authorization: Bearer t\r\n" in request


def test_a_large_body_arrives_whole(peer) -> None:
    body = os.urandom(3 << 20)
    received = bytearray()

    def swallow(connection: socket.socket) -> None:
        while len(received.partition(b"\r\n\r\n")[2]) < len(body):
            received.extend(connection.recv(1 << 20))
        connection.sendall(OK)

    assert get(connect(f"127.0.0.1:{peer(swallow)}"), body).status == 200
    assert received.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("headers", [{"a\r\nb": "c"}, {"a": "b\r\nc: d"}, {"": "x"}, {"ä": "x"}])
def test_headers_cannot_smuggle(headers: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="characters that no header may have"):
        Client("http://127.0.0.1:1", headers=headers)


def test_a_child_process_does_not_use_its_parents_connections(peer) -> None:
    server = Recorder(OK, OK)
    transport = connect(f"127.0.0.1:{peer(server)}")
    get(transport)
    assert len(transport._pool._idle) == 1
    transport._pool._pid += 1  # as after a fork
    get(transport)
    assert server.connections == 2


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_closed_client_says_so_and_closes_twice(scheme: str, closed_port: int) -> None:
    client = Client(f"{scheme}://127.0.0.1:{closed_port}")
    client.close()
    client.close()
    with pytest.raises(ClientError, match="this client is closed"):
        client.metadata("m")


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_timeout_is_a_positive_number(timeout_s: float) -> None:
    with pytest.raises(ClientError, match="positive number"):
        Client("http://127.0.0.1:1", timeout_s=timeout_s)


def test_many_threads_never_share_a_connection_at_a_time(peer) -> None:
    """The server echoes what it got: an answer to another thread's request would show."""

    def echo(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    transport = connect(f"127.0.0.1:{peer(echo)}")
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(50):
            body = b"%d-%d" % (number, turn)
            if bytes(get(transport, body).body) != body:
                wrong.append(body)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= len(transport._pool._idle) <= 16
