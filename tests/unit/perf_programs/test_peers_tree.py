"""Process trees of perf/peers: their time, and that nothing is left of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from peers import tree

from modelport.runtime import proc

# The shell ends at once and leaves a process in a session of its own, as Ray does.
DAEMON = "setsid sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exec sleep {mark}' &"


def eventually(holds: Callable[[], bool]) -> bool:
    """Look for ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return False


def sleepers(mark: str) -> list[int]:
    return [p.pid for p in proc.processes() if proc.command_line(p.pid) == ["sleep", mark]]


def test_the_time_of_children_that_ended_counts() -> None:
    stat = "7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 100 20 30 4 20 0 1 0 99 0 0"
    assert tree.stat_cpu_s(stat) == pytest.approx(1.54)


def test_what_daemonizes_itself_is_found_and_ended(tmp_path: Path) -> None:
    found = tree.Tree(["sh", "-c", DAEMON.format(mark="61.5")], {}, tmp_path / "log", tmp_path)
    try:
        assert eventually(lambda: bool(set(sleepers("61.5")) & set(found.pids())))
        assert found.cpu_s() > 0
        assert found.pss_bytes() > 0
    finally:
        found.end()
    assert not found.alive()
    assert sleepers("61.5") == []


def test_a_halted_tree_takes_no_time_and_can_be_ended(tmp_path: Path) -> None:
    found = tree.Tree(["sh", "-c", "while :; do :; done"], {}, tmp_path / "log", tmp_path)
    try:
        # What the keeper itself takes to start is not the loop's.
        assert eventually(lambda: len(found.pids()) > 1 and found.cpu_s() > 0.1)
        found.halt()
        assert {proc.process(pid).state for pid in found.pids()[1:]} == {"T"}  # type: ignore[union-attr]
        before = found.cpu_s()
        found.go_on()
        assert eventually(lambda: found.cpu_s() > before + 0.05)
        found.halt()
    finally:
        found.end()
    assert not found.alive()


def test_a_tree_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(tree.__file__).parents[1])!r})
from pathlib import Path
from peers import tree
kept = tree.Tree(["sleep", "62.5"], {{}}, Path("log"), Path("."))
print("started", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        assert eventually(lambda: bool(sleepers("62.5")))
        process.kill()
    assert eventually(lambda: not sleepers("62.5"))
