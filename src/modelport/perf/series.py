"""The tries of one load on one configuration: as long as it takes to tell what is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modelport.perf import arrivals, levels
from modelport.perf.asking import Ask, Closed, Load, Open
from modelport.perf.bench import Bench, Spent
from modelport.perf.records import Records
from modelport.perf.result import Level
from modelport.perf.search import Place
from modelport.verify import intervals

ROUNDS = intervals.LEAST
DURATION_S = 1.0
COUNT = 3
# Throughput is only guessed before a try, and a part of the replies falls out of what is measured.
_SPARE = 1.1
_STABLE = 0.15

# step, done, of how many, words
Tell = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Wish:
    """How thoroughly to tune.

    Tries last longer than ``duration_s`` where an objective takes more replies, up to
    ``longest_s``.

    Attributes:
        count: how many configurations are tried for real, beside the one that serves.
        rounds: how often each, in turn.
        duration_s: of each try, at least.
        scale: of the duration of the measurements before.
        lower_batch: whether ``max_batch_size`` may become less.
        exhaustive: try all configurations for real.
        rates: how many rates are tried for real, of a capacity.
        longest_s: of a try that is made longer.
    """

    count: int = COUNT
    rounds: int = ROUNDS
    duration_s: float = DURATION_S
    scale: float = 1.0
    lower_batch: bool = False
    exhaustive: bool = False
    rates: int = 6
    longest_s: float = 20.0


@dataclass(frozen=True)
class _Try:
    load: Load
    records: Records
    spent: Spent
    caller_cpu_s: float
    memory_bytes: int


@dataclass
class Series:
    """The tries of one load on one configuration.

    Attributes:
        model: that is asked.
        place: the load.
        needed: replies that its objectives take to be told.
        wish: how thoroughly.
        guess_per_s: throughput, as long as nothing was measured.
    """

    model: str
    place: Place
    needed: int
    wish: Wish
    guess_per_s: float
    tries: list[_Try] = field(default_factory=list)

    def run(self, bench: Bench, ask: Ask, turn: int) -> None:
        """Try it once on a bench as that is configured; raises LoadTestError."""
        wanted = real_load(self.place, self.duration_s(turn), turn)
        with bench.counting() as found:
            asked = ask(wanted)
        memory = bench.all_memory_bytes()
        self.tries.append(_Try(wanted, asked.records, found[0], asked.caller_cpu_s, memory))

    def duration_s(self, turn: int) -> float:
        """Say how long the next try lasts: until its share of the needed replies is there."""
        missing = self.needed - sum(int(one.records.within.sum()) for one in self.tries)
        left = max(1, self.wish.rounds - turn)
        takes_s = _SPARE * max(0, missing) / left / self.per_s
        return max(self.wish.duration_s, min(takes_s, self.wish.longest_s))

    @property
    def tell_s(self) -> float:
        """How long each of all tries lasts that together tell what is asked."""
        return _SPARE * self.needed / self.wish.rounds / self.per_s

    @property
    def per_s(self) -> float:
        """Replies a second, as far as they are known."""
        if self.place.rate_per_s is not None:
            return self.place.rate_per_s
        count = sum(int(one.records.within.sum()) for one in self.tries)
        took_s = sum(one.records.took_s for one in self.tries)
        return max(count, 1) / took_s if took_s else max(self.guess_per_s, 1e-3)

    @property
    def rounds(self) -> list[Level]:
        """What each try found."""
        return [self._level([one]) for one in self.tries]

    @property
    def level(self) -> Level:
        """What all tries found together."""
        found = self._level(self.tries)
        # The mean rate of a schedule differs a little from the one that was wanted.
        return found.model_copy(update={"offered_per_s": self.place.rate_per_s})

    def _level(self, tries: Sequence[_Try]) -> Level:
        requests = max(1, sum(one.spent.requests for one in tries))
        cpu_s = sum(one.spent.model_cpu_s + one.spent.server_cpu_s for one in tries)
        closed = self.place.concurrency is not None
        planned = levels.Planned(
            self.model,
            self.place.name,
            "closed" if closed else "open",
            tries[0].load if len(tries) == 1 else _joined_load([one.load for one in tries]),
        )
        found = levels.measured(planned, joined([one.records for one in tries]), stability=_STABLE)
        return found.model_copy(
            update={
                "server_cpu_ms": cpu_s / requests * 1e3,
                "load_cpu_ms": sum(one.caller_cpu_s for one in tries) / requests * 1e3,
                "memory_bytes": max(one.memory_bytes for one in tries),
            }
        )


def real_load(place: Place, duration_s: float, seed: int = 0) -> Load:
    """Give a load as perf_analyzer takes it."""
    if place.concurrency is not None:
        return Closed(place.concurrency, duration_s)
    return Open(arrivals.poisson(place.rate_per_s or 1.0, duration_s, seed=seed), duration_s)


def joined(rounds: Sequence[Records]) -> Records:
    """Put what was measured in several rounds behind one another, as one."""
    begins = np.cumsum([0.0, *(one.took_s for one in rounds)])
    moved = [
        _moved(one, begin - one.window_s[0]) for one, begin in zip(rounds, begins, strict=False)
    ]
    intended = [one.intended_s for one in moved if one.intended_s is not None]
    return Records(
        start_s=np.concatenate([one.start_s for one in moved]),
        end_s=np.clip(np.concatenate([one.end_s for one in moved]), 0.0, begins[-1]),
        first_s=np.concatenate([one.first_s for one in moved]),
        intended_s=np.concatenate(intended) if intended else None,
        window_s=(0.0, float(begins[-1])),
        checked=sum(one.checked for one in rounds),
        wrong=[problem for one in rounds for problem in one.wrong],
        lost=sum(one.lost for one in rounds),
    )


def _moved(one: Records, by_s: float) -> Records:
    """Keep what lies within a measurement, at another time."""
    chosen = one.within
    intended = None if one.intended_s is None else one.intended_s[chosen] + by_s
    return replace(
        one,
        start_s=one.start_s[chosen] + by_s,
        end_s=one.end_s[chosen] + by_s,
        first_s=one.first_s[chosen] + by_s,
        intended_s=intended,
    )


def _joined_load(loads: Sequence[Load]) -> Load:
    opened = [one for one in loads if isinstance(one, Open)]
    if not opened:
        return loads[0]
    intervals_s = np.concatenate([one.intervals_s for one in opened])
    return Open(intervals_s, sum(one.duration_s for one in opened))
