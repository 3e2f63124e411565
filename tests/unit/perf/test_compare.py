"""Comparisons: when a ratio is a regression, and what a baseline says."""

from __future__ import annotations

from pathlib import Path

import perf_results
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.errors import ProfileError, ResultError
from modelport.perf import compare
from modelport.perf.compare import Comparison, LeftOut, Ratio


def ratio(figure: str, low: float, high: float, level: str = "concurrency 8") -> Ratio:
    middle = (low + high) / 2
    return Ratio(figure=figure, level=level, rounds=7, ratio=middle, low=low, high=high, a=2, b=3)


def comparison(*ratios: Ratio, model: str = "digits") -> Comparison:
    return Comparison(
        model=model, a="digits@1", b="digits@2", machine=perf_results.MACHINE, ratios=list(ratios)
    )


def verdict(one: Ratio, bounds: dict[str, float], baseline: Ratio | None = None) -> str | None:
    before = comparison(baseline).as_baseline() if baseline else None
    return compare.judge(comparison(one), bounds, before).ratios[0].verdict


@pytest.mark.parametrize(
    ("figure", "low", "high", "bound", "wanted"),
    [
        ("p99", 1.2, 1.4, 1.1, "regression"),
        ("p99", 1.05, 1.4, 1.1, "unclear"),
        ("p99", 0.95, 1.05, 1.1, "same"),
        ("p99", 0.8, 0.9, 1.1, "better"),
        ("p99", 0.8, 0.9, 0.7, "regression"),
        ("throughput", 0.7, 0.8, 0.9, "regression"),
        ("throughput", 0.85, 0.95, 0.9, "unclear"),
        ("throughput", 0.95, 1.05, 0.9, "same"),
        ("throughput", 1.1, 1.2, 0.9, "better"),
    ],
)
def test_only_what_lies_wholly_past_its_bound_is_a_regression(
    figure: str, low: float, high: float, bound: float, wanted: str
) -> None:
    assert verdict(ratio(figure, low, high), {figure: bound}) == wanted


@given(st.lists(st.floats(0.1, 10), min_size=6, max_size=12), st.floats(1.01, 3))
def test_nobody_is_worse_than_himself(values: list[float], bound: float) -> None:
    for figure in compare.BOUNDS:
        one = compare.ratio(figure, "concurrency 1", values, values)
        assert verdict(one, {figure: 1 / bound if figure == "throughput" else bound}) == "same"


@given(st.lists(st.floats(0.1, 10), min_size=6, max_size=12), st.floats(1.3, 5))
def test_what_is_slower_in_each_round_is_a_regression(values: list[float], by: float) -> None:
    slower = [by * one for one in values]
    assert verdict(compare.ratio("p99", "burst", values, slower), {"p99": 1.25}) == "regression"
    assert verdict(compare.ratio("p99", "burst", slower, values), {"p99": 1.25}) == "better"


def test_a_baseline_moves_the_bound() -> None:
    # three times a bare loop before, and now
    now = ratio("cpu", 2.9, 3.1)
    assert verdict(now, {"cpu": 1.1}) == "regression"
    assert verdict(now, {"cpu": 1.1}, ratio("cpu", 2.8, 3.2)) == "same"
    assert verdict(now, {"cpu": 1.1}, ratio("cpu", 2.0, 2.2)) == "regression"
    many = ratio("throughput", 0.45, 0.55)
    assert verdict(many, {"throughput": 0.9}, ratio("throughput", 0.5, 0.6)) == "same"
    assert verdict(many, {"throughput": 0.9}, ratio("throughput", 0.7, 0.8)) == "regression"


def test_a_baseline_holds_no_times(tmp_path: Path) -> None:
    judged = compare.judge(comparison(ratio("p99", 1.5, 1.6)))
    judged.as_baseline().write(tmp_path / "new" / "b.json")
    kept = Comparison.read(tmp_path / "new" / "b.json").ratios[0]
    assert (kept.a, kept.b, kept.bound, kept.verdict) == (None, None, None, None)
    assert kept.ratio == judged.ratios[0].ratio


