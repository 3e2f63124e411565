"""The watchdog finds what the server itself does not see, and heals it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from modelport.client import Client
from modelport.errors import ServerFaultError
from modelport.runtime import proc
from modelport.runtime.events import Event
from modelport.runtime.server import Server
from modelport.runtime.watchdog import Watchdog

from .conftest import Models, X, eventually


@pytest.fixture
def server(models: Models) -> Iterator[Server]:
    models.onnx("double")
    models.sample("double", 2 * X)
    models.ensemble("pipeline", "double")
    with Server.start(models.path) as running:
        yield running


def test_a_dead_stub_is_healed_and_the_ensemble_over_it_answers(server: Server) -> None:
    events: list[Event] = []
    watchdog = Watchdog(server, on_event=events.append, interval_s=0.2)
    watchdog.start()
    _kill_stub(server, "double")
    assert eventually(lambda: "healed" in {e.kind for e in events})
    watchdog.stop()
    assert [e.kind for e in events] == ["sick", "healed"]
    assert {e.model for e in events} == {"double"}
    for model in ("double", "pipeline"):
        np.testing.assert_array_equal(_answer(server, model), 2 * X)


def test_a_stub_that_died_with_a_request_in_its_hands_is_healed(server: Server) -> None:
    events: list[Event] = []
    _kill_stub(server, "double")
    with Client(server.endpoints.http) as client, pytest.raises(ServerFaultError):
        client.infer("pipeline", {"x": X})
    Watchdog(server, on_event=events.append).look()
    assert [e.kind for e in events] == ["sick", "healed"]
    np.testing.assert_array_equal(_answer(server, "pipeline"), 2 * X)


def test_a_healthy_server_gives_no_news(server: Server) -> None:
    events: list[Event] = []
    watchdog = Watchdog(server, on_event=events.append)
    watchdog.look()
    watchdog.look()
    assert events == []


def test_wrong_answers_are_told_once(models: Models) -> None:
    models.onnx("double")
    models.sample("double", 3 * X)
    events: list[Event] = []
    with Server.start(models.path) as server:
        watchdog = Watchdog(server, on_event=events.append)
        watchdog.look()
        watchdog.look()
    assert [(e.kind, e.model) for e in events] == [("wrong", "double")]
    assert "expected" in events[0].text


def test_what_cannot_be_healed_is_not_tried_without_end(server: Server, models: Models) -> None:
    events: list[Event] = []
    watchdog = Watchdog(server, on_event=events.append, interval_s=3600)
    (models.path / "double" / "1" / "model.onnx").write_bytes(b"no graph any more")
    _kill_stub(server, "double")
    for _ in range(5):
        watchdog.look()
    assert [e.kind for e in events if e.model == "double"] == ["sick", "unhealed"]


def _kill_stub(server: Server, model: str) -> None:
    folder = str(server.plan.models[model].folder.path)
    (stub,) = [p for p in proc.processes() if p.group == server.pid and _runs(p.pid, folder)]
    os.kill(stub.pid, signal.SIGKILL)
    assert eventually(lambda: (found := proc.process(stub.pid)) is None or found.state == "Z")


def _runs(pid: int, folder: str) -> bool:
    arguments = proc.command_line(pid)
    return len(arguments) > 1 and arguments[1].startswith(folder + "/")


def _answer(server: Server, model: str) -> np.ndarray:
    with Client(server.endpoints.grpc) as client:
        return client.infer(model, {"x": X})["y"]
