"""However a server ends, no process and no shared memory of it is left."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from modelport.client import Client
from modelport.runtime import proc
from modelport.runtime.server import Server

from .conftest import WAITING, Models, X, eventually, members, queued, regions

# Starts a server as any program would, and tells who is who.
LAUNCHER = """
import json, sys
from pathlib import Path
from modelport.runtime.server import Server
server = Server.start(Path(sys.argv[1]))
print(json.dumps({"server": server.pid, "http": server.endpoints.http}), flush=True)
server.wait()
"""


def test_stop_leaves_nothing(models: Models) -> None:
    models.onnx("double")
    before = regions(os.getpid())
    server = Server.start(models.path)
    assert len(members(server.pid)) > 1
    assert len(regions(os.getpid())) > len(before)
    server.stop()
    server.stop()
    assert members(server.pid) == []
    assert regions(os.getpid()) == before


def test_requests_in_flight_are_answered_and_idle_connections_not_waited_for(
    models: Models,
) -> None:
    models.python("waiting", WAITING)
    models.ensemble("pipeline", "waiting")
    server = Server.start(models.path)
    idle = http.client.HTTPConnection(server.endpoints.http.removeprefix("http://"))
    idle.request("GET", "/v2/health/live")
    idle.getresponse().read()
    answers: dict[str, np.ndarray] = {}
    asking = [
        threading.Thread(target=_ask, args=(url, model, answers))
        for url in (server.endpoints.http, server.endpoints.grpc)
        for model in ("waiting", "pipeline")
    ]
    for thread in asking:
        thread.start()
    # One is being answered, the others wait for the only instance.
    assert eventually(lambda: queued(server.endpoints.metrics) == len(asking) - 1)
    server.stop()
    for thread in asking:
        thread.join()
    idle.close()
    assert len(answers) == len(asking)
    for answer in answers.values():
        np.testing.assert_array_equal(answer, X + 1)
    # What tritonserver says after it waited in vain for the idle connection.
    assert "Exit timeout expired" not in server.log_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_launcher_ends(models: Models, number: signal.Signals) -> None:
    models.onnx("double")
    launcher, pid = _launch(models.path)
    os.kill(launcher.pid, number)
    launcher.wait()
    assert eventually(lambda: not members(pid))
    assert eventually(lambda: not regions(launcher.pid))


def test_the_guardian_is_killed(models: Models) -> None:
    models.onnx("double")
    server = Server.start(models.path)
    os.kill(_guardian(server.pid), signal.SIGKILL)
    assert server.wait(60)
    assert members(server.pid) == []
    assert server.status != 0


def test_launcher_and_guardian_are_killed(models: Models) -> None:
    models.onnx("double")
    launcher, pid = _launch(models.path)
    guardian = _guardian(pid)
    os.kill(launcher.pid, signal.SIGSTOP)  # it must not help the guardian
    os.kill(guardian, signal.SIGKILL)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    assert eventually(lambda: not members(pid))
    # Nobody was left to remove the regions: the next start does it.
    Server.start(models.path).stop()
    assert regions(launcher.pid) == set()


def test_tritonserver_is_killed(models: Models) -> None:
    models.onnx("double")
    server = Server.start(models.path)
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(60)
    assert server.status == 128 + signal.SIGKILL
    assert members(server.pid) == []


def test_an_exception_in_the_block_ends_it(models: Models) -> None:
    models.onnx("double")
    with pytest.raises(ZeroDivisionError), Server.start(models.path) as server:
        _ = 1 / 0
    assert members(server.pid) == []


def _ask(url: str, model: str, answers: dict[str, np.ndarray]) -> None:
    with Client(url) as client:
        answers[f"{url} {model}"] = client.infer(model, {"x": X})["y"]


def _launch(repository: Path) -> tuple[subprocess.Popen[str], int]:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(repository)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    with launcher.stdout as lines:
        return launcher, int(json.loads(lines.readline())["server"])


def _guardian(server_pid: int) -> int:
    found = proc.process(server_pid)
    assert found is not None
    return found.parent
