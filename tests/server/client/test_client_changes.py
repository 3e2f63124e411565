"""Models that change and servers that end, under a client that stays."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.client import Client
from modelport.client.url import parse
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    ServerFaultError,
    ServerRefusedError,
)
from modelport.runtime.server import Server

Start = Callable[..., tuple[Server, Client]]


def test_a_model_that_was_replaced_is_learnt_again(repository: Path, start: Start) -> None:
    server, client = start(repository, models=["scale"])
    assert client.infer("scale", {"x": [1, 2, 3, 4]})["total"].tolist() == [[20]]
    _edit(repository, "scale", "dims: [ 4 ]", "dims: [ 2 ]")
    server.load("scale")
    # Wrong by what the client knew, right by what the model is now.
    assert client.infer("scale", {"x": [1, 2]})["total"].tolist() == [[6]]
    with pytest.raises(InvalidInputError, match=r"expected \[-1, 2\], got \[4\]"):
        client.infer("scale", {"x": [1, 2, 3, 4]})


def test_a_request_that_fitted_the_old_model_is_refused_by_the_new(
    repository: Path, start: Start
) -> None:
    """The server refuses it; the client learns why and says so in its own words."""
    server, client = start(repository, models=["scale"])
    client.infer("scale", {"x": [1, 2, 3, 4]})
    _edit(repository, "scale", "dims: [ 4 ]", "dims: [ 2 ]")
    server.load("scale")
    with pytest.raises(InvalidInputError, match=r"expected \[-1, 2\], got \[4\]"):
        client.infer("scale", {"x": [1, 2, 3, 4]})


def test_a_new_datatype_is_sent_in_the_same_call(repository: Path, start: Start) -> None:
    """Python numbers fit both; the first attempt is refused, the second goes through."""
    server, client = start(repository, models=["scale"])
    client.infer("scale", {"x": [1, 2, 3, 4]})
    _edit(repository, "scale", "TYPE_FP32", "TYPE_FP64")
    _edit(repository, "scale/1", "np.float32", "np.float64", file="model.py")
    server.load("scale")
    answer = client.infer("scale", {"x": [1, 2, 3, 4]})
    assert answer["total"].dtype == "float64"
    assert answer["total"].tolist() == [[20]]


def test_a_model_that_is_unloaded_and_loaded_again(repository: Path, start: Start) -> None:
    server, client = start(repository, models=["scale"])
    client.infer("scale", {"x": [1, 2, 3, 4]})
    server.unload("scale")
    assert not client.ready("scale")
    with pytest.raises((ModelNotFoundError, NotReadyError)):
        client.infer("scale", {"x": [1, 2, 3, 4]})
    server.load("scale")
    assert client.ready("scale")
    assert client.infer("scale", {"x": [1, 2, 3, 4]})["total"].tolist() == [[20]]


def test_a_dead_stub_is_a_fault_of_the_server(repository: Path, start: Start) -> None:
    _, client = start(repository, models=["fussy"])
    with pytest.raises(ServerFaultError, match="not healthy") as caught:
        client.infer("fussy", {"how": ["die"]})
    assert caught.value.next_step == "unload and load the model"


def test_the_server_is_killed_during_a_call_and_comes_back(repository: Path, start: Start) -> None:
    server, client = start(repository, models=["sleepy"])
    assert client.infer("sleepy", {"seconds": 0})["slept"].tolist() == [[0]]
    killer = threading.Timer(0.7, os.kill, (server.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(ConnectionLostError, match="may have been executed") as caught:
        client.infer("sleepy", {"seconds": 20}, idempotent=False)
    killer.join()
    assert caught.value.objects["model"] == "sleepy"
    # Until the kernel has cleared the dead process away, a connection may still be accepted.
    assert _eventually(lambda: _outcome(client) is ServerRefusedError)
    assert not client.ready()
    server.stop()

    ports = {
        f"{name}_port": parse(getattr(server.endpoints, name)).port for name in ("http", "grpc")
    }
    start(repository, models=["sleepy"], **ports)
    # A gRPC channel tries a server that was down again only after a pause.
    assert _eventually(lambda: client.ready("sleepy"))
    assert client.infer("sleepy", {"seconds": 0})["slept"].tolist() == [[0]]


def _outcome(client: Client) -> type[ClientError] | None:
    try:
        client.infer("sleepy", {"seconds": 0})
    except ClientError as error:
        return type(error)
    return None


def _eventually(condition: Callable[[], bool]) -> bool:
    pause = threading.Event()
    return any(condition() or pause.wait(0.1) for _ in range(100))


def _edit(repository: Path, model: str, old: str, new: str, file: str = "config.pbtxt") -> None:
    path = repository / model / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
