"""What /proc tells of processes: who they are, whether they live, who listens on a port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One line of the process table.

    Attributes:
        state: ``"R"``, ``"S"``, ``"Z"`` (dead, its parent has not noticed) ….
        start: when it started, in clock ticks since boot; with the pid it names
            one process for good.
    """

    pid: int
    name: str
    state: str
    parent: int
    group: int
    start: int


def process(pid: int) -> Process | None:
    """Look a process up; None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Process(
        pid=pid,
        name=head.partition("(")[2],
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        start=int(fields[19]),
    )


def processes() -> Iterator[Process]:
    """Go through all processes."""
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal() and (found := process(int(entry.name))):
            yield found


def command_line(pid: int) -> list[str]:
    """Give the arguments of a process; empty when it is dead or not ours to see."""
    try:
        data = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in data.split(b"\0")[:-1]]


def pss_bytes(pid: int) -> int | None:
    """Give the proportional set size of a process; None when it is dead or not ours to see."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    lines = (line.split() for line in text.splitlines() if line.startswith("Pss:"))
    return next((int(fields[1]) << 10 for fields in lines), None)


def cpu_s(group: int) -> float:
    """Give the user and system time so far of all processes of a group: a server and its stubs."""
    return sum(cpu_of_s(process.pid) for process in processes() if process.group == group)


def cpu_of_s(pid: int) -> float:
    """Give the user and system time so far of one process; 0 when it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime, stime: proc_pid_stat(5)


def listener(port: int) -> Process | None:
    """Find the process that listens on a TCP port, if this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    return next((p for p in processes() if sockets & set(_open_files(p.pid))), None)


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            listening = fields[3] == "0A"
            if listening and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _open_files(pid: int) -> Iterator[str]:
    try:
        for entry in os.scandir(_PROC / str(pid) / "fd"):
            yield str(Path(entry.path).readlink())
    except OSError:
        return
