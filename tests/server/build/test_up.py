"""``modelport up`` and builds side by side, as people run them: processes, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workplace import Workplace

from modelport.errors import BuilderError, BuildError
from modelport.runtime import proc, servers

PORTS = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
PLACE = ["--builders", "builders", "--repository", "repository"]

FAMILY = """\
import numpy as np
from modelport.spec import Ensemble, PythonModel, Sample, Step, Tensor

X = Tensor("x", "FP32", (2,))
Y = Tensor("y", "FP32", (2,))


def times(inputs):
    return {{"y": inputs["x"] * {factor}}}


def questions():
    items = [Sample({{"x": np.array([n, -n], np.float32)}}) for n in range(3)]
    return [*items, Sample({{"x": np.array([1, 2], np.float32)}}, title="one and two")]


models = (
    PythonModel(
        name="{name}_part", inputs=(X,), outputs=(Y,), reference=times, samples=questions
    ),
    Ensemble(
        name="{name}",
        doc="Multiplies by {factor}.",
        inputs=(X,),
        outputs=(Y,),
        samples=questions,
        steps=(Step("{name}_part", {{"x": "x"}}, {{"y": "y"}}),),
    ),
)
"""
CODE = """\
from modelport.serving.python_model import answer_each


def times(inputs):
    return {{"y": inputs["x"] * {factor}}}


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, times)
"""
# Its data takes for ever; it leaves word of who waits for it.
ENDLESS = """

import os, time
from pathlib import Path


def questions():
    Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(3600)


import dataclasses

