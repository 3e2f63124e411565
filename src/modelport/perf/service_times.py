"""What an execution of a model costs, by batch size, measured once on the real server.

The model is served alone, with settings that make Triton's batcher run batches of one size: it is
the preferred one, and as many callers as the batch holds wait for each other.
So an execution is measured as it will be, of single requests gathered by the server, and not as
one request with many items, which spares the server much of the work.

Times of executions are Triton's own (statistics extension: compute_input, compute_infer and
compute_output of ``batch_stats``), over short spans; CPU times are those of the
processes, from /proc. What a request costs outside of executions is the rest: the server's other
processes, the caller, and the time that neither explains.

Sizes between the measured ones are interpolated. Executions side by side share the cores in the
simulation (:mod:`modelport.perf.simulation`); how much slower they are beyond that, by shared
caches and memory, is measured at two sizes with an instance for each core.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from modelport.errors import LoadError
from modelport.perf.asking import Ask, Closed
from modelport.perf.batcher import Batching
from modelport.perf.bench import Bench, Spent
from modelport.perf.settings import Settings
from modelport.perf.simulation import Costs

Tell = Callable[[int, int, str], None]

# Long enough for every caller of a run to be waited for; a run whose callers fail to come in
# time still executes, with less.
_GATHER_S = 0.02
_LEAST_S = 1.0
# A run whose batches are smaller than this share of what was wanted tells nothing of that size.
_FORMED = 0.8
# So many instances show how they hinder each other; more would take minutes to start.
_CROWD = 8
_GROUPS = Path("/sys/fs/cgroup")
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Point(BaseModel):
    """One run: executions of one batch size.

    Attributes:
        size: of the batches that were wanted.
        mean_size: of those that ran.
        instances: executions side by side.
        threads: of each.
        executions: how many were counted.
        execution_size: of the batches that ran, the one nearest to ``size``.
        execution_s: typical seconds of one of that size.
        model_cpu_s: CPU time of the model's processes for one execution.
        server_cpu_s: CPU time of the server's other processes for one request.
        caller_cpu_s: CPU time of the load generator for one request.
        latency_s: quantiles of the callers' latency at 0.5, 0.9, 0.95, 0.99 and 0.999.
        replies_per_s: throughput.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[int, Field(ge=1)]
    mean_size: Annotated[float, Field(ge=1)]
    instances: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=0)]
    executions: Annotated[int, Field(ge=1)]
    execution_size: Annotated[int, Field(ge=1)]
    execution_s: Annotated[float, Field(gt=0)]
    model_cpu_s: Annotated[float, Field(ge=0)]
    server_cpu_s: Annotated[float, Field(ge=0)]
    caller_cpu_s: Annotated[float, Field(ge=0)]
    latency_s: tuple[float, float, float, float, float]
    replies_per_s: Annotated[float, Field(gt=0)]

    @property
    def formed(self) -> bool:
        """Whether batches of the wanted size ran."""
        return self.mean_size >= _FORMED * self.size

    @property
    def requests(self) -> float:
        """How many were executed."""
        return self.executions * self.mean_size


