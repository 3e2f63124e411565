"""What HTTP/1.1 allows, on real sockets, blocking and asyncio."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from askers import Asker
from certificates import Authority

from modelport.client import Client
from modelport.client.exchange import Exchange
from modelport.client.faults import Call
from modelport.client.options import TLS, Options
from modelport.client.transports.connection import ConnectionPool
from modelport.client.transports.http import HttpTransport
from modelport.client.url import parse
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HttpRequest, Response
from modelport.errors import ClientError, ConnectionLostError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Connect = Callable[..., Asker]


@pytest.fixture(params=["http", "aio_http"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    askers: list[Asker] = []

    def make(port: int, path: str = "", **options: object) -> Asker:
        scheme = "https" if "tls" in options else "http"
        url = f"{scheme}://127.0.0.1:{port}{path}"
        askers.append(Asker(request.param, url, **options))
        return askers[-1]

    yield make
    for asker in askers:
        asker.stop()


def get(asker: Asker, *parts: Buffer, **fields: Any) -> Response:
    size = sum(map(len, parts))
    request = HttpRequest("POST" if parts else "GET", "/v2", parts=parts, size=size)
    answer: Response = asker.send(asker.call(**fields), Exchange(request, lambda _, r: r))
    return answer


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
def test_bodies_of_every_framing(answer: bytes, peer, connect: Connect) -> None:
    response = get(connect(peer(Recorder(answer, close=True))))
    assert (response.status, bytes(response.body)) == (200, b"{}")


def test_a_connection_is_kept_and_used_again(peer, connect: Connect) -> None:
    server = Recorder(OK, OK, OK)
    asker = connect(peer(server))
    assert [bytes(get(asker).body) for _ in range(3)] == [b"{}"] * 3
    assert server.connections == 1


@pytest.mark.parametrize("answer", [OK, OK + b"more than was asked for"])
def test_a_connection_that_ended_or_was_spoilt_is_not_used_again(
    answer: bytes, peer, connect: Connect
) -> None:
    server = Recorder(answer, answer, answer, close=answer == OK)
    asker = connect(peer(server))
    for _ in range(3):
        assert get(asker).status == 200
        time.sleep(0.05)  # let the FIN arrive
    assert server.connections == 3


def test_a_get_that_a_kept_connection_loses_is_sent_again_and_a_post_is_not(
    peer, connect: Connect
) -> None:
    connections = []

    def once(connection: socket.socket) -> None:
        connections.append(connection)
        connection.recv(65536)
        connection.sendall(OK)
        connection.recv(65536)  # read, and never answered

    asker = connect(peer(once))
    assert [get(asker).status for _ in range(2)] == [200, 200]
    assert len(connections) == 2
    with pytest.raises(ConnectionLostError, match="without an answer"):
        get(asker, b"x")


def test_headers_host_and_base_path_are_sent(peer, connect: Connect) -> None:
    server, tokens = Recorder(OK, OK), iter("ab")
    port = peer(server)
    asker = connect(port, "/base/", headers=lambda: {"Authorization": f"Bearer {next(tokens)}"})
    get(asker)
    get(asker, headers={"authorization": "mine", "X-Trace": "1"})
    first, second = (request.decode() for request in server.requests)
    assert first.startswith("GET /base/v2 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n" in first
    assert "Authorization: Bearer a\r\n" in first
    assert "authorization: mine\r\nX-Trace: 1\r\n" in second
    assert "Bearer" not in second


def test_a_large_body_arrives_whole(peer, connect: Connect) -> None:
    parts = [os.urandom(size) for size in (100, 3 << 20, 1, 0, 1 << 20)]
    body, received = b"".join(parts), bytearray()

    def swallow(connection: socket.socket) -> None:
        while len(received.partition(b"\r\n\r\n")[2]) < len(body):
            received.extend(connection.recv(1 << 20))
        connection.sendall(OK)

    assert get(connect(peer(swallow)), *parts).status == 200
    assert received.partition(b"\r\n\r\n")[2] == body


def test_a_server_that_answers_before_it_has_read_everything(peer, connect: Connect) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    assert get(connect(peer(refuse)), bytes(8 << 20)).status == 413


def test_the_kernel_probes_silent_connections(peer) -> None:
    pool = ConnectionPool(parse(f"127.0.0.1:{peer(Recorder(OK))}"), Options(keepalive_s=7))
    connection = pool.open(Call("http://h", 5.0, time.monotonic() + 5))
    opened = connection._socket
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
    connection.close()


def test_a_child_process_does_not_use_its_parents_connections(peer) -> None:
    server = Recorder(OK, OK)
    asker = Asker("http", f"127.0.0.1:{peer(server)}")
    transport: HttpTransport = asker.transport
    get(asker)
    transport._pool._pid += 1  # as after a fork
    get(asker)
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


def echo(connection: socket.socket) -> None:
    """Answer each request with its body."""
    while request := connection.recv(65536):
        body = request.partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_many_callers_never_share_a_connection_at_a_time(peer, connect: Connect) -> None:
    """The server echoes what it got: an answer to another caller's request would show."""
    asker = connect(peer(echo))

    def work(number: int) -> list[bytes]:
        bodies = [b"%d-%d" % (number, turn) for turn in range(30)]
        return [body for body in bodies if bytes(get(asker, body).body) != body]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == [[]] * 16


def test_cancelling_one_call_leaves_the_others_alone(peer, connect: Connect) -> None:
    """A connection may have been handed on by the time that it would be shut down."""
    asker = connect(peer(echo))
    exchange = Exchange(HttpRequest("POST", "/v2", parts=(b"x",), size=1), lambda _, r: r)
    calls = [asker.call(cancellable=True) for _ in range(200)]

    def cancel() -> None:
        for call in calls:
            asker.transport.cancel(call)

    if not hasattr(asker.transport, "cancel"):
        pytest.skip("tasks are cancelled, not calls")
    other = threading.Thread(target=cancel)
    other.start()
    for number in range(200):
        assert bytes(asker.send(asker.call(), exchange).body) == b"x", number
    other.join()


def test_tls_connections_are_kept_and_carry_large_bodies(
    tmp_path: Path, peer, connect: Connect
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    body, connections = os.urandom(2 << 20), []

    def serve(plain: socket.socket) -> None:
        connections.append(plain)
        with context.wrap_socket(plain, server_side=True) as connection:
            received = bytearray()
            while data := connection.recv(1 << 16):
                received += data
                got = received.partition(b"\r\n\r\n")[2]
                if len(got) == len(body):
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                    connection.sendall(answer % (len(got), got))
                    received.clear()

    asker = connect(peer(serve), tls=TLS(authority.ca))
    for _ in range(3):
        assert bytes(get(asker, body).body) == body
    assert len(connections) == 1
