"""How many servers of this kind a rate takes, and what a million replies cost on them.

The highest rate that one server sustains within the objectives is searched by simulation
(:mod:`modelport.perf.simulation`) and then by real open-loop runs around what that found: a rate is
sustained when the objectives hold and replies keep up with requests.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelport.errors import LoadTestError, ProfileError
from modelport.perf import energy, machine, search, tuning
from modelport.perf.analyzer import Analyzer
from modelport.perf.asking import Ask, alike, asker
from modelport.perf.bench import Bench, opened
from modelport.perf.energy import Meter
from modelport.perf.objectives import Objective, judge
from modelport.perf.result import Disturbance, Judged, Level
from modelport.perf.search import Place
from modelport.perf.series import Series, Tell, Wish
from modelport.perf.service_times import ServiceTimes
from modelport.perf.settings import Settings
from modelport.repository.layout import Repository

_PRECISION = 0.06
# The search begins below what was simulated: perf_analyzer does not end where replies do not keep
# up for long, so that a rate which is far too high tells nothing.
_BEGIN = 0.7
_STEPS = (1.2, 0.75)
_REQUESTS = 6000


@dataclass(frozen=True)
class Tried:
    """A rate that was tried for real.

    Attributes:
        rate_per_s: of it.
        level: what was measured; None where perf_analyzer was overwhelmed and told nothing.
        judged: the objectives, and whether replies kept up with requests.
        energy_j: of each reply by the meters; None without one.
        problem: why nothing was measured.
    """

    rate_per_s: float
    level: Level | None = None
    judged: tuple[Judged, ...] = ()
    energy_j: float | None = None
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether the server sustained it within the objectives."""
        return self.level is not None and all(one.holds for one in self.judged)

    @property
    def untold(self) -> bool:
        """Whether there were too few replies to tell, and nothing broke."""
        told = [one.holds is False for one in self.judged]
        return self.level is not None and not self.holds and not any(told)

    @property
    def why(self) -> str:
        """What broke first; empty where nothing did."""
        broken = [one.why for one in self.judged if one.holds is False]
        untold = [one.why for one in self.judged if one.holds is None]
        return next(iter([*broken, *untold]), self.problem)


@dataclass(frozen=True)
class Prices:
    """What is assumed.

    Attributes:
        per_core_hour: in any currency; None where nobody asked.
        watts_per_core: of a busy core, where there is no meter.
        spare: servers beyond those that the rate takes.
    """

    per_core_hour: float | None = None
    watts_per_core: float = energy.WATTS_PER_CORE
    spare: int = 0


@dataclass(frozen=True)
class Capacity:
    """What a rate takes.

    Attributes:
        model: that is asked.
        settings: it serves with.
        rate_per_s: that is wanted.
        objectives: within which.
        cores: of one server.
        simulated_per_s: the highest rate of one server by simulation.
        tried: the real runs.
        sustained_per_s: the highest rate that held for real; 0 where none did.
        spare: servers beyond those that the rate takes.
        cpu_ms: CPU time of the server for a reply, at that rate.
        price: of a million replies; None without a price of a core-hour.
        energy_wh: watt-hours of a million replies.
        energy_method: how that is known.
        disturbance: what others did to the machine meanwhile.
    """

    model: str
    settings: Settings
    rate_per_s: float
    objectives: tuple[Objective, ...]
    cores: int
    simulated_per_s: float
    tried: tuple[Tried, ...]
    sustained_per_s: float
    spare: int
    cpu_ms: float
    price: float | None
    energy_wh: float
    energy_method: str
    disturbance: Disturbance

    @property
    def needed(self) -> int:
        """Servers that the rate takes; 0 where not one sustains any."""
        return (
            math.ceil(self.rate_per_s / self.sustained_per_s - 1e-9) if self.sustained_per_s else 0
        )

    @property
    def servers(self) -> int:
        """Servers with the spare ones."""
        return self.needed + self.spare if self.needed else 0

    @property
    def load(self) -> float:
        """How much of what each can, each does."""
        return self.rate_per_s / (self.servers * self.sustained_per_s) if self.servers else 0.0