class ServiceTimes(BaseModel):
    """All that was measured of one model on one machine.

    Attributes:
        model: that is asked.
        tuned: that executes in batches: itself, or a part of it.
        cores: that server and callers may use.
        shapes: of a tuned model with a dimension that varies, a number for each question's shape.
        process_bytes: memory of one process of the tuned model, as PSS.
        others_bytes: memory of the server and all other models.
        idle_cpu: cores that the server keeps busy with nothing to do.
        points: the runs.
        failed: runs that could not be made, and why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    tuned: str
    cores: Annotated[int, Field(ge=1)]
    shapes: tuple[int, ...] = ()
    process_bytes: int = 0
    others_bytes: int = 0
    idle_cpu: Annotated[float, Field(ge=0)] = 0.0
    points: tuple[Point, ...]
    failed: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What could not be measured, and is not known then."""
        return [
            *self.failed,
            *(
                f"batches of {point.size} did not form ({point.mean_size:.3g} on average,"
                f" {point.instances} × {point.threads or 1} threads): left out"
                for point in self.points
                if not point.formed
            ),
        ]

    def costs(self, settings: Settings) -> Costs:
        """Give what the simulation needs for some settings.

        Args:
            settings: with a number of threads that was measured.
        """
        most = max(1, settings.batching.max_batch_size)
        curve = _Curve.through(self._series(settings.threads), most)
        fixed, each = self._server()
        caller = self._caller()
        crowd = self._crowding(settings.batching.instances)
        cpu = (curve.cpu_s + fixed) * crowd
        took = np.maximum(curve.took_s * crowd, cpu / max(1, settings.threads))
        work = np.minimum(took, cpu)
        single = self._single()
        outside = each + caller
        lone = self._series(single.threads)[0]
        pause = single.latency_s[0] - lone.execution_s - outside
        return Costs(
            cores=self.cores,
            work_s=work,
            wait_s=took - work,
            cpu_s=cpu,
            outside_work_s=outside,
            outside_wait_s=max(0.0, pause),
            server_cpu_s=each,
            idle_cpu=self.idle_cpu,
            delays_s=_spread(single),
        )

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that were measured."""
        return tuple(sorted({point.threads for point in self.points if point.formed}))

    def memory_bytes(self, instances: int) -> int:
        """Estimate the memory of the server with so many instances."""
        return self.others_bytes + instances * self.process_bytes

    def _single(self) -> Point:
        alone = [p for p in self.points if p.size == 1 and p.instances == 1]
        return min(alone, key=lambda point: point.threads)

    def _series(self, threads: int) -> list[Point]:
        alone = [p for p in self.points if p.instances == 1 and p.threads == threads]
        return sorted((p for p in alone if p.formed), key=lambda point: point.size)

    def _caller(self) -> float:
        """Give the caller's CPU time for a request, without that of its start."""
        asked = np.array([point.requests for point in self.points])
        spent = np.array([point.caller_cpu_s * point.requests for point in self.points])
        middle = statistics.median(point.caller_cpu_s for point in self.points)
        if asked.max() < 2 * asked.min():
            return middle
        each, start = np.polyfit(asked, spent, 1)
        return float(each) if each > 0 and start >= 0 else middle

    def _server(self) -> tuple[float, float]:
        """Split the CPU time of the server into that of an execution and that of a request."""
        points = [point for point in self.points if point.instances == 1]
        inverse = np.array([1 / point.mean_size for point in points])
        spent = np.array([point.server_cpu_s for point in points])
        if np.ptp(inverse) < 0.1:
            return 0.0, float(np.median(spent))
        fixed, each = np.polyfit(inverse, spent, 1)
        if fixed < 0 or each < 0:
            return 0.0, float(np.median(spent))
        return float(fixed), float(each)

    def _crowding(self, instances: int) -> float:
        """Say how much more an execution costs beside others than alone."""
        ratios = []
        alone = {(p.size, p.threads): p for p in self.points if p.instances == 1}
        for point in self.points:
            one = alone.get((point.size, point.threads))
            known = one is not None and one.formed and point.formed
            if point.instances > 1 and one is not None and known and one.model_cpu_s > 0:
                ratio = point.model_cpu_s / one.model_cpu_s * (one.mean_size / point.mean_size)
                ratios.append((ratio - 1) / (point.instances - 1))
        return 1 + max(0.0, statistics.median(ratios)) * (instances - 1) if ratios else 1.0


@dataclass(frozen=True)
class _Curve:
    """Seconds and CPU seconds of an execution by batch size: float64[most + 1]."""

    took_s: np.ndarray
    cpu_s: np.ndarray

    @classmethod
    def through(cls, points: Sequence[Point], most: int) -> _Curve:
        sizes = np.arange(most + 1)
        took = _line(sizes, [p.execution_size for p in points], [p.execution_s for p in points])
        cpu = _line(sizes, [p.mean_size for p in points], [p.model_cpu_s for p in points])
        took[0] = cpu[0] = 0.0
        return cls(took, cpu)


def _line(sizes: np.ndarray, at: Sequence[float], values: Sequence[float]) -> np.ndarray:
    """Interpolate, and go on beyond the last point as between the last two.

    A single point tells nothing of other sizes: items then cost what they cost in that one.
    """
    known, which = np.unique(np.asarray(at, np.float64), return_inverse=True)
    mean: np.ndarray = np.bincount(which, values) / np.bincount(which)
    if len(known) == 1:
        alike: np.ndarray = mean[0] * sizes / known[0]
        return alike
    found: np.ndarray = np.interp(sizes, known, mean)
    slope = max(0.0, (mean[-1] - mean[-2]) / (known[-1] - known[-2]))
    beyond = sizes > known[-1]
    found[beyond] = mean[-1] + slope * (sizes[beyond] - known[-1])
    return found


def _spread(single: Point) -> np.ndarray:
    """Give how executions spread, such that a lone caller sees the latencies that were measured.

    Returns:
        Seconds beyond the median: ``float64[2000]``.
    """
    at = np.array([0.0, *_QUANTILES])
    beyond = np.array([0.0, *(each - single.latency_s[0] for each in single.latency_s)])
    found: np.ndarray = np.interp((np.arange(2000) + 0.5) / 2000, at, beyond)
    return found


def sizes_to(most: int) -> list[int]:
    """Choose the batch sizes to measure up to a largest one: doubling, and that one."""
    doubling = takewhile(lambda size: size < most, (2**power for power in range(12)))
    return [*doubling, most]


