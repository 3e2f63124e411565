"""All configurations of a model simulated under the loads of some objectives, and ranked.

The cheapest that meets the objectives wins: least CPU time of the server for a reply, then least
memory, then the lowest latency. What costs the same within 3 % counts as equal, for nothing here
is known more exactly, and of equal ones the simplest is taken.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from modelport.errors import ProfileError
from modelport.perf import arrivals, objectives
from modelport.perf.batcher import Batching
from modelport.perf.objectives import Objective
from modelport.perf.result import Judged, Latency, Level
from modelport.perf.service_times import ServiceTimes, sizes_to
from modelport.perf.settings import Settings
from modelport.perf.simulation import Arrivals, Callers, Simulated, simulate

# Shares of the latency that is allowed, or of a typical execution: longer waits cannot pay.
_DELAYS_S = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_ROUGH, _FINE = 1500, 6000
_REFINED = 24
_SAME = 0.03
KEEPS_UP = 0.97

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Place:
    """A load at which an objective is to hold: callers, or a rate.

    Attributes:
        concurrency: callers who wait for each reply.
        rate_per_s: of a Poisson process, where there are no callers.
    """

    concurrency: int | None = None
    rate_per_s: float | None = None

    @property
    def name(self) -> str:
        """As objectives name it."""
        if self.concurrency is not None:
            return f"concurrency {self.concurrency}"
        return f"{self.rate_per_s:g}/s"

    def load(self, requests: int, seed: int = 0) -> Callers | Arrivals:
        """Give it as the simulation takes it."""
        if self.concurrency is not None:
            return Callers(self.concurrency)
        rate = self.rate_per_s or 1.0
        return Arrivals(np.cumsum(arrivals.poisson(rate, requests / rate, seed=seed)))


@dataclass(frozen=True)
class Candidate:
    """A configuration, and what the simulation says of it.

    Attributes:
        settings: it.
        levels: what each load would find.
        judged: the objectives.
        memory_bytes: of the server.
    """

    settings: Settings
    levels: tuple[Level, ...]
    judged: tuple[Judged, ...]
    memory_bytes: int

    @property
    def holds(self) -> bool:
        """Whether every objective is met."""
        return all(one.holds for one in self.judged)

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server for a reply, the dearest of the loads."""
        return max(level.server_cpu_ms or 0.0 for level in self.levels)

    @property
    def p99_ms(self) -> float:
        """The slowest p99 of the loads."""
        return max(level.latency_ms.p99 for level in self.levels if level.latency_ms)

    @property
    def replies_per_s(self) -> float:
        """The lowest throughput of the loads."""
        return min(level.replies_per_s for level in self.levels)


def places(wanted: Sequence[Objective]) -> list[Place]:
    """Give the loads at which objectives are to hold.

    Raises:
        ProfileError: none of them names a load, or one names something else.
    """
    found = []
    for one in wanted:
        place = Place(one.concurrency, one.rate_per_s)
        if place == Place():
            if not one.at:
                continue
            raise ProfileError(
                f"objective {one.text!r}: {one.at!r} is no load that can be simulated",
                next_step="end it with 'at concurrency 8' or 'at 200/s'",
                objective=one.text,
            )
        if place not in found:
            found.append(place)
    if not found:
        raise ProfileError(
            f"objective {wanted[0].text!r} does not say at which load",
            cause="what a configuration costs, and how quick it is, depends on the load",
            next_step=f'--slo "{wanted[0].text} at 200/s", or "… at concurrency 8"',
            objective=wanted[0].text,
        )
    return found


