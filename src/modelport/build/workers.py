"""Builder files side by side, each in a process of its own.

Training keeps Python's lock and a core busy, which a process that serves and answers cannot
spare; and two files are built in half the time on two cores. What a file gives does not depend
on what is built beside it: steps are seeded, single-threaded and kept by content, and publishing
takes the repository's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from modelport import errors
from modelport.build.steps import Built, Progress, Report
from modelport.build.worker import ENDING_S, Job
from modelport.errors import BuildError, ModelportError
from modelport.runtime import cache

__all__ = ["Job", "Outcome", "Workers", "count"]

# torch, a data set and a private tritonserver; measured on this repository's models.
_NEEDS_BYTES = 2 << 30
_LOGGED_LINES = 12

Heard = Callable[[Path, "Report | Progress"], None]


@dataclass(frozen=True)
class Outcome:
    """What came of one builder file: its models, or the error that stopped it."""

    builder: Path
    built: list[Built] = field(default_factory=list)
    error: Exception | None = None
    duration_s: float = 0.0
    log: str = ""


def count(jobs: int | None = None) -> int:
    """Say how many builds run side by side: as asked, else one per core that has memory."""
    if jobs is not None:
        return jobs
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, _available_bytes() // _NEEDS_BYTES))


def _available_bytes() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


class Workers:
    """Builds files side by side; as a context manager it leaves no process behind.

    Args:
        jobs: what to build, in this order.
        side_by_side: how many at once.
        heard: told of every step, from a thread per build.

    Attributes:
        outcomes: takes one :class:`Outcome` for each job, as it ends.
    """

    def __init__(self, jobs: Sequence[Job], side_by_side: int, heard: Heard) -> None:
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self._waiting = list(jobs)
        self._heard = heard
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name="modelport-build", daemon=True)
            for _ in range(min(side_by_side, len(jobs)))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Interrupt what is being built; each build puts its own things in order first."""
        with self._lock:
            self._stopping = True
            self._waiting.clear()
        deadline = time.monotonic() + ENDING_S
        self._signal(signal.SIGINT)
        while self._alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """End what is being built at once."""
        with self._lock:
            self._stopping = True
            self._waiting.clear()
        while self._alive():
            self._signal(signal.SIGKILL)
            time.sleep(0.05)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(ENDING_S)

    def __enter__(self) -> Workers:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _alive(self) -> list[subprocess.Popen[str]]:
        with self._lock:
            return [process for process in self._running if process.poll() is None]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._alive():
            # The whole group: pip, and whatever else the build started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            start = time.monotonic()
            try:
                built, log = self._build(job)
                outcome = Outcome(Path(job.builder), built, log=log)
            except Exception as error:  # noqa: BLE001 - carried to whoever reads the outcomes
                outcome = Outcome(Path(job.builder), error=error)
            took = time.monotonic() - start
            self.outcomes.put(Outcome(**{**vars(outcome), "duration_s": took}))

    def _next(self) -> Job | None:
        with self._lock:
            return self._waiting.pop(0) if self._waiting else None

    def _build(self, job: Job) -> tuple[list[Built], str]:
        builder = Path(job.builder)
        log = _log_path(builder)
        with self._process(job, log) as (process, events):
            last = self._listen(builder, events)
            status = process.wait()
        text = log.read_text(encoding="utf-8", errors="replace")
        if last.get("kind") == "built":
            log.unlink(missing_ok=True)
            return [Built(**one) for one in last["models"]], text
        if last.get("kind") == "error":
            raise _error(builder, last, log)
        raise _ended(builder, status, text, log)

    @contextlib.contextmanager
    def _process(self, job: Job, log: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
        reading, writing = os.pipe()
        with os.fdopen(reading, encoding="utf-8") as events:
            try:
                process = self._begin(job, writing, log)
            finally:
                os.close(writing)
            try:
                yield process, events
            finally:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                with self._lock:
                    self._running.discard(process)

    def _begin(self, job: Job, events: int, log: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "modelport.build.worker", str(events)]
        with log.open("wb") as file, self._lock:
            if self._stopping:
                raise _StoppedError
            # A session of its own: Ctrl-C in the terminal reaches the starter alone.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                pass_fds=(events,),
                start_new_session=True,
                text=True,
            )
            self._running.add(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(job)) + "\n")
            process.stdin.flush()
        return process

    def _listen(self, builder: Path, events: IO[str]) -> dict[str, Any]:
        """Pass on what a build tells; gives its last word, empty when it had none."""
        last: dict[str, Any] = {}
        for line in events:
            try:
                event = json.loads(line)
            except ValueError:  # cut off by its end
                continue
            kind = event.pop("kind")
            if kind == "Report":
                self._heard(builder, Report(**event))
            elif kind == "Progress":
                self._heard(builder, Progress(**event))
            else:
                last = {"kind": kind, **event}
        return last


class _StoppedError(Exception):
    """Told to stop before the build began."""


def _log_path(builder: Path) -> Path:
    """Name the file that takes what a build prints; those of builds long gone are removed."""
    folder = cache.folder("logs")
    for old in folder.glob(f"build-{builder.stem}-*.log"):
        pid = old.stem.rpartition("-")[2]
        if not Path("/proc", pid).exists():
            old.unlink(missing_ok=True)
    return folder / f"build-{builder.stem}-{os.getpid()}.log"


def _error(builder: Path, told: dict[str, Any], log: Path) -> Exception:
    """Make the error that a build ended with, of the class that it has there."""
    if told["error"] == "ModuleNotFoundError":
        return ModuleNotFoundError(told["what"], name=told.get("name"))
    kind = getattr(errors, told["error"], None)
    if isinstance(kind, type) and issubclass(kind, ModelportError):
        return kind(told["what"], cause=told["cause"], next_step=told["next_step"], builder=builder)
    return BuildError(
        f"{builder}: the build failed: {told['error']}: {told['what']}",
        cause="a fault in Modelport, or in a package that it uses",
        next_step=f"look at {log}; please report it",
        builder=builder,
        log=log,
    )


def _ended(builder: Path, status: int, text: str, log: Path) -> BuildError:
    """Make the error for a build that ended without a word."""
    lines = "".join(f"\n    {line}" for line in text.splitlines()[-_LOGGED_LINES:])
    alone = f"modelport build {builder.stem} --jobs 1 builds it alone"
    if status < 0:
        name = signal.Signals(-status).name
        memory = status == -signal.SIGKILL
        return BuildError(
            f"{builder}: the process that built it was ended by {name}{lines}",
            cause="the machine ran out of memory, or somebody ended it" if memory else None,
            next_step=f"{alone}; nothing of it was published",
            builder=builder,
            log=log,
        )
    return BuildError(
        f"{builder}: the process that built it ended with status {status}, without a result{lines}",
        cause="code of the builder, or a package that it uses, ended the process",
        next_step=f"look at {log}; {alone}",
        builder=builder,
        log=log,
    )
