"""Figures of a level, from records that are known."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.perf import levels
from modelport.perf.levels import Planned
from modelport.perf.load import Closed, Open
from modelport.perf.records import Records


def closed(end_s: np.ndarray, latency_s: float | np.ndarray = 0.01) -> Records:
    return Records(end_s - latency_s, end_s, end_s, None, (0.0, 3.0), len(end_s))


LEVEL = Planned("m", "concurrency 1", "closed", Closed(1, 3.0))


def test_what_lies_outside_the_window_does_not_count() -> None:
    found = levels.measured(LEVEL, closed(np.arange(-0.995, 4, 0.01)), stability=0.1)
    assert found.replies == 300
    assert found.replies_per_s == pytest.approx(100, rel=0.01)
    assert found.latency_ms is not None
    assert found.latency_ms.p99 == pytest.approx(10)
    assert found.stable
    assert [one.replies for one in found.timeline] == pytest.approx([100] * 3, abs=1)


def test_a_load_that_fades_is_not_stable() -> None:
    ends = np.concatenate([np.arange(0, 1, 0.01), np.arange(1, 3, 0.02)])
    found = levels.measured(LEVEL, closed(ends), stability=0.15)
    assert not found.stable
    assert found.spread == pytest.approx(50 / (200 / 3), rel=0.05)


def test_percentiles_reach_as_far_as_the_replies_tell() -> None:
    latencies = np.linspace(0.001, 1, 1000)
    found = levels.measured(LEVEL, closed(np.linspace(0, 3, 1000), latencies), stability=1)
    shares = [share for share, _ in found.quantiles]
    values = [value for _, value in found.quantiles]
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(0.999)
    assert shares == sorted(shares)
    assert values == sorted(values)


@pytest.mark.parametrize(("rate", "stable"), [(50.0, True), (150.0, False)])
def test_an_open_load_is_stable_where_replies_keep_up(rate: float, stable: bool) -> None:
    """A server that answers a hundred a second."""
    sent = np.arange(0, 3, 1 / rate)
    ends = np.maximum(sent + 0.01, np.arange(1, len(sent) + 1) / 100)
    found = Records(sent, ends, ends, sent, (0.0, float(ends.max())), len(sent))
    intervals = np.full(len(sent), 1 / rate)
    level = levels.measured(Planned("m", "x", "open", Open(intervals, 3.0)), found, stability=0.15)
    assert level.stable == stable
    assert level.corrected
    assert level.offered_per_s == pytest.approx(rate)


def test_lost_requests_are_errors() -> None:
    found = Records(*[np.arange(10.0)] * 3, None, (0.0, 10.0), 10, lost=5)
    level = levels.measured(LEVEL, found, stability=1)
    assert (level.replies, level.errors) == (10, 5)


def test_nothing_is_not_stable() -> None:
    none = Records(*[np.arange(20.0, 21.0)] * 3, None, (0.0, 10.0), 1)
    level = levels.measured(LEVEL, none, stability=1)
    assert level.replies == 0
    assert not level.stable
