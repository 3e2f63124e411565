"""A private server with one model on it, whose settings can be changed between measurements."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelport.client import Client
from modelport.errors import ClientError
from modelport.perf.settings import Settings
from modelport.repository import pbtxt
from modelport.repository.layout import CONFIG, Repository
from modelport.repository.placing import staged
from modelport.runtime import proc
from modelport.runtime.process import STUB_NAME
from modelport.runtime.server import Server
from modelport.runtime.stubs import model_of
from modelport.spec.config import ModelConfig

_WINDOW_S = 0.05
_CALM_S, _PATIENCE_S = 1.0, 30.0


@dataclass(frozen=True)
class Executions:
    """Executions of one batch size, as Triton counts them.

    Attributes:
        count: of them.
        took_s: all of them together: inputs, inference and outputs, the queue not.
    """

    count: int = 0
    took_s: float = 0.0


@dataclass(frozen=True)
class Spent:
    """What was counted between two moments.

    Attributes:
        model_cpu_s: CPU time of the processes of the model that is tuned.
        server_cpu_s: that of tritonserver and all other models.
        executions: of the tuned model, by batch size.
        windows: the mean seconds of an execution in short spans of time, by batch size.
    """

    model_cpu_s: float
    server_cpu_s: float
    executions: Mapping[int, Executions]
    windows: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """Items that were executed."""
        return sum(size * one.count for size, one in self.executions.items())

    @property
    def batches(self) -> int:
        """Executions of all sizes."""
        return sum(one.count for one in self.executions.values())


class Bench:
    """One model on a server of its own, with what it runs.

    Attributes:
        server: where it serves.
        model: its name, which requests go to.
        tuned: the model whose settings change: itself, or a part of it.
        config: of ``tuned``, as it was proven.
        load_cpu_s: CPU time that load generators have spent on it.
    """

    def __init__(self, server: Server, stage: Path, model: str, tuned: str) -> None:
        self.server, self.model, self.tuned = server, model, tuned
        self._stage = stage
        self._instances = 1
        self.config: ModelConfig = pbtxt.read(stage / tuned / CONFIG)
        self._client = Client(server.endpoints.http)
        self._cpu: dict[tuple[int, int], float] = {}
        self.load_cpu_s = 0.0

    def choose(self, tuned: str) -> None:
        """Have another of its models be the one whose settings change."""
        self.tuned = tuned
        self.config = pbtxt.read(self._stage / tuned / CONFIG)

    @property
    def url(self) -> str:
        """The HTTP endpoint."""
        return self.server.endpoints.http

    def configure(self, settings: Settings) -> None:
        """Serve the tuned model with other settings; raises LoadError."""
        config = settings.applied(self.config)
        (self._stage / self.tuned / CONFIG).write_text(pbtxt.render(config), encoding="utf-8")
        self.cpu_s()  # of processes that end now
        self.server.load(self.tuned)
        self._instances = settings.batching.instances

    def cpu_s(self) -> float:
        """Give the CPU time so far of the server's processes, ended ones as they were last seen."""
        for process in proc.processes():
            if process.group == self.server.pid:
                key = (process.pid, process.start)
                self._cpu[key] = max(self._cpu.get(key, 0.0), proc.cpu_of_s(process.pid))
        return sum(self._cpu.values())

    def settle(self) -> None:
        """Wait until what it was asked is executed, though nobody waits for the answers."""
        end = time.monotonic() + _PATIENCE_S
        before: dict[int, Executions] | None = None
        while time.monotonic() < end:
            with suppress(ClientError):
                now = self.executions()
                if now == before:
                    return
                before = now
            time.sleep(_CALM_S)

    def memory_bytes(self) -> tuple[int, int]:
        """Give the memory of the tuned model's largest process, and of all else, as PSS."""
        own, others = [], proc.pss_bytes(self.server.pid) or 0
        for pid, mine in self._processes().items():
            size = proc.pss_bytes(pid) or 0
            if mine:
                own.append(size)
            elif pid != self.server.pid:
                others += size
        return max(own, default=0), others

    def all_memory_bytes(self) -> int:
        """Give the memory of all its processes, as PSS, but of those that are being ended.

        Triton's Python backend takes a second to end a stub of the settings before.
        """
        process, others = self.memory_bytes()
        return others + self._instances * process

    @contextmanager
    def counting(self, *, windows: bool = False) -> Iterator[list[Spent]]:
        """Count what is spent within the block; the list holds it afterwards.

        Args:
            windows: look some times a second, see :attr:`Spent.windows`.
        """
        before, marks = self._processes(), [self.executions()]
        cpu = {pid: proc.cpu_of_s(pid) for pid in before}
        found: list[Spent] = []
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(marks, ended), daemon=True)
        if windows:
            watch.start()
        try:
            yield found
        finally:
            ended.set()
            if windows:
                watch.join()
        after = self._processes()
        self.cpu_s()
        spent = {pid: proc.cpu_of_s(pid) - cpu[pid] for pid in before if pid in after}
        marks.append(self.executions())
        found.append(
            Spent(
                model_cpu_s=sum(spent[pid] for pid in spent if before[pid]),
                server_cpu_s=sum(spent[pid] for pid in spent if not before[pid]),
                executions=_between(marks[0], marks[-1]),
                windows=_windows(marks),
            )
        )

    def executions(self, model: str = "") -> dict[int, Executions]:
        """Read how often and how long a model, the tuned one, has executed, by batch size."""
        found: dict[int, Executions] = {}
        for version in self._client.statistics(model or self.tuned):
            for row in version.get("batch_stats", ()):
                count, took = int(row["compute_infer"].get("count", 0)), 0
                for name in ("compute_input", "compute_infer", "compute_output"):
                    took += int(row[name].get("ns", 0))
                found[int(row["batch_size"])] = Executions(count, took / 1e9)
        return found

    def _watch(self, marks: list[dict[int, Executions]], ended: threading.Event) -> None:
        while not ended.wait(_WINDOW_S):
            with suppress(ClientError):  # of a busy server: the next window is longer
                marks.append(self.executions())

    def _processes(self) -> dict[int, bool]:
        """Find the server's processes, and whether each is one of the tuned model."""
        folders = {str((self._stage / self.tuned).resolve()): self.tuned}
        return {
            process.pid: process.name == STUB_NAME and model_of(process.pid, folders) == self.tuned
            for process in proc.processes()
            if process.group == self.server.pid
        }

    def close(self) -> None:
        """End its connections; the server is ended by who started it."""
        self._client.close()


@contextmanager
def opened(repository: Repository, versions: Mapping[str, int]) -> Iterator[Bench]:
    """Serve a model alone, on a server that nobody else sees.

    Args:
        repository: where it lies; it stays as it is.
        versions: of the model, which comes first, and of what it runs.

    Raises:
        LoadError: one does not load.
    """
    model = next(iter(versions))
    with staged(repository, versions) as stage:
        server = Server.start(stage, listed=False, response_cache=False)
        with ExitStack() as stack:
            stack.callback(server.kill)
            bench = Bench(server, stage, model, model)
            stack.callback(bench.close)
            yield bench


def _between(
    before: Mapping[int, Executions], after: Mapping[int, Executions]
) -> dict[int, Executions]:
    nothing = Executions()
    found = {}
    for size, now in after.items():
        was = before.get(size, nothing)
        if now.count > was.count:
            found[size] = Executions(now.count - was.count, now.took_s - was.took_s)
    return found


def _windows(marks: Sequence[Mapping[int, Executions]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for before, after in itertools.pairwise(marks):
        for size, one in _between(before, after).items():
            found.setdefault(size, []).append(one.took_s / one.count)
    return found
