"""What goes wrong, and what both clients make of it over both protocols."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from faces import equip, texts, url_of

from modelport.client import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    PartialBatchError,
    ProtocolError,
    ServerFaultError,
    ServerRefusedError,
    UnauthenticatedError,
)
from modelport.client.testing import FakeServer

Open = Callable[..., Any]


# --- errors and repeats ----------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "error", "attempts"),
    [
        ("overloaded", OverloadedError, 3),
        ("unavailable", NotReadyError, 3),
        ("lost", ConnectionLostError, 3),
        ("fault", ServerFaultError, 1),
        ("dead", ServerFaultError, 1),
        ("invalid", InvalidInputError, 1),
        ("queue_timeout", DeadlineExceededError, 1),
        ("unauthenticated", UnauthenticatedError, 1),
        ("garbage", ProtocolError, 1),
    ],
)
def test_an_error_tells_which_request_it_was(
    server: FakeServer, client: Any, kind: str, failure: str, error: type[Exception], attempts: int
) -> None:
    client.metadata("add", 2)
    server.fail("add", with_=failure, times=None)
    with pytest.raises(error) as caught:
        client.infer("add", {"a": 1, "b": 2}, version="2", request_id="r-7")
    expected = {
        "endpoint": url_of(kind, server),
        "model": "add",
        "version": "2",
        "request_id": "r-7",
        "attempts": attempts,
    }
    assert {name: caught.value.objects.get(name) for name in expected} == expected  # type: ignore[attr-defined]
    assert len(server.requests) == attempts


@pytest.mark.parametrize("failure", ["overloaded", "unavailable", "lost"])
def test_a_failure_that_passes_is_not_seen(server: FakeServer, client: Any, failure: str) -> None:
    client.metadata("upper")
    server.fail("upper", with_=failure, times=2)
    assert client.infer("upper", {"text": "a"}).text("loud") == "A"
    assert len(server.requests) == 3


def test_a_lost_call_that_must_not_run_twice_is_not_repeated(
    server: FakeServer, client: Any
) -> None:
    client.metadata("upper")
    server.fail("upper", with_="lost")
    with pytest.raises(ConnectionLostError) as caught:
        client.infer("upper", {"text": "a"}, idempotent=False)
    assert caught.value.objects["attempts"] == 1
    assert len(server.requests) == 1
    server.fail("upper", with_="overloaded")  # it was not run
    assert client.infer("upper", {"text": "a"}, idempotent=False).text("loud") == "A"


def test_a_deadline_holds(server: FakeServer, client: Any) -> None:
    client.metadata("upper")
    server.fail("upper", with_="hang")
    with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s") as caught:
        client.model("upper")("a", timeout_s=0.1, request_id="r-8")
    assert caught.value.objects["request_id"] == "r-8"
    [request] = server.requests
    assert request.gone.wait(10)


def test_models_and_versions_that_are_not_there(server: FakeServer, client: Any) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'upper'"):
        client.infer("uper", {"text": "a"}, request_id="r-9")
    with pytest.raises(ModelNotFoundError, match="versions that serve: 1, 2"):
        client.infer("add", {"a": 1, "b": 2}, version=9)
    assert not client.ready("uper")
    assert client.ready("add", 2)
    assert not client.ready("add", 9)


# --- servers that come and go ----------------------------------------------------


def test_a_restart_in_between(server: FakeServer, client: Any) -> None:
    assert client.infer("upper", {"text": "a"}).text("loud") == "A"
    server.stop()
    assert not client.ready()
    with pytest.raises(ServerRefusedError) as caught:
        client.infer("upper", {"text": "b"}, request_id="r-3")
    assert caught.value.objects["request_id"] == "r-3"
    server.start()
    client.wait_ready("upper", timeout_s=20)
    assert client.infer("upper", {"text": "c"}).text("loud") == "C"


def test_waiting_for_a_server(server: FakeServer, client: Any) -> None:
    server.ready = False
    assert not client.ready()
    with pytest.raises(DeadlineExceededError, match="not ready"):
        client.wait_ready(timeout_s=0.2)
    later = threading.Timer(0.1, setattr, (server, "ready", True))
    later.start()
    client.wait_ready(timeout_s=20)
    with pytest.raises(DeadlineExceededError):
        client.wait_ready("lower", timeout_s=0.1)


def test_the_other_server_answers_for_one_that_stopped(
    server: FakeServer, connect: Open, kind: str
) -> None:
    with FakeServer() as other:
        equip(other)
        client = connect(server, other)
        assert [client.infer("upper", {"text": "a"}).text("loud") for _ in range(12)] == ["A"] * 12
        assert server.requests
        assert other.requests
        server.stop()
        assert [client.infer("upper", {"text": "b"}).text("loud") for _ in range(12)] == ["B"] * 12
        words = [f"word {number}" for number in range(16)]
        assert texts(client.infer("upper", {"text": words})) == [word.upper() for word in words]
        assert client.ready("upper")
        other.stop()
        with pytest.raises(ServerRefusedError) as caught:
            client.infer("upper", {"text": "c"})
        assert caught.value.objects["endpoint"] in (url_of(kind, server), url_of(kind, other))
        server.start()
        client.wait_ready("upper", timeout_s=20)
        assert client.infer("upper", {"text": "d"}).text("loud") == "D"


# --- what is logged --------------------------------------------------------------


def test_nothing_of_a_payload_is_logged(
    server: FakeServer, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "pssst-4711"
    answer = secret.upper()
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "modelport.client")  # the command line may have set another
    client.infer("upper", {"text": [secret] * 10}, headers={"authorization": secret})
    for failure in ("overloaded", "lost", "fault", "invalid", "garbage"):
        server.fail("upper", with_=failure)
        with suppress(ClientError):
            client.infer("upper", {"text": secret}, parameters={"note": secret})
    with pytest.raises(InvalidInputError):
        client.infer("upper", {"text": [[[secret]]]})
    with pytest.raises(InvalidInputError):
        client.infer("add", {"a": secret, "b": 1})
    server.fail("upper", with_="invalid")
    with pytest.raises(PartialBatchError):
        client.infer("upper", {"text": [secret] * 10})
    logged = [record.getMessage() + str(record.args) for record in caplog.records]
    assert any(record.name.startswith("modelport.client") for record in caplog.records)
    assert not [line for line in logged if secret in line or answer in line]
