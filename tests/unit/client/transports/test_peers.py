"""Each way that a peer can fail has its own class, over all four transports."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from askers import KINDS, Asker, scheme_of
from certificates import Authority, TlsProxy

from modelport.client.options import TLS
from modelport.client.retry import is_repeatable
from modelport.client.url import parse
from modelport.errors import (
    CallCancelledError,
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    ProtocolError,
    ResolveError,
    ServerRefusedError,
    ServerUnreachableError,
    TLSError,
)

Connect = Callable[..., Asker]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(kind: str) -> Iterator[Connect]:
    askers: list[Asker] = []

    def make(port: int, host: str = "127.0.0.1", **options: object) -> Asker:
        secure = "s" if "tls" in options else ""
        url = f"{scheme_of(kind)}{secure}://{host}:{port}"
        askers.append(Asker(kind, url, **options))
        return askers[-1]

    yield make
    for asker in askers:
        asker.stop()


def fails(asker: Asker, timeout_s: float = 20.0) -> ClientError:
    """Ask for metadata; gives the error, which carries what it is about."""
    call = asker.call("m", timeout_s, version="2", request_id="r-1", attempts=3)
    with pytest.raises(ClientError) as caught:
        asker.ask("metadata", call)
    objects = caught.value.objects
    assert objects["endpoint"] == str(asker.endpoint)
    about = {"model": "m", "version": "2", "request_id": "r-1", "attempts": 3}
    assert {name: objects[name] for name in about} == about
    return caught.value


def test_closed_port(connect: Connect, closed_port: int) -> None:
    error = fails(connect(closed_port))
    assert type(error) is ServerRefusedError
    assert str(closed_port) in error.what
    assert type(fails(connect(closed_port, "localhost"))) is ServerRefusedError


def test_no_such_host(connect: Connect) -> None:
    assert type(fails(connect(1, "no-such-host.invalid"))) is ResolveError


def test_accepts_and_never_answers(connect: Connect, peer) -> None:
    error = fails(connect(peer(lambda connection: time.sleep(30))), 0.3)
    assert type(error) is DeadlineExceededError
    assert "within 0.3 s" in error.what


def test_killed_before_its_first_word(connect: Connect, peer) -> None:
    """Nothing was sent, so that the next server is asked, and this one later."""

    def die(connection: socket.socket) -> None:
        time.sleep(0.02)  # what has arrived meanwhile is not read: the kernel breaks off
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    error = fails(connect(peer(die)))
    assert isinstance(error, (ServerUnreachableError, ConnectionLostError))
    assert is_repeatable(error, idempotent=True)


def test_speaks_something_else(connect: Connect, kind: str, peer) -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    error = fails(connect(peer(greet)))
    assert type(error) is ProtocolError
    assert ("grpc://" if kind.endswith("http") else "http://") in str(error)


def test_a_call_that_waits_can_be_cancelled_and_closed(connect: Connect, peer) -> None:
    connected = threading.Semaphore(0)

    def wait(connection: socket.socket) -> None:
        while connection.recv(65536):
            connected.release()

    for end in ("cancel", "close"):
        asker = connect(peer(wait))
        running = asker.begin("metadata", asker.call("m", leavable=True))
        assert connected.acquire(timeout=10)
        time.sleep(0.05)  # until its thread waits for the answer
        running.cancel() if end == "cancel" else asker.close()
        outcome = running.outcome()
        if end == "cancel":
            assert isinstance(outcome, CallCancelledError)
        else:
            assert "closed" in str(outcome)


# --- TLS -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_a_certificate_that_nobody_trusts(connect: Connect, authority: Authority) -> None:
    with TlsProxy(authority.issue("127.0.0.1")) as proxy:
        error = fails(connect(proxy.port, tls=TLS()))
    assert type(error) is TLSError
    assert "TLS(ca=" in str(error)


def test_a_certificate_that_expired(connect: Connect, authority: Authority) -> None:
    with TlsProxy(authority.issue("127.0.0.1", expired=True)) as proxy:
        error = fails(connect(proxy.port, tls=TLS(authority.ca)))
    assert type(error) is TLSError
    assert "out of date" in str(error)


def test_a_certificate_of_another_name(connect: Connect, authority: Authority) -> None:
    with TlsProxy(authority.issue("other.example")) as proxy:
        error = fails(connect(proxy.port, "localhost", tls=TLS(authority.ca)))
        assert type(error) is TLSError
        assert "server_name" in str(error)
        right = connect(proxy.port, tls=TLS(authority.ca, server_name="other.example"))
        assert not isinstance(fails(right, 0.3), TLSError)


def test_a_server_that_wants_a_certificate(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    stranger = Authority(tmp_path, "strangers").issue("client")
    with TlsProxy(authority.issue("127.0.0.1"), client_ca=clients.ca) as proxy:
        none = fails(connect(proxy.port, tls=TLS(authority.ca)))
        wrong = TLS(authority.ca, stranger.certificate, stranger.key)
        unknown = fails(connect(proxy.port, tls=wrong))
    assert [type(none), type(unknown)] == [TLSError, TLSError]
    assert "TLS(certificate=" in str(none)


def test_a_port_without_tls(connect: Connect, peer) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)

    error = fails(connect(peer(answer), tls=TLS()))
    assert type(error) is TLSError
    assert "does not speak TLS" in str(error)


@pytest.mark.parametrize("field", ["ca", "certificate"])
def test_files_that_are_none(kind: str, field: str, tmp_path: Path) -> None:
    url = f"{scheme_of(kind)}s://127.0.0.1:1"
    with pytest.raises(ClientError, match=r"missing\.pem"):
        Asker(kind, url, tls=TLS(**{field: tmp_path / "missing.pem"}))


def test_an_address_in_place_of_the_name(kind: str, authority: Authority, closed_port: int) -> None:
    with TlsProxy(authority.issue("models.invalid")) as proxy:
        endpoint = parse(f"{scheme_of(kind)}s://models.invalid:{proxy.port}")
        asker = Asker(kind, replace(endpoint, address="127.0.0.1"), tls=TLS(authority.ca))
        assert not isinstance(fails(asker, 0.3), ServerUnreachableError)
        asker.stop()
    endpoint = parse(f"{scheme_of(kind)}://models.invalid:{closed_port}")
    asker = Asker(kind, replace(endpoint, address="127.0.0.1"))
    assert type(fails(asker)) is ServerRefusedError
    asker.stop()


# --- headers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"a\r\nb": "c"},
        {"a": "b\r\nc: d"},
        {"": "x"},
        {"ä": "x"},
        {"a": "ä"},
        {"a b": "c"},
        {"a": 1},
    ],
)
def test_headers_cannot_smuggle(kind: str, headers: dict[str, str], closed_port: int) -> None:
    url = f"{scheme_of(kind)}://127.0.0.1:{closed_port}"
    with pytest.raises(ClientError, match="characters that no header may have"):
        Asker(kind, url, headers=headers)
    for options, own in (({"headers": lambda: headers}, {}), ({}, headers)):
        asker = Asker(kind, url, **options)
        with pytest.raises(ClientError, match="characters that no header may have"):
            asker.ask("ready", asker.call(headers=own))
        asker.stop()


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection"])
def test_headers_that_are_the_clients_own(kind: str, name: str, closed_port: int) -> None:
    url = f"{scheme_of(kind)}://127.0.0.1:{closed_port}"
    with pytest.raises(ClientError, match="is the client's own"):
        Asker(kind, url, headers={name: "5"})


@pytest.mark.parametrize("kind", ["grpc", "aio_grpc"])
def test_headers_that_grpc_cannot_carry(kind: str) -> None:
    with pytest.raises(ClientError, match="cannot carry the header 'a!b'"):
        Asker(kind, "grpc://127.0.0.1:1", headers={"A!b": "c"})