def plan(most: int, threads: Sequence[int], cores: int) -> list[Settings]:
    """Choose the few runs that tell enough.

    Args:
        most: the largest batch.
        threads: numbers of threads within an execution; the first gets the finest steps.
        cores: of the machine.
    """
    sizes = sizes_to(max(1, most))
    found = [(size, 1, threads[0]) for size in sizes]
    few = sorted({1, *sizes[::3], sizes[-1]})
    found += [(size, 1, t) for t in threads[1:] for size in few]
    if cores > 1:
        crowd = min(cores, _CROWD)
        found += [(size, crowd, threads[0]) for size in sorted({1, sizes[len(sizes) // 2]})]
    return [Settings(_only(size, k, most), t) for size, k, t in found]


def _only(size: int, instances: int, most: int) -> Batching:
    """Give settings under which as many callers make batches of one size alone.

    The largest batch stays what it is, for an ensemble refuses a part that takes less than it.
    """
    if size == 1:
        return Batching(instances, most, False)
    return Batching(instances, most, True, (size,), _GATHER_S)


def measure(
    bench: Bench,
    ask: Ask,
    runs: Sequence[Settings],
    tell: Tell,
    *,
    shapes: tuple[int, ...] = (),
    scale: float = 1.0,
) -> ServiceTimes:
    """Measure a model on its private server; a second or two for each run.

    Args:
        bench: serves it.
        ask: makes a load of callers.
        runs: what to measure, as :func:`plan` chooses it.
        tell: hears how many runs are done, of how many, and what is next.
        shapes: see :class:`ServiceTimes`.
        scale: of the duration of each run.

    Raises:
        LoadError: the model does not load with the first of them; where others do not, that is
            noted.
        LoadTestError: a reply was wrong, or the load could not be made.
    """
    points: list[Point] = []
    failed: list[str] = []
    for done, settings in enumerate(runs):
        tell(done, len(runs), str(settings))
        try:
            bench.configure(settings)
        except LoadError as error:
            if not points or bench.server.status is not None:
                raise
            failed.append(f"{settings}: {error.what}")
            continue
        points.append(_point(bench, ask, settings, scale))
    with bench.counting() as found:
        time.sleep(_LEAST_S * scale)
    idle = found[0].model_cpu_s + found[0].server_cpu_s
    process, others = bench.memory_bytes()
    return ServiceTimes(
        model=bench.model,
        tuned=bench.tuned,
        cores=cores(),
        shapes=shapes,
        process_bytes=process,
        others_bytes=others,
        idle_cpu=idle / (_LEAST_S * scale),
        points=tuple(points),
        failed=tuple(failed),
    )


def cores(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Count the cores that this process, and so the server that it starts, may use.

    Those of its affinity, or fewer where a control group limits its CPU time (``cpu.max``,
    Linux's Documentation/admin-guide/cgroup-v2.rst), as containers are limited.
    """
    return max(1, math.floor(min([len(os.sched_getaffinity(0)), *_quotas(groups, own)])))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):  # no such control groups here
        lines = own.read_text(encoding="utf-8").splitlines()
        place = next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
        for folder in (Path(place), *Path(place).parents):
            with suppress(OSError, ValueError):  # "max": without a limit
                quota, period = (groups / folder / "cpu.max").read_text(encoding="ascii").split()
                yield int(quota) / int(period)


def _point(bench: Bench, ask: Ask, settings: Settings, scale: float) -> Point:
    batching = settings.batching
    size = batching.preferred[0] if batching.dynamic else 1
    callers = size * batching.instances
    with bench.counting(windows=True) as found:
        asked = ask(Closed(callers, _LEAST_S * scale))
    spent = found[0]
    ran = min(spent.executions, key=lambda other: abs(other - size))
    requests = max(1, spent.requests)
    return Point(
        size=size,
        mean_size=max(1.0, spent.requests / max(1, spent.batches)),
        instances=batching.instances,
        threads=settings.threads,
        executions=max(1, spent.batches),
        execution_size=ran,
        execution_s=_execution_s(spent, ran),
        model_cpu_s=spent.model_cpu_s / max(1, spent.batches),
        server_cpu_s=spent.server_cpu_s / requests,
        caller_cpu_s=asked.caller_cpu_s / requests,
        latency_s=tuple(asked.quantile_ms(q) / 1e3 for q in _QUANTILES),
        replies_per_s=asked.records.replies_per_s,
    )


def _execution_s(spent: Spent, size: int) -> float:
    """Give the typical seconds of an execution of a size.

    It is the lower quartile of short spans, for other work on the machine only adds.
    """
    windows = spent.windows.get(size)
    if windows:
        return float(np.quantile(windows, 0.25))
    one = spent.executions[size]
    return one.took_s / one.count
