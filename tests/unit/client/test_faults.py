"""Each way that a peer can fail has its own class, over both transports."""

from __future__ import annotations

import socket
import time

import pytest

from modelport.client import Client
from modelport.client.call import Call
from modelport.client.faults import from_server, from_stream
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    ResolveError,
    ServerFaultError,
    ServerRefusedError,
    UnauthenticatedError,
    UnauthorizedError,
)

SCHEMES = ["http", "grpc"]


def ask(url: str, timeout_s: float = 20.0) -> ClientError:
    with Client(url, timeout_s=timeout_s) as client, pytest.raises(ClientError) as caught:
        client.infer("m", {"x": [1]}, request_id="r-1")
    error = caught.value
    assert error.objects["endpoint"] == url
    assert error.objects["model"] == "m"
    assert error.objects["request_id"] == "r-1"
    return error


@pytest.mark.parametrize("scheme", SCHEMES)
class TestPeers:
    def test_closed_port(self, scheme: str, closed_port: int) -> None:
        error = ask(f"{scheme}://127.0.0.1:{closed_port}")
        assert type(error) is ServerRefusedError
        assert str(closed_port) in error.what

    def test_no_such_host(self, scheme: str) -> None:
        assert type(ask(f"{scheme}://no-such-host.invalid:1")) is ResolveError

    def test_accepts_and_never_answers(self, scheme: str, peer) -> None:
        port = peer(lambda connection: time.sleep(30))
        error = ask(f"{scheme}://127.0.0.1:{port}", timeout_s=0.5)
        assert type(error) is DeadlineExceededError
        assert "within 0.5 s" in error.what

    def test_speaks_something_else(self, scheme: str, peer) -> None:
        port = peer(lambda connection: _say(connection, b"SSH-2.0-OpenSSH_9.2\r\n"))
        error = ask(f"{scheme}://127.0.0.1:{port}")
        assert type(error) is ProtocolError
        assert ("grpc://" if scheme == "http" else "http://") in str(error)


def test_http_peer_that_closes_without_an_answer(peer) -> None:
    port = peer(lambda connection: connection.recv(65536))
    error = ask(f"http://127.0.0.1:{port}")
    assert type(error) is ConnectionLostError
    assert "without an answer" in error.what


def test_http_peer_that_closes_a_kept_connection_as_it_is_used_again(peer) -> None:
    """The metadata is answered; the configuration is asked for on the same connection."""
    asked: list[bytes] = []

    def answer_once(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        asked.append(connection.recv(65536))  # read, and never answered

    port = peer(answer_once)
    error = ask(f"http://127.0.0.1:{port}")
    assert type(error) is ProtocolError
    assert [request.split()[1] for request in asked if request] == [
        b"/v2/models/m", b"/v2/models/m/config", b"/v2/models/m/config"
    ]  # fmt: skip


def test_http_peer_that_closes_in_the_middle_of_the_answer(peer) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    error = ask(f"http://127.0.0.1:{peer(lambda c: _say(c, half))}")
    assert type(error) is ConnectionLostError
    assert "in the middle" in error.what


def test_http_peer_that_drips_is_held_to_the_deadline(peer) -> None:
    """The time is for the whole call: a byte now and then does not prolong it."""

    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    assert type(ask(f"http://127.0.0.1:{peer(drip)}", timeout_s=0.5)) is DeadlineExceededError


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"200 OK\r\nContent-Length: 5\r\n\r\nhello", ProtocolError),  # not JSON
        (b"200 OK\r\nContent-Length: 2\r\n\r\n[]", ProtocolError),  # not metadata
        (b"404 Not Found\r\nContent-Length: 4\r\n\r\nnope", ProtocolError),  # a web server
        (b"302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"401 Unauthorized\r\nContent-Length: 0\r\n\r\n", UnauthenticatedError),
        (b"403 Forbidden\r\nContent-Length: 0\r\n\r\n", UnauthorizedError),
        (b"429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", OverloadedError),
        (b"502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", ConnectionLostError),
        (b"503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ConnectionLostError),
        (b'503 Unavailable\r\nContent-Length: 16\r\n\r\n{"error":"wait"}', NotReadyError),
        (b"504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", DeadlineExceededError),
        (b'500 Error\r\nContent-Length: 15\r\n\r\n{"error":"bug"}', ServerFaultError),
    ],
)
def test_what_http_servers_and_proxies_answer(answer: bytes, kind: type, peer) -> None:
    port = peer(lambda connection: _say(connection, b"HTTP/1.1 " + answer))
    assert type(ask(f"http://127.0.0.1:{port}")) is kind