def estimate(
    repository: Repository,
    model: str,
    rate_per_s: float,
    wanted: Sequence[Objective],
    analyzer: Analyzer,
    tell: Tell,
    prices: Prices | None = None,
    wish: Wish | None = None,
    times: ServiceTimes | None = None,
) -> Capacity:
    """Say how many servers of this kind a rate takes.

    Args:
        repository: where the model lies; it stays as it is.
        model: its name; it is served as its config.pbtxt says.
        rate_per_s: requests a second in all, at random (Poisson).
        wanted: objectives without a load.
        analyzer: makes the load.
        tell: hears of every step.
        prices: what is assumed.
        wish: how long to measure.
        times: what was measured of the model before, on this machine; by default it is now.

    Raises:
        ProfileError: an objective names a load, or the model cannot be simulated.
        LoadError, LoadTestError, RepositoryError: as :func:`modelport.perf.tuning.tune`.
    """
    prices, wish = prices or Prices(), wish or Wish(rounds=2, duration_s=2.0)
    _refuse_places(wanted)
    asked, versions = tuning.subject(repository, model)
    meters = energy.meters()
    with opened(repository, versions) as bench, tempfile.TemporaryDirectory() as folder:
        clock = machine.times(bench.cpu_s)
        ask = asker(analyzer, bench, asked, Path(folder))
        if times is None:
            tuning.choose_part(bench, ask, repository, versions)
            same = asker(analyzer, bench, alike(asked), Path(folder))
            times = tuning.measure(bench, same, asked, tell, wish.scale)
        else:
            bench.choose(times.tuned)
        settings = tuning.current_settings(bench, times)
        simulated = highest(settings, times, wanted)
        bench.configure(settings)
        tried = _try_around(bench, ask, simulated, wanted, tell, wish, meters)
        spent = machine.between(clock, machine.times(bench.cpu_s), bench.load_cpu_s)
    good = [one for one in tried if one.holds]
    known = [one for one in tried if one.level is not None]
    best = max(good, key=_rate, default=min(known, key=_rate))
    cpu_ms = (best.level.server_cpu_ms if best.level else None) or 0.0
    found = Capacity(
        model=model,
        settings=settings,
        rate_per_s=rate_per_s,
        objectives=tuple(wanted),
        cores=times.cores,
        simulated_per_s=simulated,
        tried=tuple(sorted(tried, key=_rate)),
        sustained_per_s=best.rate_per_s if good else 0.0,
        spare=prices.spare,
        cpu_ms=cpu_ms,
        price=None,
        energy_wh=_energy_wh(best, cpu_ms, prices.watts_per_core),
        energy_method=_method(best, meters, prices.watts_per_core),
        disturbance=machine.disturbance(spent.steal_share, spent.others_share),
    )
    if prices.per_core_hour is None or not found.servers:
        return found
    hourly = found.servers * found.cores * prices.per_core_hour
    return replace(found, price=hourly / (rate_per_s * 3600) * 1e6)


def highest(settings: Settings, times: ServiceTimes, wanted: Sequence[Objective]) -> float:
    """Give the highest rate that the simulation sustains within objectives, to 2 %."""

    def holds(rate: float) -> bool:
        found = search.assess(settings, times, wanted, [Place(rate_per_s=rate)], requests=_REQUESTS)
        return found.holds

    low, high = 0.0, 1.0
    while holds(high) and high < 1e6:
        low, high = high, high * 2
    while high - low > 0.02 * high and high > 0.1:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _rate(one: Tried) -> float:
    return one.rate_per_s


def _refuse_places(wanted: Sequence[Objective]) -> None:
    placed = next((one for one in wanted if one.at), None)
    if placed is not None:
        raise ProfileError(
            f"objective {placed.text!r} names a load",
            cause="the load is what is searched here",
            next_step=f"leave out 'at {placed.at}'",
            objective=placed.text,
        )


def _try_around(
    bench: Bench,
    ask: Ask,
    guess: float,
    wanted: Sequence[Objective],
    tell: Tell,
    wish: Wish,
    meters: Sequence[Meter],
) -> list[Tried]:
    """Find by few real runs between which rates the objectives cease to hold."""
    tried: list[Tried] = []
    rate = max(_BEGIN * guess, 0.5)
    low = high = 0.0
    while len(tried) < wish.rates:
        tell("confirm", len(tried), wish.rates, f"{rate:.4g}/s")
        one = _try(bench, ask, rate, wanted, wish, meters)
        tried.append(one)
        low, high = (rate, high) if one.holds else (low, rate)
        if low and high:
            if high - low <= _PRECISION * high:
                break
            rate = (low + high) / 2
        else:
            rate *= _STEPS[0 if one.holds else 1] ** len(tried)
    if all(one.level is None for one in tried):
        raise LoadTestError(
            f"no rate could be tried, down to {tried[-1].rate_per_s:.4g}/s: {tried[-1].problem}",
            cause="the machine is busy with something else",
            next_step="look at its load, and run the same command again",
        )
    return tried


def _try(
    bench: Bench,
    ask: Ask,
    rate: float,
    wanted: Sequence[Objective],
    wish: Wish,
    meters: Sequence[Meter],
) -> Tried:
    place = Place(rate_per_s=rate)
    series = Series(bench.model, place, search.needed(place, wanted), wish, rate)
    before = energy.read(meters)
    try:
        for turn in range(wish.rounds):
            series.run(bench, ask, turn)
    except LoadTestError as error:
        if bench.server.status is not None or "wrong" in error.objects:
            raise
        bench.settle()
        return Tried(rate, problem=error.what)
    joules = energy.spent_j(meters, before, energy.read(meters))
    level = series.level
    judged = (*judge(wanted, [level]), *search.kept_up(series.rounds))
    each = None if joules is None else joules / max(1, level.replies)
    return Tried(rate, level, judged, each)


def _energy_wh(best: Tried, cpu_ms: float, watts_per_core: float) -> float:
    each = best.energy_j
    if each is None:
        each = energy.estimated_j(cpu_ms / 1e3, watts_per_core)
    return each * 1e6 / 3600


def _method(best: Tried, meters: Sequence[Meter], watts_per_core: float) -> str:
    if best.energy_j is not None:
        names = ", ".join(meter.name for meter in meters)
        return f"measured by {names}: all that the chip did, load generator and idling included"
    return (
        f"an estimate: CPU time of the server at {watts_per_core:g} W for a busy core; no meter"
        " can be read here, and idle power, memory and cooling are not in it"
    )
