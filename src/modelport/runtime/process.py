"""The launcher's side of the guardian: start it, speak to it, notice its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ServerStartError
from modelport.runtime import proc
from modelport.runtime.guardian import remove_regions

# What the kernel keeps of triton_python_backend_stub.
STUB_NAME = "triton_python_b"
_GUARDIAN = Path(__file__).with_name("guardian.py")
_SHM = Path("/dev/shm")  # noqa: S108 - the kernel's own place


@dataclass(frozen=True)
class Launch:
    """What to start; ``secret`` and ``shm_prefix`` as in the guardian's order."""

    command: Sequence[str]
    variables: dict[str, str]
    log: Path
    drain_s: float
    shm_prefix: str
    secret: str


class ServerProcess:
    """tritonserver and its stubs, under a guardian.

    Attributes:
        pid: of tritonserver; also the id of the process group of server and stubs.
    """

    def __init__(self, launch: Launch) -> None:
        self._shm_prefix = launch.shm_prefix
        self._ended = threading.Event()
        self._pipe = threading.Lock()
        # A session of its own: Ctrl-C in the terminal reaches the launcher alone.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        order = {
            "command": list(launch.command),
            "variables": launch.variables,
            "log": str(launch.log),
            "launcher": os.getpid(),
            "drain_s": launch.drain_s,
            "shm_prefix": launch.shm_prefix,
            "secret": launch.secret,
        }
        self._say(json.dumps(order))
        self.pid = self._read_pid(launch)
        self._watcher = threading.Thread(target=self._watch, name="modelport-guardian", daemon=True)
        self._watcher.start()

    def _read_pid(self, launch: Launch) -> int:
        assert self._guardian.stdout is not None
        with self._guardian.stdout as stream:
            line = stream.readline()
        if not line:
            raise ServerStartError(
                f"{launch.command[0]}: cannot be started; the guardian ended with status "
                f"{self._guardian.wait()}"
            )
        return int(json.loads(line)["pid"])

    def _say(self, word: str) -> None:
        assert self._guardian.stdin is not None
        with self._pipe, contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.write(word.encode() + b"\n")
            self._guardian.stdin.flush()

    def _watch(self) -> None:
        status = self._guardian.wait()
        if status < 0:
            # Killed: the kernel ends the server then, but its stubs and regions are ours.
            self._end_group()
        self._ended.set()

    def _end_group(self, patience_s: float = 5.0) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            members = [p for p in proc.processes() if p.group == self.pid and p.state != "Z"]
            if not members:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.05)
        remove_regions(self._shm_prefix)

    @property
    def status(self) -> int | None:
        """Exit status of the server, 128 plus the signal if one killed it; None while it runs."""
        return self._guardian.returncode if self._ended.is_set() else None

    def hide_secret(self) -> None:
        """Wipe the secret from the server's command line, once the server has read it."""
        self._say("hide")

    def stop(self) -> None:
        """Ask for a polite end; gives no answer, see :meth:`wait`."""
        self._say("stop")

    def kill(self) -> None:
        """End server and stubs at once."""
        self._say("kill")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing of it is left; False when the time is over before."""
        return self._ended.wait(timeout_s)

    def stubs(self) -> list[proc.Process]:
        """List the python stubs, dead ones (state ``Z``) included."""
        return stubs_of(self.pid)


def stubs_of(pid: int) -> list[proc.Process]:
    """List the python stubs of a tritonserver, dead ones (state ``Z``) included."""
    return [p for p in proc.processes() if p.parent == pid and p.name == STUB_NAME]


def new_shm_prefix() -> str:
    """Name the shared memory of one server so that a later start can tell whether it lives."""
    return f"modelport-{_namespace()}-{os.getpid()}-{os.urandom(3).hex()}-"


def sweep_shm() -> None:
    """Remove what servers left in /dev/shm whose launcher and guardian were both killed."""
    own = f"modelport-{_namespace()}-"
    with contextlib.suppress(FileNotFoundError):
        for region in _SHM.iterdir():
            # Another container may share the folder but not the process ids.
            if not region.name.startswith(own):
                continue
            pid = region.name[len(own) :].partition("-")[0]
            if pid.isdecimal() and proc.process(int(pid)) is None:
                with contextlib.suppress(OSError):
                    region.unlink()


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
