"""Kills a process, or fills its disk, at the n-th thing that it does to the files of a folder.

A :class:`Nursery` is a process of its own that has imported what is needed and forks a child for
each trial, so that a kill at each of a hundred steps takes a second or two. The product knows
nothing of it: Python announces what it does to files to audit hooks.
"""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

# What makes a name or gives bytes a place, and so needs room; what else changes a folder.
_MAKES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"}
_CHANGES = {*_MAKES, "os.remove", "os.rmdir", "os.chmod"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
        kind: ``kill``: SIGKILL instead of the step. ``full``: no space from the step on.
            ``limit``: the kernel refuses to write more than ``number`` bytes to a file.
        number: of the step; steps count from 0.
        folder: what is done elsewhere does not count.
    """

    kind: Literal["kill", "full", "limit"]
    number: int
    folder: Path


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        killed: by the fault.
        result: what the work returned.
        error: class and text of what it raised; a traceback where that was none of Modelport's.
    """

    killed: bool
    result: Any = None
    error: tuple[str, str] | None = None


class Nursery:
    """Forks children that do some work with a fault in it.

    Args:
        *modules: with the work; imported once, from the folders on ``sys.path``.
        within: a command to run it under.
    """

    def __init__(self, *modules: str, within: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*within, sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def run(self, work: Callable[..., Any], *arguments: Any, fault: Fault | None = None) -> Ended:
        """Do the work, a function of one of the modules, in a child."""
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump((work.__module__, work.__name__, arguments, fault), self._process.stdin)
        self._process.stdin.flush()
        ended: Ended = pickle.load(self._process.stdout)
        return ended

    def close(self) -> None:
        """End the nursery."""
        self._process.communicate()


class _Armed:
    """Counts what this process does in the folder, and strikes at the step; for good."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._inside = str(fault.folder)
        self._events = _CHANGES if fault.kind == "kill" else _MAKES
        self._count = 0
        self._struck = False
        os.fsync = self.fsync  # has no audit event of its own
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                self.step(path)
                if self._fault.kind == "kill":
                    self.step(path, opened=flags)
        elif event in self._events:
            self.step(*arguments[:2], _open_folder(arguments[-1]))

    def fsync(self, descriptor: int) -> None:
        """Refuse, but save the time: nobody pulls the plug here.

        A kill before it leaves what a kill before the next step leaves.
        """
        if self._fault.kind == "full":
            self.step(_open_folder(descriptor))

    def step(self, *paths: object, opened: int | None = None) -> None:
        """Strike, if it is time; a file that is opened to write is there then, and empty."""
        if self._struck or not any(
            isinstance(p, str | Path) and str(p).startswith(self._inside) for p in paths
        ):
            return
        self._count += 1
        if self._count <= self._fault.number:
            return
        if self._fault.kind == "kill":
            self._struck = True
            if opened is not None:
                with suppress(OSError):
                    os.open(str(paths[0]), opened, 0o600)
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._inside)


def _inject(fault: Fault) -> None:
    if fault.kind == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.number, resource.RLIM_INFINITY))
    else:
        _Armed(fault)


def _open_folder(descriptor: object) -> str | None:
    """Name what is open; a tree is removed by names that are relative to an open folder."""
    if not isinstance(descriptor, int) or descriptor < 0:
        return None
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - may be no path at all


def _child(order: tuple[str, str, tuple[Any, ...], Fault | None]) -> Ended:
    module, name, arguments, fault = order
    work = getattr(import_module(module), name)
    if fault is not None:
        _inject(fault)
    try:
        return Ended(False, work(*arguments))
    except BaseException as error:  # noqa: BLE001 - told to who asked for it
        if type(error).__module__ == "modelport.errors":
            return Ended(False, error=(type(error).__name__, str(error)))
        return Ended(False, error=("traceback", traceback.format_exc()))


def _forked(order: tuple[str, str, tuple[Any, ...], Fault | None]) -> Ended:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(_child(order), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGKILL:
        return Ended(True)
    ended: Ended = pickle.loads(answer)
    return ended


def _serve() -> None:
    answers, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    for module in sys.argv[1:]:
        import_module(module)
    gc.freeze()  # else each child copies what its collector looks at
    while True:
        try:
            order = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_forked(order), answers)
        answers.flush()


if __name__ == "__main__":
    # What is pickled is named after the module, not after the script.
    import_module("faults")._serve()