models = tuple(dataclasses.replace(model, samples=questions) for model in models)
"""


def family(workplace: Workplace, name: str, factor: int, more: str = "") -> Path:
    workplace.code(f"{name}_part", CODE.format(factor=factor))
    return workplace.builder(name, FAMILY.format(name=name, factor=factor) + more)


def eventually(condition: Callable[[], object], *, within_s: float = 60.0) -> bool:
    """Wait for something that has no signal of its own; the limit is only a net."""
    deadline = time.monotonic() + within_s
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(holds)


def lives(pid: int) -> bool:
    found = proc.process(pid)
    return found is not None and found.state != "Z"


@pytest.fixture
def begin(workplace: Workplace) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelport.cli", *command],
            cwd=workplace.path,
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


def test_one_family_fails_and_the_others_serve(workplace: Workplace) -> None:
    family(workplace, "twice", 2)
    family(workplace, "thrice", 3)
    workplace.builder("wrong", "models = ()\n")
    family(workplace, "killed", 4, "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    family(workplace, "special", 5, "\nBY_NAME_ONLY = True\n")
    done = workplace.run(["up", "--once", "--json", *PLACE, *PORTS])
    # One error is a BuilderError, the other a BuildError: the nearest class above both.
    assert done.returncode == BuildError.exit_code == 10, done.stderr
    told = json.loads(done.stdout)
    answers = {answer["model"]: answer for answer in told["answers"]}
    assert {name: answer["outputs"]["y"] for name, answer in answers.items()} == {
        "twice": [2, 4],
        "thrice": [3, 6],
    }
    assert not any(answer["problem"] for answer in answers.values())
    assert set(told["failed"]) == {"wrong", "killed"}
    assert "ended by SIGKILL" in done.stderr
    assert "expected a TorchModel" in done.stderr
    assert not (workplace.repository / "special").joinpath("config.pbtxt").exists()


def test_what_is_proven_serves_without_being_looked_at_again(workplace: Workplace) -> None:
    mark = workplace.path / "ran"
    family(workplace, "twice", 2, f"\nopen({str(mark)!r}, 'a').write('x')\n")
    first = workplace.run(["up", "twice", "--once", "--json", *PLACE, *PORTS])
    assert first.returncode == 0, first.stderr
    assert mark.read_text() == "x"
    family(workplace, "thrice", 3)
    again = workplace.run(["up", "--once", *PLACE, *PORTS])
    assert again.returncode == 0, again.stderr
    assert mark.read_text() == "x"
    assert "2 models proven before" in again.stderr
    # The warm family answers while the other is still built.
    assert again.stderr.index("first answer") < again.stderr.index("thrice_part: prove")
    assert "twice: Multiplies by 2." in again.stdout
    assert again.stdout.count("1 of 1") == 2
    assert "Serving on http://127.0.0.1:" in again.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_one_family_serves_and_one_is_built(
    workplace: Workplace, begin: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    family(workplace, "endless", 3, ENDLESS)
    family(workplace, "twice", 2)
    process = begin("up", "--jobs", "2", *PLACE, *PORTS)
    assert process.stderr is not None
    for line in process.stderr:
        if "first answer" in line:
            break
    (server,) = servers.running(workplace.repository)
    worker = workplace.builders / "endless.pid"
    assert eventually(worker.is_file)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert not lives(server.pid)
    assert not lives(int(worker.read_text()))
    assert workplace.staged() == []
    assert workplace.model("twice").proven_versions() == [1]
    assert not workplace.repository.joinpath("endless", "1").exists()


def test_ctrl_c_once_all_serves_is_a_clean_end(
    workplace: Workplace, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    family(workplace, "twice", 2)
    process = begin("up", "--json", *PLACE, *PORTS)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["failed"] == []
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_the_builder_is_killed_and_its_builds_end_with_it(
    workplace: Workplace, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    for name in ("one", "two"):
        family(workplace, name, 2, ENDLESS)
    process = begin("build", "--jobs", "2", *PLACE)
    pids = [workplace.builders / f"{name}.pid" for name in ("one", "two")]
    assert eventually(lambda: all(path.is_file() and path.read_text() for path in pids))
    process.kill()
    assert eventually(lambda: not any(lives(int(path.read_text())) for path in pids))


def test_builds_side_by_side_publish_what_a_lone_build_does(workplace: Workplace) -> None:
    for factor, name in enumerate(("one", "two", "three"), start=1):
        family(workplace, name, factor)
    workplace.builder("wrong", "import no_such_package\n")
    done = workplace.run(["build", "--json", "--jobs", "3", *PLACE])
    assert done.returncode == BuilderError.exit_code == 11, done.stderr
    assert "no_such_package" in done.stderr
    assert "next: install it in this environment" in done.stderr
    found = {built["model"] for built in json.loads(done.stdout) if built["new"]}
    assert found == {f"{name}{part}" for name in ("one", "two", "three") for part in ("", "_part")}
    keys = {name: workplace.model(name).manifest(1).build_key for name in found}
    workplace.path.joinpath("repository").rename(workplace.path / "before")
    for factor, name in enumerate(("one", "two", "three"), start=1):
        family(workplace, name, factor)
    workplace.build("one", "two", "three")
    assert {name: workplace.model(name).manifest(1).build_key for name in found} == keys


def test_a_public_model_has_its_latency_in_the_manifest(workplace: Workplace) -> None:
    family(workplace, "twice", 2)
    workplace.build()
    latency = workplace.model("twice").manifest(1).latency
    assert latency is not None
    assert set(latency.p50_ms) == {"http", "grpc"}
    assert latency.requests >= 6
    assert all(0 < latency.p50_ms[name] <= latency.p99_ms[name] for name in latency.p50_ms)
    assert f"{len(os.sched_getaffinity(0))} cores" in latency.machine
    assert workplace.model("twice_part").manifest(1).latency is None


def test_data_is_for_one_builder_file(workplace: Workplace) -> None:
    for name in ("one", "two"):
        family(workplace, name, 2)
    done = workplace.run(["build", "--data", ".", *PLACE])
    assert done.returncode == 2
    assert "modelport build NAME --data PATH" in done.stderr
    done = workplace.run(["build", "one", "--data", ".", *PLACE])
    assert done.returncode == BuilderError.exit_code, done.stderr
    assert "no model of it reads data from outside" in done.stderr
