"""A server's whole process tree: its CPU time, memory, and how to start, halt and end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from peers import cores

from modelport.runtime import proc

HERE = Path(__file__).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_END_S = 15.0
_HALT_S = 2.0


class Tree:
    """A command under a keeper (keeper.py), with everything that it started.

    Args:
        command: what to run.
        environment: added to this process's own.
        log: where its output goes.
        folder: where it runs.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path, folder: Path
    ) -> None:
        keeper = [sys.executable, "-I", "-S", HERE / "keeper.py", *command]
        with log.open("wb") as file:
            self._keeper = subprocess.Popen(
                keeper,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
                cwd=folder,
                start_new_session=True,
            )
        self.log = log

    def pids(self) -> list[int]:
        """Give the processes, the keeper first, parents before children."""
        children: dict[int, list[int]] = {}
        for one in proc.processes():
            children.setdefault(one.parent, []).append(one.pid)
        found = [self._keeper.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def alive(self) -> bool:
        """Say whether anything runs: the keeper ends with the last one."""
        return self._keeper.poll() is None

    def cpu_s(self) -> float:
        """Give the user and system time so far, of processes that have ended too."""
        return sum(map(cpu_with_ended_s, self.pids()))

    def pss_bytes(self) -> int:
        """Give the proportional set size of all but the keeper."""
        return sum(proc.pss_bytes(pid) or 0 for pid in self.pids()[1:])

    def halt(self) -> None:
        """Stop it where it stands (SIGSTOP), parents first, so that none misses its children."""
        self._send(signal.SIGSTOP, self.pids()[1:])
        # On a busy machine the signal is taken a while after it was sent.
        until = time.monotonic() + _HALT_S
        while time.monotonic() < until and any(map(_runs, self.pids()[1:])):
            time.sleep(0.005)

    def go_on(self) -> None:
        """Let it run on (SIGCONT), children first."""
        self._send(signal.SIGCONT, self.pids()[:0:-1])

    def end(self) -> None:
        """End it all, at last by force."""
        self.go_on()
        self._send(signal.SIGTERM, self.pids()[:1])
        until = time.monotonic() + _END_S
        while self._keeper.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        while self._keeper.poll() is None:
            self._send(signal.SIGKILL, self.pids()[1:])
            time.sleep(0.05)

    def _send(self, number: signal.Signals, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _runs(pid: int) -> bool:
    found = proc.process(pid)
    return found is not None and found.state not in "TtZX"


def cpu_with_ended_s(pid: int) -> float:
    """Give the time of a process and of its children that have ended; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return stat_cpu_s(text)


def stat_cpu_s(stat: str) -> float:
    """Add up utime, stime, cutime and cstime of a line of /proc/PID/stat: proc_pid_stat(5)."""
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def machine_cpu_s() -> tuple[float, float]:
    """Give what our CPUs have worked since the start, and what the host took from them (steal)."""
    busy, stolen = 0, 0
    names = {f"cpu{number}" for number in cores.ALLOWED}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
    return busy / _TICKS_PER_S, stolen / _TICKS_PER_S
