"""The small process between the launcher and tritonserver that leaves no orphan behind.

The launcher runs this file on its own (``python -I -S guardian.py``), with the
standard library only, and holds the other end of its standard input:

* the first line is the order, as JSON (see :class:`Order`);
* then ``stop`` ends the server politely, ``kill`` at once, ``hide`` wipes the
  secret from the server's command line;
* end of file means that the launcher is gone, even by kill -9: the same as ``stop``.

It answers one line of JSON with the server's process id, and ends with the
server's status. tritonserver and its stubs live in a process group of their
own. If the guardian itself is killed, the kernel kills tritonserver
(PR_SET_PDEATHSIG), and the launcher, if it lives, kills the rest of the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 1.0
# Without its launcher nobody waits for the server, and idle connections hold it up.
_ORPHAN_DRAIN_S = 5.0


class Order:
    """What to start and how to end it.

    Attributes:
        command: the program and its arguments.
        variables: its whole environment.
        log: the file that takes its output.
        launcher: process id of whoever gave the order.
        drain_s: how long a polite stop may take.
        shm_prefix: beginning of the names of its regions in /dev/shm.
        secret: what ``hide`` wipes from its command line.
    """

    def __init__(self, line: bytes) -> None:
        fields = json.loads(line)
        self.command: list[str] = fields["command"]
        self.variables: dict[str, str] = fields["variables"]
        self.log: str = fields["log"]
        self.launcher: int = fields["launcher"]
        self.drain_s: float = fields["drain_s"]
        self.shm_prefix: str = fields["shm_prefix"]
        self.secret: str = fields["secret"]


class Guardian:
    """Runs one server until it ends or must end."""

    def __init__(self, order: Order, libc: ctypes.CDLL) -> None:
        self.order = order
        self.libc = libc
        self.pid = 0
        self.deadline: float | None = None
        self.wake, wake_in = os.pipe()
        for end in (self.wake, wake_in):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_in)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        # Ctrl-C and a closing terminal are the launcher's to judge.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # A server that dies leaves its stubs to us, not to init: then none is lost.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self) -> None:
        """Start the server and tell the launcher its process id."""
        guardian = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._become_server(guardian)
        os.write(1, json.dumps({"pid": self.pid}).encode() + b"\n")

    def _become_server(self, guardian: int) -> NoReturn:
        try:
            os.setsid()
            self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guardian:  # it died before the line above took effect
                os._exit(1)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            log = os.open(self.order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.closerange(3, 64)
            os.execve(self.order.command[0], self.order.command, self.order.variables)  # noqa: S606
        except OSError as error:
            os.write(2, f"modelport: cannot start {self.order.command[0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def run(self) -> int:
        """Wait for the server's end, bringing it about when told to; gives the exit status."""
        sources = [0, self.wake]
        while not self._ended():
            ready, _, _ = select.select(sources, [], [], self._timeout())
            if self.wake in ready and signal.SIGTERM in os.read(self.wake, 512):
                self._stop()
            if 0 in ready and not self._obey():
                sources.remove(0)
                self._stop(_ORPHAN_DRAIN_S)
            if os.getppid() != self.order.launcher:
                self._stop(_ORPHAN_DRAIN_S)
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self._kill()
        return self._finish()

    def _timeout(self) -> float:
        if self.deadline is None:
            return _POLL_S
        return min(_POLL_S, max(0.0, self.deadline - time.monotonic()))

    def _obey(self) -> bool:
        """Read the launcher's words; False when it is gone."""
        data = os.read(0, 4096)
        for word in data.split():
            if word == b"stop":
                self._stop()
            elif word == b"kill":
                self._kill()
            elif word == b"hide":
                with contextlib.suppress(OSError):  # forbidden in some containers
                    hide(self.pid, self.order.secret.encode())
        return bool(data)

    def _stop(self, drain_s: float | None = None) -> None:
        if self.deadline is None:
            self.deadline = time.monotonic() + (drain_s or self.order.drain_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _ended(self) -> bool:
        """Say whether the server ended; it stays a zombie, so that its group's id stays its own."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _finish(self) -> int:
        self._kill()
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(ChildProcessError):
            while True:  # stubs that were handed to us
                os.waitpid(-1, 0)
        remove_regions(self.order.shm_prefix)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def hide(pid: int, secret: bytes) -> None:
    """Wipe ``secret`` from the command line that ``ps`` shows of another process.

    tritonserver takes the key of its restricted API on the command line only, and
    whoever reads it may load models, which runs code as the server's user.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib would cost start-up time
        fields = file.read().rpartition(b") ")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc_pid_stat(5)
    if not secret or not begin:
        return
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
        memory.seek(begin)
        arguments = memory.read(end - begin)
        place = arguments.find(secret)
        while place >= 0:
            memory.seek(begin + place)
            memory.write(b"x" * len(secret))
            place = arguments.find(secret, place + 1)


def remove_regions(prefix: str) -> None:
    """Remove what a killed server left in /dev/shm."""
    if not prefix:
        return
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir("/dev/shm"):  # noqa: S108 - the kernel's own place
            if entry.name.startswith(prefix):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108


def main() -> int:
    """Guard one server."""
    guardian = Guardian(Order(sys.stdin.buffer.readline()), ctypes.CDLL(None))
    guardian.start()
    return guardian.run()


if __name__ == "__main__":
    sys.exit(main())