@pytest.mark.parametrize(
    "other",
    [
        comparison(ratio("p99", 1, 1), model="other"),
        comparison(ratio("p99", 1, 1, level="concurrency 1")),
        comparison(ratio("p50", 1, 1)),
    ],
    ids=["model", "level", "figure"],
)
def test_a_baseline_of_something_else_is_refused(other: Comparison) -> None:
    with pytest.raises(ResultError, match="has no"):
        compare.judge(comparison(ratio("p99", 1, 1)), baseline=other)


def test_what_is_no_comparison_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"model": "m", "typo": 1}')
    with pytest.raises(ResultError, match="typo: Extra inputs"):
        Comparison.read(tmp_path / "c.json")
    with pytest.raises(ResultError, match="cannot be read"):
        Comparison.read(tmp_path / "none.json")


def test_five_rounds_tell_nothing() -> None:
    with pytest.raises(ResultError, match="5 rounds of A"):
        compare.ratio("p50", "burst", [1] * 5, [1] * 5)


GONE = LeftOut(figure="p99", level="concurrency 8", why="a turn had 60 replies")


def without(one: Comparison, *gone: LeftOut) -> Comparison:
    return one.model_copy(update={"left_out": list(gone)})


def test_what_a_bound_names_and_nobody_measured_is_no_success() -> None:
    found = without(comparison(ratio("p50", 1, 1)), GONE)
    assert compare.judge(found).left_out == [GONE]
    assert compare.judge(found, named=["p50"]).ratios[0].verdict == "same"
    with pytest.raises(ResultError, match="p99 at concurrency 8 is not compared: a turn had 60"):
        compare.judge(found, {"p99": 9.0}, named=["p99"])


def test_what_the_baseline_holds_and_nobody_measured_is_no_success() -> None:
    before = comparison(ratio("p50", 1, 1), ratio("p99", 1, 1)).as_baseline()
    with pytest.raises(ResultError, match="p99 at concurrency 8 is not compared"):
        compare.judge(without(comparison(ratio("p50", 1, 1)), GONE), baseline=before)
    with pytest.raises(ResultError, match="holds p99 at concurrency 8, which was not measured"):
        compare.judge(comparison(ratio("p50", 1, 1)), baseline=before)


def test_what_a_baseline_left_out_is_shown_and_not_judged() -> None:
    before = without(comparison(ratio("p50", 1, 1)), GONE).as_baseline()
    now = comparison(ratio("p50", 1, 1), ratio("p99", 3, 4))
    assert [one.verdict for one in compare.judge(now, baseline=before).ratios] == ["same", None]
    with pytest.raises(ResultError, match="p99 at concurrency 8"):
        compare.judge(now, baseline=before, named=["p99"])


@pytest.mark.parametrize(
    ("model", "levels", "complaint"),
    [
        ("other", ["concurrency 8"], "has no other"),
        ("digits", ["concurrency 8", "5/s"], "has no p99 at 5/s"),
        ("digits", [], "holds p99 at concurrency 8"),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused_before_the_load(
    model: str, levels: list[str], complaint: str
) -> None:
    before = comparison(ratio("p99", 1, 1)).as_baseline()
    compare.refuse_misfit(before, "digits", ["concurrency 8"], ["p99"])
    with pytest.raises(ResultError, match=complaint):
        compare.refuse_misfit(before, model, levels, ["p99"])
    with pytest.raises(ResultError, match="has no cpu at"):
        compare.refuse_misfit(before, "digits", ["concurrency 8"])


def test_bounds_are_read_beside_the_defaults() -> None:
    assert compare.bounds_of(["p99=1.05"]) == {**compare.BOUNDS, "p99": 1.05}


@pytest.mark.parametrize("text", ["p99", "p99=", "p99=0", "p99=-1", "p99=nan", "p98=1.1", "=1"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ProfileError) as refused:
        compare.bounds_of([text])
    assert repr(text) in refused.value.what
    assert "throughput=0.95" in str(refused.value)
