"""``modelport serve`` as its users run it: a process with signals and an exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from modelport.client import Client
from modelport.errors import ClientError

from .conftest import WAITING, Models, X, eventually, members, queued

FREE = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def serve(models: Models) -> Iterator[Serve]:
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, ports: list[str] = FREE) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "modelport.cli", "serve"]
        process = subprocess.Popen(
            [*command, "--repository", str(models.path), *ports, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_then_answers_then_a_clean_end(
    serve: Serve, models: Models, number: signal.Signals
) -> None:
    models.onnx("double")
    process = serve("--json")
    ready = _ready(process)
    assert ready["models"] == {"double": "1"}
    assert ready["repository"] == str(models.path)
    with Client(str(ready["grpc"])) as client:
        np.testing.assert_array_equal(client.infer("double", {"x": X})["y"], 2 * X)
    process.send_signal(number)
    _, progress = process.communicate()
    assert process.returncode == 0
    assert "double" in progress
    assert "version 1 loaded" in progress
    assert members(int(str(ready["pid"]))) == []


def test_a_second_signal_ends_it_at_once(serve: Serve, models: Models) -> None:
    models.python("waiting", WAITING)
    process = serve("--json")
    ready = _ready(process)
    failed: list[ClientError] = []
    asking = [
        threading.Thread(target=_ask_for_long, args=(str(ready["http"]), failed)) for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    assert eventually(lambda: queued(str(ready["metrics"])) == 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "in flight" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate()
    for thread in asking:
        thread.join()
    assert process.returncode == 130
    assert len(failed) == 2
    assert members(int(str(ready["pid"]))) == []


def test_a_port_in_use(serve: Serve, models: Models) -> None:
    models.onnx("double")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        process = serve(ports=["--http-port", port, "--grpc-port", "0", "--metrics-port", "0"])
        _, errors = process.communicate()
    assert process.returncode == 32
    assert f"--http-port {port}" in errors
    assert "next: --http-port 0" in errors


def test_an_unhealthy_repository_is_not_served(serve: Serve, models: Models) -> None:
    (models.onnx("double") / "1" / "model.onnx").unlink()
    process = serve()
    output, errors = process.communicate()
    assert process.returncode == 1
    assert output == ""
    assert "model.onnx" in errors
    assert "modelport doctor" in errors


def test_what_is_not_built_is_left_out_unless_it_is_named(serve: Serve, models: Models) -> None:
    models.onnx("double")
    waiting = models.python("waiting", WAITING)
    config = waiting / "config.pbtxt"
    config.write_text(
        "# Written by modelport from builders/waits.py; edit it.\n" + config.read_text()
    )
    process = serve("--json")
    assert _ready(process)["models"] == {"double": "1"}
    process.terminate()
    _, errors = process.communicate()
    assert "not built yet, so not served: waiting" in errors
    named = serve("--models", "double,waiting")
    _, errors = named.communicate()
    assert named.returncode == 20
    assert "next: modelport build waiting" in errors


def test_memory_is_told_of_a_server_that_runs(serve: Serve, models: Models) -> None:
    models.onnx("double")
    command = [sys.executable, "-m", "modelport.cli", "models", "--memory", "--json"]
    command += ["--repository", str(models.path)]
    nothing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert nothing.returncode == 44
    assert "no server runs on" in nothing.stderr
    process = serve("--json")
    _ready(process)
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    server, double = json.loads(told.stdout)
    assert (server["name"], double["name"]) == ("tritonserver", "double")
    weights = (models.path / "double" / "1" / "model.onnx").stat().st_size
    assert double["weights_bytes"] == weights
    # A Python process with ONNX Runtime in it cannot be smaller, nor reasonably that large.
    assert 5 << 20 < double["beyond_bytes"] < 200 << 20


def test_the_server_dies(serve: Serve, models: Models) -> None:
    models.onnx("double")
    process = serve("--json")
    ready = _ready(process)
    os.kill(int(str(ready["pid"])), signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 33
    assert "signal 9" in errors
    assert str(ready["log"]) in errors


def test_an_open_address_is_warned_of(serve: Serve, models: Models) -> None:
    models.onnx("double")
    process = serve("--json", "--host", "0.0.0.0")
    ready = _ready(process)
    assert str(ready["http"]).startswith("http://127.0.0.1:")
    process.terminate()
    _, errors = process.communicate()
    assert "warning: --host 0.0.0.0 lets every machine" in errors


def _ready(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    ready = json.loads(line)
    assert isinstance(ready, dict)
    return ready


def _ask_for_long(url: str, failed: list[ClientError]) -> None:
    with Client(url) as client:
        try:
            client.infer("waiting", {"x": np.full((1, 2), 600, np.float32)}, timeout_s=600)
        except ClientError as error:
            failed.append(error)