CALL = Call("grpc://h:1", timeout_s=1.0, expires_s=0.0, model="m", version="2", request_id="r")


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("INVALID_ARGUMENT", "unexpected shape for input 'x'", InvalidInputError),
        ("NOT_FOUND", "Request for unknown model: 'm' is not found", ModelNotFoundError),
        ("NOT_FOUND", "Request for unknown model: 'm' has no available versions", NotReadyError),
        ("UNAVAILABLE", "[request id: r] Exceeds maximum queue size", OverloadedError),
        ("RESOURCE_EXHAUSTED", "Too many requests", OverloadedError),
        ("UNAVAILABLE", "Server is stopping", NotReadyError),
        ("UNAVAILABLE", "no healthy upstream", NotReadyError),
        ("UNAVAILABLE", "upstream connect error, reset reason: x", ConnectionLostError),
        ("UNAVAILABLE", "Request timeout expired", DeadlineExceededError),
        ("DEADLINE_EXCEEDED", "", DeadlineExceededError),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'k'", UnauthorizedError),
        ("UNAUTHENTICATED", "", UnauthenticatedError),
        ("UNIMPLEMENTED", "unknown service", ProtocolError),
        ("UNIMPLEMENTED", "doesn't support models with decoupled transaction policy", ClientError),
        ("INTERNAL", "the model tripped", ServerFaultError),
        ("UNKNOWN", "who knows", ServerFaultError),
        ("A_NEW_CODE", "", ServerFaultError),
    ],
)
def test_the_servers_words(code: str, message: str, kind: type) -> None:
    error = from_server(CALL, code, message)
    assert type(error) is kind
    assert error.objects["model"] == "m"
    assert error.objects["version"] == "2"
    assert "h:1" in error.what


def test_a_traceback_of_the_server_stays_out_of_the_message() -> None:
    message = "Failed to process: RuntimeError: tripped\n\nAt:\n  /srv/model.py(3): execute"
    error = from_server(CALL, "INTERNAL", message)
    assert "tripped" in error.what
    assert "model.py" not in str(error)
    assert error.objects["server_message"] == message


def test_a_dead_stub_is_told_from_a_model_that_failed() -> None:
    dead = from_server(CALL, "INTERNAL", "Stub process 'm_0_0' is not healthy.")
    assert dead.next_step == "unload and load the model"
    assert from_server(CALL, "INTERNAL", "tripped").next_step != dead.next_step


def _say(connection: socket.socket, words: bytes) -> None:
    connection.recv(65536)
    connection.sendall(words)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("item 0: the text is empty", InvalidInputError),
        ("unexpected inference input 'y' for model 'm'", InvalidInputError),
        ("Request for unknown model: 'm' is not found", ModelNotFoundError),
        ("Request for unknown model: 'm' has no available versions", NotReadyError),
        ("KeyError in the model's code", ServerFaultError),
        ("Failed to process the request(s) for model 'm', message: boom", ServerFaultError),
        ("Stub process 'm_0' is not healthy.", ServerFaultError),
        ("Exceeds maximum queue size", OverloadedError),
    ],
)
def test_a_refusal_inside_a_stream_is_told_by_its_words(text: str, kind: type) -> None:
    assert type(from_stream(Call("grpc://h", 1.0, 0.0, model="m"), text)) is kind
