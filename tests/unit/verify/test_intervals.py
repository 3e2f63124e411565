"""Intervals: laws that hold whatever was measured, and how often the truth lies within."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.verify import intervals

times = st.lists(st.floats(0.01, 1e3), min_size=6, max_size=12)


@given(times, st.floats(0.1, 10))
def test_a_factor_in_every_round_is_found_exactly(rounds: list[float], factor: float) -> None:
    found = intervals.paired([factor * one for one in rounds], rounds)
    assert found.low == pytest.approx(factor)
    assert found.high == pytest.approx(factor)


@given(times, st.randoms(use_true_random=False))
def test_the_ratio_lies_within_its_interval(rounds: list[float], random: object) -> None:
    after = [one * random.uniform(0.5, 2) for one in rounds]  # type: ignore[attr-defined]
    for found in (intervals.paired(after, rounds), intervals.medians(after, rounds)):
        assert found.low <= found.ratio <= found.high


@given(times, st.floats(0.1, 10))
def test_units_do_not_matter(rounds: list[float], factor: float) -> None:
    after = rounds[::-1]
    one = intervals.medians(after, rounds)
    other = intervals.medians([factor * x for x in after], [factor * x for x in rounds])
    assert (one.ratio, one.low, one.high) == pytest.approx((other.ratio, other.low, other.high))


def test_more_rounds_leave_less_doubt() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (10, 1000):
        after = random.lognormal(0, 0.3, count)
        found = intervals.paired(after.tolist(), [1.0] * count)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 4


def test_one_noisy_round_moves_neither_end_far() -> None:
    calm = intervals.paired([1.0, 1.1, 0.9, 1.0, 1.0, 1.1, 0.9, 1.0, 1.0], [1.0] * 9)
    noisy = intervals.paired([1.0, 1.1, 0.9, 9.0, 1.0, 1.1, 0.9, 1.0, 1.0], [1.0] * 9)
    assert noisy.ratio == calm.ratio
    assert noisy.high < 1.2


def _held(find: object, count: int, random: np.random.Generator) -> float:
    """Give how often the interval of two equal things holds the ratio 1."""
    found = [
        find(random.lognormal(0, 0.5, count), random.lognormal(0, 0.5, count))  # type: ignore[operator]
        for _ in range(1500)
    ]
    return float(np.mean([one.low <= 1 <= one.high for one in found]))


@pytest.mark.parametrize("count", [6, 7, 9, 12, 17])
def test_a_median_of_few_pairs_lies_within_its_interval_as_often_as_said(count: int) -> None:
    # The standard error of 1500 tries is 0.006.
    assert _held(intervals.paired, count, np.random.default_rng(count)) > 0.935


def test_medians_of_few_latencies_lie_within_their_interval_as_often_as_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "_RESAMPLES", 400)
    assert _held(intervals.medians, intervals.LEAST, np.random.default_rng(0)) > 0.93


@pytest.mark.parametrize(
    ("count", "left_out"), [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (25, 7)]
)
def test_the_ranks_are_those_of_the_tables(count: int, left_out: int) -> None:
    """David and Nagaraja's table of 95 % intervals of a median, in which ranks count from 1."""
    found = intervals.paired([2.0**i for i in range(count)], [1.0] * count)
    assert (found.low, found.high) == (2.0**left_out, 2.0 ** (count - 1 - left_out))


def test_five_rounds_have_no_interval() -> None:
    with pytest.raises(ValueError, match="5 rounds"):
        intervals.paired([1.0] * 5, [1.0] * 5)
