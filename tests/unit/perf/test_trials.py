"""Configurations tried for real: what breaks, what is too slow to tell, and which is chosen.

The server and the load generator are stand-ins here, for neither overload nor a choice between
close figures happens on demand; `tests/server/perf/test_tuning.py` has the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from modelport.cli import tune
from modelport.errors import LoadError, LoadTestError
from modelport.perf import objectives, search, series, tuning
from modelport.perf.asking import Asked, Closed, Load
from modelport.perf.batcher import Batching
from modelport.perf.bench import Bench, Executions, Spent
from modelport.perf.records import Records
from modelport.perf.result import Judged, Level
from modelport.perf.search import Candidate
from modelport.perf.series import Wish
from modelport.perf.service_times import ServiceTimes
from modelport.perf.settings import Settings
from modelport.perf.trials import Confirmed, confirm

Answer = Callable[[Settings, Load], Asked]


@dataclass
class StandIn:
    """A bench without a server."""

    status: int | None = None
    refused: int = 0
    model: str = "m"
    settings: Settings | None = None
    requests: int = 0
    settled: int = 0
    server: Any = field(init=False)

    def __post_init__(self) -> None:
        self.server = SimpleNamespace(status=self.status)

    def configure(self, settings: Settings) -> None:
        if settings.batching.instances == self.refused:
            raise LoadError("m: out of memory")
        self.settings = settings

    @contextmanager
    def counting(self) -> Iterator[list[Spent]]:
        found: list[Spent] = []
        yield found
        found.append(Spent(0.001 * self.requests, 0.0, {1: Executions(self.requests, 1.0)}))

    def settle(self) -> None:
        self.settled += 1

    def all_memory_bytes(self) -> int:
        return 1 << 20


def closed(per_s: float, duration_s: float) -> Records:
    """Say what a lone caller sees, with a reply before and one after what is measured."""
    each = 1 / per_s
    ends = np.arange(0, round(duration_s * per_s) + 2) * each + 1e-6
    return Records(ends - each, ends, ends, None, (each, each + duration_s))


def candidate(instances: int, per_s: float = 100.0) -> Candidate:
    level = Level(
        name="concurrency 1",
        kind="closed",
        concurrency=1,
        duration_s=1,
        replies=100,
        replies_per_s=per_s,
    )
    return Candidate(Settings(Batching(instances, 8), 1), (level,), (), 0)


def tried(
    bench: StandIn, answer: Answer, *instances: int, per_s: float = 100.0, text: str, wish: Wish
) -> list[Confirmed]:
    wanted = [objectives.parse(text)]

    def ask(load: Load) -> Asked:
        assert bench.settings is not None
        found = answer(bench.settings, load)
        bench.requests = len(found.records.end_s)
        return found

    among = [candidate(one, per_s) for one in instances]
    loads = search.places(wanted)
    return confirm(cast(Bench, bench), ask, among, wanted, loads, lambda *_: None, wish)


def quick(settings: Settings, load: Load) -> Asked:
    if settings.batching.instances == 3:
        raise LoadTestError("m: no load could be put on it")
    if settings.batching.instances == 4:
        raise LoadTestError("m: 1 of 9 replies are wrong", wrong=1)
    return Asked(closed(100.0, load.duration_s), 0.01)


TEXT = "p90 <= 20 ms at concurrency 1"


def test_one_that_breaks_is_kept_with_its_problem_and_loses_nothing() -> None:
    bench = StandIn(refused=2)
    found = tried(bench, quick, 1, 2, 3, 4, text=TEXT, wish=Wish(rounds=2, duration_s=0.5))
    assert [one.holds for one in found] == [True, False, False, False]
    assert found[0].levels[0].replies == 100
    problems = ["", "out of memory", "no load could be put", "replies are wrong"]
    assert all(word in one.problem for word, one in zip(problems, found, strict=True))
    assert bench.settled == 3
    assert [one.reasons for one in found] == [[], *([one.problem] for one in found[1:])]
    assert tuning.choose(found) is found[0]
    # What did not work at all is never the nearest, and has no figures.
    assert {search.lack(one.judged) for one in found[1:]} == {float("inf")}
    assert found[1].errors == found[1].figures == {}


def test_a_server_that_ended_ends_the_work() -> None:
    with pytest.raises(LoadTestError, match="no load"):
        tried(StandIn(status=9), quick, 1, 3, text=TEXT, wish=Wish())


def test_wrong_replies_of_what_serves_now_end_the_work() -> None:
    with pytest.raises(LoadTestError, match="wrong"):
        tried(StandIn(), quick, 4, 1, text=TEXT, wish=Wish())


@pytest.mark.parametrize(
    ("longest_s", "holds"),
    [pytest.param(60.0, True, id="long enough"), pytest.param(2.0, None, id="too short")],
)
def test_a_slow_model_is_tried_until_it_tells(longest_s: float, holds: bool | None) -> None:
    """Two replies a second where ten were simulated; a p99 takes a hundred."""
    asked: list[float] = []

    def slow(_: Settings, load: Load) -> Asked:
        asked.append(load.duration_s)
        return Asked(closed(2.0, load.duration_s), 0.01)

    wish = Wish(rounds=5, duration_s=1.0, longest_s=longest_s)
    text = "p99 <= 900 ms at concurrency 1"
    found = tried(StandIn(), slow, 1, per_s=10.0, text=text, wish=wish)[0]
    assert found.judged[0].holds is holds
    assert found.untold is (holds is None)
    assert max(asked) <= longest_s
    if holds is None:
        assert "100 do" in found.reasons[0]
        assert found.needs_s == pytest.approx(11, rel=0.2)
    else:
        assert 100 <= found.levels[0].replies < 150


def test_rounds_stand_behind_one_another() -> None:
    one = closed(10.0, 2.0)
    both = series.joined([one, one])
    assert both.took_s == pytest.approx(2 * one.took_s)
    assert both.within.sum() == len(both.end_s) == 2 * one.within.sum()
    assert both.latencies_ms == pytest.approx(100.0)
    assert both.replies_per_s == pytest.approx(one.replies_per_s)


def test_an_open_load_is_named_by_the_rate_that_was_wanted() -> None:
    wanted = series.real_load(search.Place(rate_per_s=20.0), 5.0)
    assert not isinstance(wanted, Closed)
    assert len(wanted.intervals_s) == 100


def measured(instances: int, rounds: Sequence[float], *, p99_ms: float = 5.0) -> Confirmed:
    """Say that a configuration met its objectives, and cost so much in each round."""
    level = candidate(1).levels[0]
    latency = search.latency(np.full(100, p99_ms))
    level = level.model_copy(
        update={"server_cpu_ms": float(np.mean(rounds)), "latency_ms": latency}
    )
    return Confirmed(candidate(instances), (level,), (), tuple(rounds))


NOW = measured(1, [1.0, 1.2, 0.9, 1.1, 1.0, 1.0])


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param([[0.9, 1.15, 0.8, 1.1, 0.7, 0.8]], 0, id="cheaper in most rounds"),
        pytest.param([[0.98, 1.17, 0.88, 1.08, 0.98, 0.98]], 0, id="cheaper by 2 in 100"),
        pytest.param([[0.8, 0.9, 0.7, 0.9, 0.8, 0.8]], 1, id="cheaper in every round"),
        pytest.param([[0.5, 0.5, 0.5, 0.5, 0.5]], 0, id="too few rounds"),
        pytest.param(
            [[0.8, 0.9, 0.7, 0.9, 0.8, 0.8], [0.5, 0.6, 0.4, 0.6, 0.5, 0.5]], 2, id="cheapest"
        ),
    ],
)
def test_what_serves_now_stays_unless_another_is_beyond_doubt_cheaper(
    others: list[list[float]], expected: int
) -> None:
    among = [NOW, *(measured(number + 2, one) for number, one in enumerate(others))]
    assert tuning.choose(among) is among[expected]


def test_where_what_serves_now_does_not_do_the_cheapest_is_chosen() -> None:
    bad = Confirmed(NOW.candidate, NOW.levels, (), NOW.rounds_cpu_ms, problem="overwhelmed")
    dear = measured(2, [2.0] * 5)
    alike = measured(4, [1.98] * 5)
    # Costs alike: then fewer instances, then the lower latency.
    assert tuning.choose([bad, alike, dear]) is dear
    swift = measured(2, [2.01] * 5, p99_ms=2.0)
    assert tuning.choose([bad, dear, swift]) is swift
    assert tuning.choose([bad]) is None


def test_too_few_replies_are_an_outcome_of_their_own() -> None:
    few = Judged(text="p99 <= 9 ms at 1/s", holds=None, got=5.0, why="9 replies do not tell p99")
    one = Confirmed(candidate(1), NOW.levels, (few,), needs_s=21.3)
    found = tuning.Outcome(
        model="m",
        versions={"m": 1},
        tuned="m",
        shares={},
        objectives=(),
        times=ServiceTimes(model="m", tuned="m", cores=2, points=()),
        searched=1,
        ranked=(),
        before=one,
        confirmed=(one,),
        chosen=None,
    )
    error = tune._unmet(found)
    assert "too few replies" in error.what
    assert error.next_step is not None
    assert error.next_step.startswith("--duration 22")
