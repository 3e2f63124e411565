"""Configurations tried for real: in turn, in rounds, and each until it tells what is asked.

A round puts every load of the objectives on one configuration. All figures are kept by round, for
what slows a round slows all configurations in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelport.errors import ClientError, LoadError, LoadTestError
from modelport.perf import objectives, search
from modelport.perf.asking import Ask
from modelport.perf.bench import Bench
from modelport.perf.objectives import Objective
from modelport.perf.result import Judged, Level
from modelport.perf.search import Candidate, Place
from modelport.perf.series import Series, Tell, Wish
from modelport.perf.settings import Settings


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was tried for real.

    Attributes:
        candidate: it, and what was simulated.
        levels: what was measured, in the order of the loads; less where it broke.
        judged: the objectives, by what was measured, and whether replies kept up with requests.
        rounds_cpu_ms: CPU time of the server for a reply in each round, the dearest of the loads.
        problem: why it could not be tried to the end; empty where it could.
        needs_s: how long each try takes to tell what is asked.
    """

    candidate: Candidate
    levels: tuple[Level, ...]
    judged: tuple[Judged, ...]
    rounds_cpu_ms: tuple[float, ...] = ()
    problem: str = ""
    needs_s: float = 0.0

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return self.candidate.settings

    @property
    def holds(self) -> bool:
        """Whether every objective was met."""
        return not self.problem and all(one.holds for one in self.judged)

    @property
    def untold(self) -> bool:
        """Whether there were too few replies to tell, and nothing broke."""
        return not self.holds and not any(one.holds is False for one in self.judged)

    @property
    def reasons(self) -> list[str]:
        """Why it does not hold; of several objectives each."""
        return list(dict.fromkeys(one.why for one in self.judged if not one.holds))

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server for a reply, the dearest of the loads."""
        return max((level.server_cpu_ms or 0.0 for level in self.levels), default=math.inf)

    @property
    def p99_ms(self) -> float:
        """The slowest p99 of the loads."""
        found = (level.latency_ms.p99 for level in self.levels if level.latency_ms)
        return max(found, default=math.inf)

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """How far the simulation was off, by load and figure: simulated over measured, less one."""
        simulated = {level.name: level for level in self.candidate.levels}
        return {real.name: _errors(simulated[real.name], real) for real in self.levels}

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """What was measured, by load and figure."""
        return {level.name: figures(level) for level in self.levels}


def confirm(
    bench: Bench,
    ask: Ask,
    candidates: Sequence[Candidate],
    wanted: Sequence[Objective],
    loads: Sequence[Place],
    tell: Tell,
    wish: Wish,
) -> list[Confirmed]:
    """Try configurations for real, in turn, so that what else the machine does hits all alike.

    One that cannot be served, or that the load overwhelms, breaks and is tried no more.

    Args:
        bench: serves them.
        ask: makes the load.
        candidates: the configurations; the first serves now.
        wanted: the objectives.
        loads: at which they are to hold.
        tell: hears of every step.
        wish: how thoroughly.

    Raises:
        LoadTestError: the server ended, or what serves now answers wrongly.
    """
    order = np.random.default_rng(0)
    trials = [Trial(bench, ask, candidate, loads, wanted, wish) for candidate in candidates]
    done = 0
    for turn in range(wish.rounds):
        for number in order.permutation(len(candidates)).tolist():
            settings = candidates[number].settings
            words = str(settings)
            if (needs_s := trials[number].needs_s(turn)) > wish.duration_s:
                words += f": {needs_s:.0f} s for the replies that the objective takes"
            tell("confirm", done, wish.rounds * len(candidates), words)
            trials[number].go(turn, serves_now=number == 0)
            done += 1
    return [trial.result() for trial in trials]


class Trial:
    """One configuration, and what its tries found so far.

    Args:
        bench: serves it.
        ask: makes the load.
        candidate: the configuration.
        loads: at which the objectives are to hold.
        wanted: the objectives.
        wish: how thoroughly.
    """

    def __init__(
        self,
        bench: Bench,
        ask: Ask,
        candidate: Candidate,
        loads: Sequence[Place],
        wanted: Sequence[Objective],
        wish: Wish,
    ) -> None:
        self._bench, self._ask, self._candidate, self._wanted = bench, ask, candidate, wanted
        simulated = {level.name: level.replies_per_s for level in candidate.levels}
        self._series = [
            Series(bench.model, one, search.needed(one, wanted), wish, simulated[one.name])
            for one in loads
        ]
        self._problem = ""

    def needs_s(self, turn: int) -> float:
        """Say how long the longest try of a round lasts."""
        return max(one.duration_s(turn) for one in self._series)

    def go(self, turn: int, *, serves_now: bool) -> None:
        """Try it for one round, unless it broke.

        Raises:
            LoadTestError: the server ended, or what serves now answers wrongly.
        """
        if self._problem:
            return
        try:
            self._bench.configure(self._candidate.settings)
            for one in self._series:
                one.run(self._bench, self._ask, turn)
        except (LoadError, LoadTestError, ClientError) as error:
            if self._bench.server.status is not None or (serves_now and "wrong" in error.objects):
                raise
            self._problem = error.what
            self._bench.settle()

    def result(self) -> Confirmed:
        """Judge what was found."""
        tried = [one for one in self._series if one.tries]
        found = tuple(one.level for one in tried)
        if self._problem:
            judged = [
                Judged(text=one.text or str(one), holds=False, why=self._problem)
                for one in self._wanted
            ]
        else:
            judged = objectives.judge(self._wanted, found)
            judged += [each for one in tried for each in search.kept_up(one.rounds)]
        by_load = [[level.server_cpu_ms or 0.0 for level in one.rounds] for one in tried]
        complete = min(map(len, by_load), default=0)
        return Confirmed(
            candidate=self._candidate,
            levels=found,
            judged=tuple(judged),
            rounds_cpu_ms=tuple(max(one[turn] for one in by_load) for turn in range(complete)),
            problem=self._problem,
            needs_s=max((one.tell_s for one in tried), default=0.0),
        )


def figures(level: Level) -> dict[str, float]:
    """Give what a level is compared by."""
    found = {"replies_per_s": level.replies_per_s, "cpu_ms": level.server_cpu_ms or 0.0}
    if level.latency_ms is not None:
        found |= {"p50_ms": level.latency_ms.p50, "p99_ms": level.latency_ms.p99}
    found["memory_mib"] = (level.memory_bytes or 0) / 2**20
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _errors(simulated: Level, real: Level) -> dict[str, float]:
    one, other = figures(simulated), figures(real)
    return {name: round(one[name] / other[name] - 1, 3) for name in one if other.get(name)}
