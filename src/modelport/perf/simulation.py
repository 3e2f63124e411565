"""A model under load, simulated: callers, Triton's batcher, instances, and the machine's cores.

Every request costs some work outside of the model (the caller's own, the transport, Triton's front)
and is then executed in a batch. The short work of requests is done in the order in which it comes,
by as many threads as there are cores, so that the requests of callers who were answered together
come one after the other again. These threads and the executions share the cores evenly: while
more want to run than there are cores, all go slower alike (processor sharing, Kleinrock 1967), so
what an execution takes depends on what else goes on. Waits (a sleeping thread that is woken, a
packet on its way) take no core.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

import numpy as np

from modelport.perf.batcher import Batcher, Batching

Floats = np.ndarray

# Of the requests, left out as the time in which queues fill.
_WARM_SHARE = 0.1


@dataclass(frozen=True)
class Costs:
    """What requests and executions cost on a machine with nothing else to do.

    Attributes:
        cores: of the machine, that caller and server share.
        work_s: float64[largest batch + 1]; seconds that an execution keeps its threads running.
        wait_s: float64[largest batch + 1]; seconds that it holds its instance beyond these.
        cpu_s: float64[largest batch + 1]; CPU time of an execution, over all its threads.
        outside_work_s: CPU time of a request outside of executions, the caller's included.
        outside_wait_s: seconds of a request outside, without work.
        server_cpu_s: the server's own share of ``outside_work_s``.
        idle_cpu: cores that the server keeps busy whatever comes; counted, not simulated.
        delays_s: float64[n]; how executions spread: further seconds of each, in any order.
    """

    cores: float
    work_s: Floats
    wait_s: Floats
    cpu_s: Floats
    outside_work_s: float = 0.0
    outside_wait_s: float = 0.0
    server_cpu_s: float = 0.0
    idle_cpu: float = 0.0
    delays_s: Floats | None = None


@dataclass(frozen=True)
class Callers:
    """A closed loop: so many callers, each of whom waits for an answer before it asks again."""

    count: int
    think_s: float = 0.0


@dataclass(frozen=True)
class Arrivals:
    """An open loop: requests come when they come.

    Attributes:
        times_s: float64[requests], ascending.
    """

    times_s: Floats


@dataclass(frozen=True)
class Simulated:
    """What a load would find.

    Attributes:
        latencies_s: float64[requests], in the order of their answers, without those of the start.
        took_s: from the first of these to the last.
        batches: executions by batch size.
        cpu_s: CPU time of the server for each reply.
        cores_used: cores busy on average, callers included.
    """

    latencies_s: Floats
    took_s: float
    batches: Mapping[int, int]
    cpu_s: float
    cores_used: float

    @property
    def replies_per_s(self) -> float:
        """Throughput."""
        return len(self.latencies_s) / self.took_s if self.took_s else 0.0

    def quantile_ms(self, q: float) -> float:
        """Latency that a share ``q`` of the replies keeps."""
        return float(np.quantile(self.latencies_s, q)) * 1e3


def simulate(
    batching: Batching,
    costs: Costs,
    load: Callers | Arrivals,
    *,
    requests: int = 4000,
    seed: int = 0,
) -> Simulated:
    """Simulate a load on one model.

    Args:
        batching: how requests are gathered; its largest batch must be among ``costs``.
        costs: what they cost.
        load: how they come.
        requests: how many answers, of a closed loop; an open loop has as many as arrive.
        seed: of the spread.
    """
    if isinstance(load, Arrivals):
        requests = len(load.times_s)
    return _Run(batching, costs, load, requests, seed).result()


class _Run:
    """One simulation. Times in seconds; a job is a request (>= 0) or an execution (< 0)."""

    def __init__(
        self, batching: Batching, costs: Costs, load: Callers | Arrivals, requests: int, seed: int
    ) -> None:
        self._costs, self._load, self._total = costs, load, requests
        self._batcher = Batcher(batching)
        rng = np.random.default_rng(seed)
        self._delays = _drawn(costs.delays_s, rng)
        most = max(1, batching.max_batch_size)
        self._work, self._wait = costs.work_s[: most + 1].tolist(), costs.wait_s.tolist()
        # How many cores an execution keeps busy while it runs.
        with np.errstate(invalid="ignore", divide="ignore"):
            widths = np.where(costs.work_s > 0, costs.cpu_s / costs.work_s, 0.0)
        self._widths = widths.tolist()
        self._batches: list[list[int]] = []
        self._asked: list[float] = []
        self._done_at: list[float] = []
        self._latency: list[float] = []
        self._busy_s = 0.0
        self._loop()

    def _loop(self) -> None:  # noqa: C901 - one loop, written out, because it runs millions of times
        costs, batcher = self._costs, self._batcher
        cores, outside, pause = costs.cores, costs.outside_work_s, costs.outside_wait_s
        work, wait, widths, delays = self._work, self._wait, self._widths, self._delays
        batches, asked, draws = self._batches, self._asked, len(delays)
        arrivals = (
            iter(()) if isinstance(self._load, Callers) else iter(self._load.times_s.tolist())
        )
        think = self._load.think_s if isinstance(self._load, Callers) else -1.0
        total = self._total
        running: list[tuple[float, int]] = []  # by virtual time, in which all go at full speed
        outer: deque[int] = deque()  # requests whose outside work waits for a thread
        free = max(1, int(min(cores, 1e6)))
        waiting: list[tuple[float, int]] = []  # by real time
        now = virtual = threads = busy = 0.0
        if isinstance(self._load, Callers):
            asked += [0.0] * self._load.count
            outer.extend(range(self._load.count))
        coming = next(arrivals, inf)
        done = 0
        while done < total:
            while outer and free:
                free -= 1
                threads += 1.0
                heappush(running, (virtual + outside, outer.popleft()))
            speed = 1.0 if threads <= cores else cores / threads
            ends = now + (running[0][0] - virtual) / speed if running else inf
            at = waiting[0][0] if waiting else inf
            moment = min(ends, at, coming, batcher.wake_at)
            if moment > now:
                virtual += (moment - now) * speed
                busy += (moment - now) * speed * threads
                now = moment
            begun: Sequence[list[int]] = ()
            if moment == ends:
                virtual, job = heappop(running)
                if job >= 0:
                    threads -= 1.0
                    free += 1
                    if pause > 0:
                        heappush(waiting, (now + pause, job))
                    else:
                        begun = batcher.enqueue(job, now)
                else:
                    size = len(batches[-job - 1])
                    threads -= widths[size]
                    heappush(waiting, (now + wait[size] + delays[-job % draws], job))
            elif moment == at:
                job = heappop(waiting)[1]
                if job >= 0:
                    if asked[job] > now:  # the caller has thought
                        outer.append(job)
                        asked[job] = now
                    else:
                        begun = batcher.enqueue(job, now)
                else:
                    batch = batches[-job - 1]
                    done += len(batch)
                    for one in batch:
                        self._latency.append(now - asked[one])
                        self._done_at.append(now)
                        if think == 0.0:
                            outer.append(len(asked))
                            asked.append(now)
                        elif think > 0.0:
                            heappush(waiting, (now + think, len(asked)))
                            asked.append(inf)
                    begun = batcher.free(now)
            elif moment == coming:
                outer.append(len(asked))
                asked.append(now)
                coming = next(arrivals, inf)
            else:
                begun = batcher.wake(now)
            for batch in begun:
                size = len(batch)
                batches.append(batch)
                number = len(batches)
                heappush(running, (virtual + work[size], -number))
                threads += widths[size]
            if not running:
                threads = 0.0
        self._busy_s = busy
        self._now = now

    def result(self) -> Simulated:
        """Sum up, without the start."""
        warm = int(len(self._latency) * _WARM_SHARE)
        latencies, done_at = np.array(self._latency[warm:]), self._done_at
        sizes = Counter(len(batch) for batch in self._batches)
        cpu = sum(self._costs.cpu_s[size] * count for size, count in sizes.items())
        replies = max(1, sum(size * count for size, count in sizes.items()))
        took = done_at[-1] - (done_at[warm - 1] if warm else 0.0)
        idle = self._costs.idle_cpu * took / max(1, len(latencies))
        return Simulated(
            latencies_s=latencies,
            took_s=took,
            batches=dict(sorted(sizes.items())),
            cpu_s=float(cpu / replies) + self._costs.server_cpu_s + idle,
            cores_used=self._busy_s / self._now if self._now else 0.0,
        )


def _drawn(values: Floats | None, rng: np.random.Generator) -> list[float]:
    """Put measured values into a random order; a zero where there are none."""
    if values is None or not len(values):
        return [0.0]
    drawn: list[float] = rng.permutation(values).tolist()
    return drawn
