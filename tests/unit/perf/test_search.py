"""Searching configurations by simulation: which are looked at, and which of them win."""

from __future__ import annotations

from typing import Any

import pytest

from modelport.errors import ProfileError
from modelport.perf import objectives, search
from modelport.perf.batcher import Batching
from modelport.perf.result import Level
from modelport.perf.search import Place
from modelport.perf.service_times import Point, ServiceTimes
from modelport.perf.settings import Settings

CURRENT = Settings(Batching(1, 16), 1)


def point(size: int, *, instances: int = 1, threads: int = 1, slower: float = 1.0) -> Point:
    """Make an execution of ``1 ms + 0.1 ms`` for each item, of a server that takes 0.2 ms more."""
    took = (1e-3 + 1e-4 * size) * slower
    return Point(
        size=size,
        mean_size=size,
        instances=instances,
        threads=threads,
        executions=100,
        execution_size=size,
        execution_s=took,
        model_cpu_s=took * max(1, threads),
        server_cpu_s=1e-4 + 1e-4 / size,
        caller_cpu_s=1e-4,
        latency_s=(took + 3e-4, took + 4e-4, took + 4e-4, took + 5e-4, took + 1e-3),
        replies_per_s=size / took,
    )


def times(*, cores: int = 2, crowded: float = 1.0) -> ServiceTimes:
    """Measure a model that gains nothing by threads, on a machine of some cores."""
    alone = [point(size) for size in (1, 2, 4, 8, 16)]
    return ServiceTimes(
        model="m",
        tuned="m",
        cores=cores,
        process_bytes=30 << 20,
        others_bytes=50 << 20,
        points=(*alone, point(4, instances=2, slower=crowded), point(1, threads=2)),
    )


def searched(*texts: str, cores: int = 2) -> list[search.Candidate]:
    measured = times(cores=cores)
    wanted = [objectives.parse(text) for text in texts]
    among = search.space(CURRENT, measured, delays_s=(0.0, 3e-3))
    return search.search(among, measured, wanted, search.places(wanted), rough=300, fine=500)


def test_the_space_holds_what_serves_now_and_no_more_threads_than_cores() -> None:
    found = search.space(CURRENT, times(cores=4))
    assert found[0] == CURRENT
    assert len(set(found)) == len(found)
    assert {(one.batching.instances, one.threads) for one in found} == {
        *((instances, 1) for instances in (1, 2, 4)),
        *((instances, 2) for instances in (1, 2)),
    }
    assert {one.batching.max_batch_size for one in found} == {16}
    lower = search.space(CURRENT, times(), lower_batch=True)
    assert {one.batching.max_batch_size for one in lower} == {1, 2, 4, 8, 16}


def test_batches_win_where_cpu_counts() -> None:
    """A batch of 8 costs 0.225 ms an item and one of 1 costs 1.1: callers allow batches."""
    best = searched("p99 <= 50 ms at concurrency 8")[0]
    assert best.holds
    assert best.settings.batching.dynamic
    assert best.settings.threads == 1
    assert best.settings.batching.instances == 1
    # 1.8 ms of execution for eight, 0.1 ms for the batch, 0.1 ms for the request
    assert best.cpu_ms == pytest.approx(1.8 / 8 + 0.1 / 8 + 0.1, rel=0.05)


def test_a_tight_bound_forbids_waiting() -> None:
    ranked = searched("p99 <= 2.5 ms at 20/s")
    assert ranked[0].holds
    assert ranked[0].settings.batching.delay_s < 2e-3
    assert not all(one.holds for one in ranked)


def test_where_nothing_meets_it_the_nearest_comes_first() -> None:
    ranked = searched("throughput >= 1000000/s at concurrency 8")
    assert not any(one.holds for one in ranked)
    assert ranked[0].replies_per_s == pytest.approx(
        max(one.replies_per_s for one in ranked), rel=0.03
    )


def test_of_many_cores_instances_double() -> None:
    found = search.space(CURRENT, times(cores=96))
    assert {one.batching.instances for one in found} == {1, 2, 4, 8, 16, 32, 64}


def test_an_overloaded_configuration_does_not_win() -> None:
    """It meets what was asked of its CPU time, and its queue grows for as long as it goes on."""
    wanted = [objectives.parse("cpu <= 1 s at 2000/s")]
    loads = search.places(wanted)
    alone = Settings(Batching(1, 16, False), 1)
    one = search.assess(alone, times(), wanted, loads, requests=1000)
    assert one.judged[0].holds
    assert not one.holds
    assert search.lack(one.judged) > 1.5
    assert search.assess(CURRENT, times(), wanted, loads, requests=1000).holds


def level(replies: int, took_s: float, **fields: Any) -> Level:
    rate = replies / took_s
    return Level(
        name="100/s", kind="open", duration_s=took_s, replies=replies, replies_per_s=rate, **fields
    )


def test_keeping_up_allows_the_last_reply_its_time() -> None:
    """A reply takes 300 ms: those of one second are there after 1.3."""
    slow = level(100, 1.3, offered_per_s=100.0, quantiles=[(0.0, 300.0)])
    assert search.keeps_up([slow])
    queue = level(100, 1.3, offered_per_s=100.0, quantiles=[(0.0, 10.0)])
    assert not search.keeps_up([queue])
    # A pause in one of three rounds is no lack of capacity.
    assert search.keeps_up([slow, queue, slow])
    assert search.keeps_up([level(1, 9.0)])


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        pytest.param(["mean <= 5 ms at 20/s"], 1, id="mean"),
        pytest.param(["p50 <= 5 ms at 20/s", "p99 <= 5 ms"], 100, id="p99 everywhere"),
        pytest.param(["p90 <= 5 ms at 20/s", "p99.9 <= 5 ms at 30/s"], 10, id="p99.9 elsewhere"),
        pytest.param(["p99.9 <= 5 ms at 20/s", "no error"], 1000, id="p99.9"),
    ],
)
def test_how_many_replies_tell(texts: list[str], count: int) -> None:
    wanted = [objectives.parse(text) for text in texts]
    assert search.needed(Place(rate_per_s=20.0), wanted) == count


def test_equal_ones_are_tried_once() -> None:
    """A lone caller makes no batches: all that differs is how long it waits for company."""
    ranked = searched("p99 <= 50 ms at concurrency 1")
    chosen = search.distinct(ranked, 50)
    assert len(chosen) < len(ranked) / 2
    assert chosen[0] is ranked[0]


@pytest.mark.parametrize("text", ["p99 <= 5 ms", "p99 <= 5 ms at burst"])
def test_an_objective_without_a_load_is_refused(text: str) -> None:
    with pytest.raises(ProfileError, match="load"):
        search.places([objectives.parse(text)])


def test_loads_are_named_once() -> None:
    texts = [
        "p99 <= 5 ms at 20/s",
        "p50 <= 1 ms at 20/s",
        "no error",
        "cpu <= 1 ms at concurrency 2",
    ]
    wanted = [objectives.parse(text) for text in texts]
    assert search.places(wanted) == [Place(rate_per_s=20.0), Place(concurrency=2)]