def space(
    current: Settings,
    times: ServiceTimes,
    *,
    lower_batch: bool = False,
    delays_s: Sequence[float] = _DELAYS_S,
) -> list[Settings]:
    """List the configurations worth a look: the current one, and all others.

    Args:
        current: what serves now.
        times: what was measured; only its numbers of threads are taken.
        lower_batch: whether ``max_batch_size`` may become less, which callers may notice.
        delays_s: queue delays.
    """
    most = max(1, current.batching.max_batch_size)
    largest = sizes_to(most) if lower_batch else [most]
    found = {current: None}
    for batch, threads in product(largest, times.threads):
        for instances in _doubling(times.cores // max(1, threads)):
            plain = Batching(instances, batch if current.batching.max_batch_size else 0, False)
            plain = replace(plain, shapes=times.shapes)
            found[Settings(plain, threads)] = None
            for batching in _gathering(plain, batch, delays_s):
                found[Settings(batching, threads)] = None
    return list(found)


def _doubling(most: int) -> list[int]:
    return [2**power for power in range(max(1, most).bit_length())]


def _gathering(plain: Batching, most: int, delays_s: Sequence[float]) -> Iterator[Batching]:
    """List the ways to gather requests into batches of at most ``most``."""
    if most < 2:
        return
    preferred: list[tuple[int, ...]] = [(), *((size,) for size in sizes_to(most)[1:-1])]
    for sizes, delay in product(preferred, delays_s):
        yield replace(plain, dynamic=True, preferred=sizes, delay_s=delay)


def assess(
    settings: Settings,
    times: ServiceTimes,
    wanted: Sequence[Objective],
    loads: Sequence[Place],
    *,
    requests: int = _FINE,
) -> Candidate:
    """Simulate one configuration under all loads, and judge it."""
    costs = times.costs(settings)
    memory = times.memory_bytes(settings.batching.instances)
    levels = tuple(
        level(
            place,
            simulate(settings.batching, costs, place.load(requests), requests=requests),
            memory,
        )
        for place in loads
    )
    judged = (
        *objectives.judge(wanted, levels),
        *(each for one in levels for each in kept_up([one])),
    )
    return Candidate(settings, levels, judged, memory)


def keeps_up(rounds: Sequence[Level]) -> bool:
    """Tell whether replies keep up with the rate that is offered; callers who wait always do.

    Else the queue grows for as long as it goes on, and what is measured is how long that was.

    Args:
        rounds: the same load, some times; most of them tell.
    """
    return statistics.median(map(_answered, rounds)) >= KEEPS_UP


def kept_up(rounds: Sequence[Level]) -> list[Judged]:
    """Judge whether replies keep up with requests, in the form of an objective; of callers none."""
    one = rounds[0]
    if one.offered_per_s is None:
        return []
    holds = keeps_up(rounds)
    got = statistics.median(each.replies_per_s for each in rounds)
    words = "keep" if holds else "do not keep"
    return [
        Judged(
            text=f"throughput >= {KEEPS_UP * one.offered_per_s:.4g}/s at {one.name}",
            holds=holds,
            got=got,
            unit="/s",
            at=one.name,
            why=f"{got:.4g} replies a second {words} up with the requests at {one.name}",
        )
    ]


def _answered(one: Level) -> float:
    """Give the share of the offered rate that was answered."""
    if not one.offered_per_s:
        return 1.0
    if one.replies < 2:
        return float(one.replies) if not one.errors else 0.0
    # The last request takes its time, too, however many more could be taken.
    quickest_s = one.quantiles[0][1] / 1e3 if one.quantiles else 0.0
    return (one.replies - 1) / max(one.duration_s - quickest_s, 1e-9) / one.offered_per_s


def needed(place: Place, wanted: Sequence[Objective]) -> int:
    """Say how many replies the objectives at a load take to be told: 100 for a p99."""
    found = [1]
    for one in wanted:
        here = not one.at or Place(one.concurrency, one.rate_per_s) == place
        if here and one.figure[0] == "p" and one.figure[1:].replace(".", "").isdigit():
            found.append(math.ceil(1 / (1 - float(one.figure[1:]) / 100) - 1e-6))
    return max(found)


def level(place: Place, found: Simulated, memory_bytes: int) -> Level:
    """Give what a simulation found in the form of a measured level."""
    return Level(
        name=place.name,
        kind="open" if place.concurrency is None else "closed",
        concurrency=place.concurrency,
        offered_per_s=place.rate_per_s,
        duration_s=found.took_s,
        replies=len(found.latencies_s),
        replies_per_s=found.replies_per_s,
        latency_ms=latency(found.latencies_s * 1e3),
        server_cpu_ms=found.cpu_s * 1e3,
        memory_bytes=memory_bytes,
        corrected=place.concurrency is None,
    )


def latency(values_ms: np.ndarray) -> Latency:
    """Sum up latencies: ``float64[n]``."""
    p50, p90, p95, p99, p999 = np.quantile(values_ms, [0.5, 0.9, 0.95, 0.99, 0.999]).tolist()
    mean, most = float(values_ms.mean()), float(values_ms.max())
    return Latency(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99, p999=p999, max=most)


def search(
    among: Sequence[Settings],
    times: ServiceTimes,
    wanted: Sequence[Objective],
    loads: Sequence[Place],
    tell: Tell = lambda *_: None,
    *,
    rough: int = _ROUGH,
    fine: int = _FINE,
) -> list[Candidate]:
    """Simulate configurations and rank them, the best first.

    All are simulated briefly, and the best of these again with more requests.

    Args:
        among: the configurations.
        times: what executions cost.
        wanted: the objectives.
        loads: at which they are to hold.
        tell: hears how many are done, of how many.
        rough: requests of each at first.
        fine: requests of each of the best.
    """
    found = []
    for done, settings in enumerate(among):
        tell(done, len(among))
        found.append(assess(settings, times, wanted, loads, requests=rough))
    ranked = rank(found)
    best = [assess(one.settings, times, wanted, loads, requests=fine) for one in ranked[:_REFINED]]
    return [*rank(best), *ranked[_REFINED:]]


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates: those that meet the objectives first, the cheapest first among them."""
    return sorted(candidates, key=lambda one: (not one.holds, *_cost(one)))


def _cost(one: Candidate) -> tuple[float, ...]:
    batching = one.settings.batching
    return (
        0.0 if one.holds else lack(one.judged),
        _class(one.cpu_ms),
        batching.instances,
        _class(one.p99_ms),
        -batching.max_batch_size,
        one.settings.threads,
        batching.dynamic,
        len(batching.preferred),
        batching.delay_s,
    )


def lack(judged: Sequence[Judged]) -> float:
    """Say how far objectives are from being met: the worst, as a share of a bound, by its size."""
    found = [1.0]
    for one in judged:
        if one.holds is False and one.got is None:
            return math.inf  # it did not work at all
        if one.holds or one.got is None:
            continue
        bound = objectives.parse(one.text).bound or 1.0
        found.append(max(one.got / bound, bound / max(one.got, 1e-9)))
    return max(found)


def _class(value: float) -> float:
    """Put values that differ by less than 3 % together."""
    return round(math.log(max(value, 1e-9)) / math.log1p(_SAME))


def distinct(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """Choose the first few that the simulation tells apart: equal ones measure alike too."""
    chosen: list[Candidate] = []
    for one in ranked:
        if all(_differ(one, other) for other in chosen):
            chosen.append(one)
        if len(chosen) == count:
            break
    return chosen


def _differ(one: Candidate, other: Candidate) -> bool:
    figures = (
        (one.cpu_ms, other.cpu_ms),
        (one.p99_ms, other.p99_ms),
        (one.replies_per_s, other.replies_per_s),
    )
    return any(abs(a - b) > 0.01 * max(a, b) for a, b in figures)
