"""The levels of a profile, and what the records of one say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelport.errors import ProfileError
from modelport.perf import arrivals, load, objectives, profile
from modelport.perf.load import Load
from modelport.perf.profile import Profile
from modelport.perf.records import Records
from modelport.perf.result import Kind, Latency, Level, Second

_THIRDS = 3
_LATE_MS = 1.0
# Of the percentile plot: this many points for each further nine.
_POINTS = 10
_CHANGING = ("burst", "ramp")


@dataclass(frozen=True)
class Planned:
    """One load on one model, beside which others may run.

    Attributes:
        model: that is asked.
        name: of the level.
        kind: the shape of the load.
        load: how much.
    """

    model: str
    name: str
    kind: Kind
    load: Load


def planned(chosen: Profile) -> list[list[Planned]]:
    """List the levels of a profile in their order; those of one group run at the same time."""
    return [group for one in chosen.load for group in _groups(chosen, one)]


def _groups(chosen: Profile, one: profile.Load) -> Iterator[list[Planned]]:
    duration_s, seed = chosen.duration_s, chosen.seed
    if isinstance(one, profile.Mix):
        yield list(_mixed(one, duration_s, seed))
        return
    model = chosen.model or ""
    if isinstance(one, profile.Closed | profile.Sequences | profile.Streams):
        for callers in one.concurrency:
            closed = load.Closed(callers, duration_s)
            yield [Planned(model, f"{_CALLERS[one.kind]} {callers}", one.kind, closed)]
    elif isinstance(one, profile.Open):
        draw = arrivals.constant if one.arrivals == "constant" else arrivals.poisson
        for rate in one.rate_per_s:
            options = {} if one.arrivals == "constant" else {"seed": seed}
            opened = load.Open(draw(rate, duration_s, **options), duration_s)
            yield [Planned(model, f"{rate:g}/s", "open", opened)]
    elif isinstance(one, profile.Burst):
        bursts = arrivals.bursts(
            one.rate_per_s, duration_s, size=one.size, every_s=one.every_s, seed=seed
        )
        name = f"{one.rate_per_s:g}/s and {one.size} at once every {one.every_s:g} s"
        yield [Planned(model, name, "burst", load.Open(bursts, duration_s))]
    else:
        rising = arrivals.ramp(one.from_per_s, one.to_per_s, duration_s, seed=seed)
        name = f"{one.from_per_s:g}/s to {one.to_per_s:g}/s"
        yield [Planned(model, name, "ramp", load.Open(rising, duration_s))]


_CALLERS = {"closed": "concurrency", "sequences": "sequences", "streams": "streams"}


def _mixed(one: profile.Mix, duration_s: float, seed: int) -> Iterator[Planned]:
    for index, (model, rate) in enumerate(one.rate_per_s.items()):
        # Each with arrivals of its own, else all would ask at the same moments.
        opened = load.Open(arrivals.poisson(rate, duration_s, seed=seed + index), duration_s)
        yield Planned(model, f"{model} {rate:g}/s", "open", opened)
    for model, callers in one.concurrency.items():
        closed = load.Closed(callers, duration_s)
        yield Planned(model, f"{model} concurrency {callers}", "closed", closed)


def refuse_unplaced(chosen: Profile) -> None:
    """Refuse objectives about levels that the profile does not measure, and bursts that never come.

    Raises:
        ProfileError: names the objective, and the levels that there are.
    """
    for one in chosen.load:
        if isinstance(one, profile.Burst) and one.every_s / 2 >= chosen.duration_s:
            raise ProfileError(
                f"a burst every {one.every_s:g} s: none comes within {chosen.duration_s:g} s",
                cause="the first comes after half that time",
                next_step="give the level a longer duration, or let bursts come more often",
            )
    empty = [failed(one, 1.0) for group in planned(chosen) for one in group]
    for judged in objectives.judge(chosen.objectives, empty):
        if not judged.at:
            raise ProfileError(
                f"objective {judged.text!r}: {judged.why}",
                next_step="add such a level to the profile, or change the objective",
                objective=judged.text,
            )


def failed(one: Planned, took_s: float) -> Level:
    """Give the level of a load that the load generator gave up."""
    return Level(
        name=one.name,
        kind=one.kind,
        concurrency=one.load.concurrency if isinstance(one.load, load.Closed) else None,
        offered_per_s=_offered(one.load),
        duration_s=took_s,
        replies=0,
        errors=1,
        replies_per_s=0.0,
        stable=False,
    )


def measured(one: Planned, found: Records, *, stability: float) -> Level:
    """Say what the records of a load tell, without what the server and the machine do.

    Args:
        one: what was asked for.
        found: what happened.
        stability: how far the thirds may lie apart, relative to their mean.
    """
    opened = isinstance(one.load, load.Open)
    within = found.within
    latencies, wrong = found.latencies_ms[within], len(found.wrong)
    count = int(within.sum())
    # Loads that change on purpose have no stable figures.
    spread = _spread(found, within, opened=opened) if one.kind not in _CHANGING else 0.0
    return Level(
        name=one.name,
        kind=one.kind,
        concurrency=one.load.concurrency if isinstance(one.load, load.Closed) else None,
        offered_per_s=_offered(one.load),
        duration_s=found.took_s,
        replies=count,
        errors=found.lost,
        wrong=wrong,
        replies_per_s=max(count - wrong, 0) / found.took_s,
        latency_ms=_latency(latencies),
        quantiles=_quantiles(latencies),
        first_response_ms=_latency(found.first_ms[within]) if one.kind == "streams" else None,
        stable=count > 0 and spread <= stability,
        spread=spread,
        late_share=float((found.late_ms > _LATE_MS).mean()),
        corrected=opened,
        timeline=list(_timeline(found, within)),
    )


def _offered(one: Load) -> float | None:
    return one.rate_per_s if isinstance(one, load.Open) else None


def _latency(values: np.ndarray) -> Latency | None:
    if not values.size:
        return None
    p50, p90, p95, p99, p999 = np.quantile(values, [0.5, 0.9, 0.95, 0.99, 0.999])
    return Latency(
        mean=float(values.mean()),
        p50=float(p50),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        p999=float(p999),
        max=float(values.max()),
    )


def _quantiles(values: np.ndarray) -> list[tuple[float, float]]:
    """Take points that lie evenly in nines, as far as the number of replies tells them."""
    if not values.size:
        return []
    most = math.log10(max(values.size, 1))
    shares = 1 - 10 ** -np.arange(0, most, 1 / _POINTS)
    shares = np.unique(np.append(shares, 1 - 1 / values.size))
    return [(float(q), float(v)) for q, v in zip(shares, np.quantile(values, shares), strict=True)]


def _spread(found: Records, within: np.ndarray, *, opened: bool) -> float:
    """Say how far the thirds lie apart: from one another, or from what each was asked.

    In a closed loop their throughput is compared. In an open one it is given, so replies are
    compared with requests: a third in which fewer come than go builds a queue.
    """
    bounds = np.linspace(*found.window_s, _THIRDS + 1)
    replies = np.histogram(found.end_s[within], bounds)[0].astype(float)
    mean = float(replies.mean())
    if not mean:
        return 0.0
    if opened:
        requests = np.histogram(found.start_s[within], bounds)[0]
        # One request may always be under way while a third ends.
        return float(max(np.abs(replies - requests).max() - 1, 0.0)) / mean
    return float(replies.max() - replies.min()) / mean


def _timeline(found: Records, within: np.ndarray) -> Iterator[Second]:
    begin, end = found.window_s
    times, latencies = found.end_s[within] - begin, found.latencies_ms[within]
    steps = max(1, round(end - begin))
    bounds = np.linspace(0.0, end - begin, steps + 1)
    for a, b in itertools.pairwise(bounds):
        chosen: Sequence[float] = latencies[(times >= a) & (times < b)].tolist()
        p99 = float(np.quantile(chosen, 0.99)) if chosen else None
        yield Second(at_s=float(b), replies=len(chosen), p99_ms=p99)
