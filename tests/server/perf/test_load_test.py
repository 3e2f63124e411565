"""Load tests on the real server, with the real perf_analyzer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelport.errors import LoadTestError, ProfileError
from modelport.perf import run, target
from modelport.perf.analyzer import Analyzer
from modelport.perf.profile import Profile
from modelport.perf.result import Level, Result
from modelport.runtime import proc

from .conftest import SINGLE, write


def made(**fields: object) -> Profile:
    return Profile.model_validate({"duration_s": 0.5, "warmup_s": 0.1, "tries": 1, **fields})


def test_every_kind_of_load(repository: Path, tool: Analyzer) -> None:
    """Every reply is checked: bytes of any kind, streams, and sequences with their state."""
    wanted = {
        "single": [
            {"kind": "closed", "concurrency": [1, 6]},
            {"kind": "open", "rate_per_s": [100.0]},
            {"kind": "burst", "rate_per_s": 20.0, "size": 16, "every_s": 0.25},
            {"kind": "ramp", "from_per_s": 20.0, "to_per_s": 120.0},
        ],
        "sequence": [{"kind": "sequences", "concurrency": [3]}],
        "stream": [{"kind": "streams", "concurrency": [2]}],
    }
    with target.private(repository, list(wanted)) as place:
        for transport, names in (("grpc", list(wanted)), ("http", ["single"])):
            for name in names:
                chosen = made(model=name, transport=transport, load=wanted[name])
                result = run.run(chosen, repository, place, tool)
                assert result.verdict == "pass", result.reasons
                assert result.content.during.replies >= sum(one.replies for one in result.levels)
                for level in result.levels:
                    _is_plausible(level, name)
        mixed = made(
            load=[{"kind": "mix", "rate_per_s": {"single": 40.0}, "concurrency": {"sequence": 2}}]
        )
        found = run.run(mixed, repository, place, tool)
    assert [level.name for level in found.levels] == ["single 40/s", "sequence concurrency 2"]
    assert {"single", "sequence"} <= found.levels[0].parts.keys()
    again = Result.model_validate_json(found.model_dump_json())
    assert again == found


def _is_plausible(level: Level, model: str) -> None:
    assert level.replies > 0
    assert level.latency_ms is not None
    assert 0 < level.latency_ms.p50 <= level.latency_ms.p99 <= level.latency_ms.max
    assert (level.first_response_ms is not None) == (level.kind == "streams")
    assert level.server_cpu_ms is not None
    assert level.memory_bytes is not None
    part = level.parts[model]
    assert part.requests >= level.replies
    assert sum(part.batches.values()) == part.executions
    if level.kind in ("open", "burst", "ramp"):
        assert level.corrected
        assert level.offered_per_s is not None
        # Every request of the schedule is answered, and none twice.
        assert level.replies == {"open": 50, "burst": 42, "ramp": 35}[level.kind]
        assert level.errors == 0


def test_a_stall_is_not_forgiven(tmp_path: Path, tool: Analyzer) -> None:
    """A server that stops for a while is late for all that would have asked meanwhile."""
    slow = SINGLE.replace("FACTOR", "2").replace(
        "self.answered += 1",
        "self.answered += 1; import time; self.answered % 45 or time.sleep(.3)",
    )
    write(tmp_path, "single", slow)
    chosen = made(model="single", duration_s=1.5, load=[{"kind": "open", "rate_per_s": [60.0]}])
    with target.private(tmp_path, ["single"]) as place:
        (level,) = run.run(chosen, tmp_path, place, tool).levels
    assert level.latency_ms is not None
    # Two requests in ninety take 300 ms; some thirty others should have been asked meanwhile.
    assert level.latency_ms.p90 > 100


def test_wrong_replies_under_load_alone(tmp_path: Path, tool: Analyzer) -> None:
    write(tmp_path, "single", SINGLE.replace("FACTOR", "(2 if self.answered < 60 else 2.5)"))
    chosen = made(model="single", load=[{"kind": "closed", "concurrency": [2]}])
    with target.private(tmp_path, ["single"]) as place:
        result = run.run(chosen, tmp_path, place, tool)
    assert result.content.before.wrong == 0
    assert result.content.during.wrong > 0
    assert result.verdict == "fail"
    assert "wrong reply under the load" in result.reasons[0]
    assert "expected" in result.reasons[0]
    assert result.levels[0].wrong == result.levels[0].replies


def test_what_is_wrong_at_first_counts_too(tmp_path: Path, tool: Analyzer) -> None:
    """The checks before make 12 answers; then the model is wrong until it heals."""
    write(tmp_path, "single", SINGLE.replace("FACTOR", "(2.5 if 20 < self.answered < 30 else 2)"))
    chosen = made(model="single", load=[{"kind": "closed", "concurrency": [1]}])
    with target.private(tmp_path, ["single"]) as place:
        result = run.run(chosen, tmp_path, place, tool)
    assert result.verdict == "fail"
    assert result.levels[0].wrong == 0
    assert "warm-up: y[0" in result.content.during.first_problem


def test_a_reply_that_cannot_be_written_down(tmp_path: Path, tool: Analyzer) -> None:
    write(
        tmp_path, "single", SINGLE.replace("FACTOR", "(2 if self.answered < 60 else float('inf'))")
    )
    chosen = made(model="single", load=[{"kind": "closed", "concurrency": [2]}])
    with target.private(tmp_path, ["single"]) as place:
        result = run.run(chosen, tmp_path, place, tool)
    assert result.verdict == "fail"
    assert any("NaN or an infinity" in reason for reason in result.reasons)


def test_an_interrupt_ends_it_at_once(repository: Path, tmp_path: Path) -> None:
    """Nothing is left: no load, no server, no empty folder."""
    out = tmp_path / "out"
    arguments = ["perf", "run", "single", "--repository", str(repository), "--out", str(out)]
    command = [sys.executable, "-m", "modelport.cli", *arguments, "--duration", "600"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "checked before the load" in line:
            break
    time.sleep(1.5)  # the warm-up is over then
    loads = [
        p.pid for p in proc.processes() if p.parent == process.pid and p.name == "perf_analyzer"
    ]
    assert len(loads) == 1
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    assert process.wait() == 130
    assert proc.process(loads[0]) is None
    assert not out.exists()


def test_errors_under_load_alone(tmp_path: Path, tool: Analyzer) -> None:
    write(tmp_path, "single", SINGLE.replace("FACTOR", "(2 if self.answered < 60 else None)"))
    chosen = made(model="single", load=[{"kind": "closed", "concurrency": [2]}])
    with target.private(tmp_path, ["single"]) as place:
        result = run.run(chosen, tmp_path, place, tool)
    assert result.verdict == "fail"
    assert result.levels[0].errors == 1
    assert any("no load was put on it" in reason for reason in result.reasons)


def test_a_server_that_dies(repository: Path, tool: Analyzer) -> None:
    chosen = made(model="single", duration_s=30, load=[{"kind": "closed", "concurrency": [2]}])
    with target.private(repository, ["single"]) as place:
        assert place.pid is not None
        threading.Timer(2.0, os.kill, (place.pid, signal.SIGKILL)).start()
        with pytest.raises(LoadTestError, match="tritonserver ended under the load") as caught:
            run.run(chosen, repository, place, tool)
    assert "log" in str(caught.value)


def test_a_load_that_does_not_suit_the_model(repository: Path, tool: Analyzer) -> None:
    chosen = made(model="sequence", load=[{"kind": "open", "rate_per_s": [10.0]}])
    with (
        target.private(repository, ["sequence"]) as place,
        pytest.raises(ProfileError, match="'open' does not suit it"),
    ):
        run.run(chosen, repository, place, tool)


def test_from_the_shell(repository: Path, tmp_path: Path) -> None:
    profiles = tmp_path / "perf"
    profiles.mkdir()
    (profiles / "quick.toml").write_text(
        'model = "single"\nduration_s = 0.4\nwarmup_s = 0.1\n'
        'objectives = ["no error", "p50 <= 0.001 ms at concurrency 2"]\n'
        '[[load]]\nkind = "closed"\nconcurrency = [2]\n'
    )
    arguments = ("--repository", str(repository), "--profiles", str(profiles))
    out = tmp_path / "out"
    missed = _modelport("perf", "run", "quick", *arguments, "--out", str(out), "--json")
    assert missed.returncode == 73
    assert "p50 <= 0.001 ms at concurrency 2" in missed.stderr
    assert json.loads(missed.stdout)["verdict"] == "fail"
    assert Result.read(out).objectives[1].holds is False
    assert "<html" in (out / "report.html").read_text()

    passed = _modelport("perf", "run", "single", *arguments, "--duration", "0.4")
    assert passed.returncode == 0, passed.stderr
    assert "concurrency 32" in passed.stdout
    (folder,) = (profiles / "results" / "single").iterdir()
    assert Result.read(folder).verdict == "pass"

    unknown = _modelport("perf", "run", "singel", *arguments)
    assert unknown.returncode == 71
    assert "did you mean single?" in unknown.stderr


def _modelport(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelport.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
