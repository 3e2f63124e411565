"""Schedules send what they promise, when they promise it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelport.perf import arrivals

RATES = st.floats(0.5, 500)
SECONDS = st.floats(0.2, 20)


@given(rate=RATES, duration_s=SECONDS, seed=st.integers(0, 1000))
def test_as_many_as_expected_within_the_time(rate: float, duration_s: float, seed: int) -> None:
    for intervals in (
        arrivals.constant(rate, duration_s),
        arrivals.poisson(rate, duration_s, seed=seed),
        arrivals.ramp(rate, 2 * rate, duration_s / 1.5, seed=seed),
    ):
        assert len(intervals) == max(1, round(rate * duration_s))
        assert intervals.min() >= 0
        assert intervals.sum() <= max(duration_s, 1 / rate) + 0.5 / rate + 1e-9


def test_a_poisson_process_is_irregular_as_it_should_be() -> None:
    intervals = arrivals.poisson(100, 200, seed=3)
    # Its intervals are exponential: as wide as their mean, two thirds of them shorter than it.
    assert abs(intervals.std() / intervals.mean() - 1) < 0.03
    assert abs((intervals < intervals.mean()).mean() - (1 - np.exp(-1))) < 0.01
    assert not np.array_equal(intervals, arrivals.poisson(100, 200, seed=4))


@given(a=RATES, b=RATES)
def test_a_ramp_has_the_rates_of_its_ends(a: float, b: float) -> None:
    moments = np.cumsum(arrivals.ramp(a, b, 1000, seed=1))
    for begin, end in ((0, 200), (400, 600), (800, 1000)):
        middle = (begin + end) / 2 / 1000
        expected = (a + (b - a) * middle) * (end - begin)
        found = ((moments >= begin) & (moments < end)).sum()
        assert abs(found - expected) < 6 * np.sqrt(expected) + 2


def test_a_burst_comes_at_once() -> None:
    intervals = arrivals.bursts(10, 4, size=32, every_s=1)
    moments = np.cumsum(intervals)
    for when in (0.5, 1.5, 2.5, 3.5):
        assert (np.abs(moments - when) < 1e-9).sum() >= 32
    assert len(moments) == 40 + 4 * 32
