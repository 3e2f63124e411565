"""The baseline that CI holds the served model against: of what the program measures."""

from __future__ import annotations

import against_bare
import pytest

from modelport.perf import compare
from modelport.perf.compare import Comparison

LEVELS = list(against_bare.LOADS)


@pytest.fixture
def baseline() -> Comparison:
    return Comparison.read(against_bare.BASELINE)


def test_the_baseline_is_of_what_is_measured_and_holds_no_times(baseline: Comparison) -> None:
    compare.refuse_misfit(baseline, against_bare.MODEL, LEVELS, against_bare.BOUNDS)
    assert baseline == baseline.as_baseline()


def test_what_costs_three_times_as_much_is_a_regression(baseline: Comparison) -> None:
    for times, wanted in ((1.0, None), (3.0, "regression")):
        found = [
            compare.ratio("cpu", one.level, [1.0] * 9, [times * one.ratio] * 9)
            for one in baseline.ratios
        ]
        now = baseline.model_copy(update={"ratios": found})
        judged = compare.judge(now, against_bare.BOUNDS, baseline)
        assert len(judged.named("regression")) == (len(LEVELS) if wanted else 0)
