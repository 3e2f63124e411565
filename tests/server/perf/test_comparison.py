"""Two settings, compared on two real servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelport import cli
from modelport.errors import RegressionError, ResultError
from modelport.perf import load
from modelport.perf.analyzer import Analyzer
from modelport.perf.compare import Comparison
from modelport.repository.journal import staging_root
from modelport.repository.layout import Repository
from modelport.repository.manifest import Manifest
from modelport.rollout import load_gate, promotion

from .conftest import SINGLE, write


def test_a_queue_that_waits_is_a_regression(repository: Path, tool: Analyzer) -> None:
    """A lone caller waits the whole delay, many times what the model takes."""
    command = [
        *("perf", "compare", "single", "--set-b", "max_queue_delay_us=40000"),
        *("--concurrency", "1", "--rounds", "6", "--duration", "0.4"),
        *("--repository", str(repository), "--json"),
        *("--save-baseline", str(repository.parent / "baseline.json")),
    ]
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        said = CliRunner().invoke(cli.command, command)
    finally:
        neighbour.kill()
        neighbour.wait()
    assert isinstance(said.exception, RegressionError), said.output
    assert json.loads(said.stdout)["disturbance"]["others_share"] > 0
    assert "p50 at concurrency 1" in str(said.exception)
    found = {one["figure"]: one for one in json.loads(said.stdout)["ratios"]}
    assert found["p50"]["verdict"] == found["throughput"]["verdict"] == "regression"
    assert found["p50"]["b"] > 40 > found["p50"]["a"]
    baseline = Comparison.read(repository.parent / "baseline.json")
    assert (baseline.a, baseline.ratios[0].a) == ("single@1", None)
    # 40 ms a reply: no turn has a hundred of them
    assert "p99" not in found
    gone = {one["figure"]: one["why"] for one in json.loads(said.stdout)["left_out"]}
    assert gone["p99"].startswith("a turn had ")
    named = CliRunner().invoke(cli.command, [*command, "--bound", "p99=90"])
    assert isinstance(named.exception, ResultError)
    assert "p99 at concurrency 1 is not compared" in str(named.exception)
    assert not staging_root(repository).exists()


def test_a_promotion_holds_a_version_to_its_bounds_under_load(
    repository: Path, tool: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2 is slow only where several ask, which one caller never notices."""
    monkeypatch.setattr(load_gate, "LOADS", {"concurrency 4": load.Closed(4, 0.6)})
    monkeypatch.setattr(load_gate, "_ROUNDS", 6)
    _add_slow_version(repository)
    turns: list[tuple[str, int, int]] = []
    wish = promotion.UnderLoad({"p50": 2.0}, on_turn=lambda *turn: turns.append(turn))
    found = promotion.check(Repository(repository), "single", 2, lambda _: None, under_load=wish)
    assert turns[0] == ("warm-up", 0, 6)
    assert turns[-1] == ("concurrency 4", 5, 6)
    assert found.not_loaded == ""
    (comparison,) = found.under_load.values()
    assert (comparison.a, comparison.b) == ("single@1", "single@2")
    assert [one.figure for one in comparison.named("regression")].count("p50") == 1
    assert any(text.startswith("p50 at concurrency 4 is ") for text in found.objections)


def _add_slow_version(repository: Path) -> None:
    # How one caller finds it is no matter here, and noise where others use the machine.
    (repository / "modelport.toml").write_text("[promote]\nmost_slower = 100.0\n")
    slow = SINGLE.replace("FACTOR", "2").replace(
        "        return [self.answer(request)",
        "        import time; time.sleep(0.03 * (len(requests) > 1))\n"
        "        return [self.answer(request)",
    )
    write(repository.parent / "other", "single", slow)
    folder = repository / "single" / "2"
    shutil.move(repository.parent / "other" / "single" / "1", folder)
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"version": 2}).write(folder)
    config = repository / "single" / "config.pbtxt"
    config.write_text(config.read_text() + "version_policy { specific { versions: 1 } }\n")


def test_a_promotion_says_why_nothing_was_loaded(repository: Path) -> None:
    _add_slow_version(repository)
    folder = repository / "single" / "2"
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"public": False}).write(folder)
    command = [
        *("promote", "single", "2", "--bound", "p50=2", "--dry-run"),
        *("--repository", str(repository)),
    ]
    said = CliRunner().invoke(cli.command, command, catch_exceptions=False)
    assert "not loaded beside what serves: no public model that serves" in said.stderr
