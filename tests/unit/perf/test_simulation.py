"""The simulated server against what queueing theory knows exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.perf import arrivals
from modelport.perf.batcher import Batching
from modelport.perf.simulation import Arrivals, Callers, Costs, simulate

MANY = 1e6


def costs(base_s: float = 1e-3, each_s: float = 1e-4, **others: float) -> Costs:
    size = np.arange(65.0)
    work = np.where(size > 0, base_s + each_s * size, 0.0)
    return Costs(**{"cores": MANY, "work_s": work, "wait_s": 0 * work, "cpu_s": work, **others})


batchings = st.builds(
    Batching,
    instances=st.integers(1, 3),
    max_batch_size=st.just(16),
    dynamic=st.booleans(),
    preferred=st.sampled_from([(), (2,), (4, 8)]),
    delay_s=st.sampled_from([0.0, 5e-4, 5e-3]),
)


@settings(max_examples=30)
@given(batchings, st.integers(1, 40), st.sampled_from([1.0, 2.0, MANY]))
def test_littles_law(batching: Batching, callers: int, cores: float) -> None:
    """Callers who never think: their number is throughput times latency (Little 1961)."""
    found = simulate(
        batching,
        costs(cores=cores, outside_work_s=2e-4, outside_wait_s=1e-4),
        Callers(callers),
        requests=3000,
    )
    assert found.replies_per_s * found.latencies_s.mean() == pytest.approx(callers, rel=0.05)


@settings(max_examples=30)
@given(batchings, st.integers(1, 40), st.sampled_from([1.0, 2.0]))
def test_no_more_cores_are_used_than_there_are(
    batching: Batching, callers: int, cores: float
) -> None:
    spent = costs(cores=cores, outside_work_s=2e-4, server_cpu_s=1e-4)
    found = simulate(batching, spent, Callers(callers), requests=2000)
    assert found.cores_used <= cores * (1 + 1e-9)
    # What was worked for a reply is what the cores were busy for.
    outside = found.replies_per_s * (found.cpu_s - 1e-4 + 2e-4)
    assert outside == pytest.approx(found.cores_used, rel=0.08)


@given(st.integers(1, 12), st.integers(1, 3))
def test_a_lone_caller_waits_for_nothing_but_the_delay(delay_100_us: int, instances: int) -> None:
    delay = delay_100_us * 1e-4
    batching = Batching(instances, 8, delay_s=delay)
    found = simulate(batching, costs(outside_wait_s=2e-4), Callers(1), requests=50)
    assert found.latencies_s == pytest.approx(2e-4 + delay + 1.1e-3)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_without_batches_is_m_d_1(load: float) -> None:
    """Mean wait of M/D/1: ``load * service / (2 * (1 - load))`` (Pollaczek 1930)."""
    service = 1.1e-3
    times = np.cumsum(arrivals.poisson(load / service, 100_000 * service / load))
    found = simulate(Batching(1, 1, False), costs(), Arrivals(times))
    expected = service + load * service / (2 * (1 - load))
    assert found.latencies_s.mean() == pytest.approx(expected, rel=0.06)


def test_many_callers_fill_every_batch() -> None:
    found = simulate(Batching(1, 16), costs(), Callers(64), requests=4000)
    assert found.replies_per_s == pytest.approx(16 / (1e-3 + 16e-4), rel=0.02)
    assert found.batches[16] > 0.95 * sum(found.batches.values())


def test_executions_that_share_cores_slow_each_other() -> None:
    both = [
        simulate(Batching(2, 1, False), costs(cores=cores), Callers(8), requests=2000)
        for cores in (1.0, 2.0)
    ]
    assert both[1].replies_per_s == pytest.approx(2 * both[0].replies_per_s, rel=0.01)


def test_spread_is_drawn_from_what_was_measured() -> None:
    spread = costs()
    spread = Costs(**{**vars(spread), "delays_s": np.array([0.0, 0.0, 0.0, 2e-3])})
    found = simulate(Batching(1, 1, False), spread, Callers(1), requests=8000)
    assert found.quantile_ms(0.5) == pytest.approx(1.1)
    assert found.latencies_s.mean() == pytest.approx(1.1e-3 + 0.5e-3, rel=0.02)
