"""Objectives: what reads as one, and whether levels meet it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.errors import ProfileError
from modelport.perf import objectives
from modelport.perf.objectives import Objective
from modelport.perf.result import Latency, Level

FIGURES = {
    **dict.fromkeys(["mean", "p50", "p90", "p95", "p99", "p99.9", "max", "cpu"], "ms"),
    "throughput": "/s",
    "memory": "MiB",
}


def level(name: str = "concurrency 8", p99: float = 10.0, **given: object) -> Level:
    times = Latency(mean=2, p50=1, p90=3, p95=5, p99=p99, p999=p99 * 2, max=p99 * 3)
    known = {"kind": "closed", "duration_s": 3, "replies": 5000, "replies_per_s": 1700}
    known |= {"latency_ms": times, "server_cpu_ms": 0.4, "memory_bytes": 512 << 20}
    if name.startswith("concurrency"):
        known["concurrency"] = int(name.split()[1])
    return Level.model_validate({"name": name, **known, **given})


def judged(text: str, *levels: Level) -> bool | None:
    return objectives.judge([text], levels)[0].holds


places = st.one_of(
    st.just(""),
    st.integers(1, 999).map("concurrency {}".format),
    st.integers(1, 9999).map("{}/s".format),
    st.sampled_from(["burst", "ramp", "two words"]),
)


@given(
    st.sampled_from(sorted(FIGURES)),
    st.sampled_from(["<=", "<", ">=", ">"]),
    st.floats(0, 1e9, allow_nan=False),
    places,
)
def test_what_is_written_is_read_again(figure: str, operator: str, bound: float, at: str) -> None:
    given = Objective(figure, operator, bound, FIGURES[figure], at=at)
    assert Objective(**{**vars(objectives.parse(str(given))), "text": ""}) == given


@given(st.sampled_from(["errors", "wrong"]), places)
def test_counts_are_read_again(figure: str, at: str) -> None:
    given = Objective(figure, "<=", 0.0, at=at)
    assert Objective(**{**vars(objectives.parse(str(given))), "text": ""}) == given


@pytest.mark.parametrize(
    ("text", "bound", "unit"),
    [
        ("p99 ≤ 20 ms at 200/s", 20, "ms"),
        ("p99<=20ms", 20, "ms"),
        ("max < 1.5 s", 1500, "ms"),
        ("p99.9 <= 800 us", 0.8, "ms"),
        ("first p95 <= 100 ms", 100, "ms"),
        ("throughput >= 500/s at concurrency 8", 500, "/s"),
        ("memory <= 1 GiB", 1024, "MiB"),
        ("cpu  <=  0.5 ms", 0.5, "ms"),
    ],
)
def test_units_are_brought_to_one(text: str, bound: float, unit: str) -> None:
    read = objectives.parse(text)
    assert read.bound == pytest.approx(bound)
    assert (read.unit, read.text) == (unit, text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("p99", "FIGURE"),
        ("fast", "FIGURE"),
        ("p98 <= 3 ms", "'p98' is no figure"),
        ("p99 <= 3", "'' is no unit of p99"),
        ("p99 <= 3 MiB", "'MiB' is no unit of p99"),
        ("throughput >= 3 ms", "'ms' is no unit of throughput"),
        ("first cpu <= 3 ms", "of a first reply"),
        ("p99 == 3 ms", "FIGURE"),
        ("p99 <= -3 ms", "FIGURE"),
        ("no problem", "FIGURE"),
    ],
)
def test_what_is_none_is_refused_with_the_grammar(text: str, complaint: str) -> None:
    with pytest.raises(ProfileError) as refused:
        objectives.parse(text)
    assert repr(text) in refused.value.what
    assert complaint in str(refused.value)
    assert "p99 <= 20 ms at 200/s" in str(refused.value)


@given(st.floats(0.001, 1e4), st.floats(0.001, 1e4))
def test_a_bound_and_its_opposite_never_agree(got: float, bound: float) -> None:
    one = level(p99=got)
    assert judged(f"p99 <= {bound!r} ms", one) is not judged(f"p99 > {bound!r} ms", one)


def test_the_worst_level_is_told() -> None:
    levels = [level("concurrency 1", 4), level("concurrency 8", 30), level("concurrency 32", 25)]
    (found,) = objectives.judge(["p99 <= 20 ms"], levels)
    assert (found.holds, found.got, found.at) == (False, 30, "concurrency 8")
    assert found.why == "30 ms at concurrency 8 breaks <= 20 ms"


def test_a_place_is_one_level() -> None:
    levels = [level("concurrency 1", 4), level("concurrency 8", 30)]
    assert judged("p99 <= 20 ms at concurrency 1", *levels)
    assert not judged("p99 <= 20 ms at concurrency 8", *levels)
    open_loop = level("200/s", offered_per_s=187.2, kind="open")
    for at in ("200/s", "200 / s", "200.0/s", "2e2/s"):
        assert judged(f"p99 <= 20 ms at {at}", open_loop), at
    assert judged("p99 <= 20 ms at 20/s", open_loop) is None
    assert judged("p99 <= 20 ms at 187.2/s", open_loop) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("200/s and 50 at once every 1 s", "burst"),
        ("100/s to 300/s", "ramp"),
        ("digits 200/s", "open"),
    ],
)
def test_a_rate_is_no_load_of_another_shape(name: str, kind: str) -> None:
    other = level(name, 30, offered_per_s=200.0, kind=kind)
    assert judged("p99 <= 20 ms at 200/s", other) is None
    assert judged("p99 <= 20 ms at 200/s", other, level("200/s", kind="open"))
    assert judged(f"p99 <= 20 ms at {name}", other) is False


def test_a_level_that_was_not_measured_is_no_success() -> None:
    (found,) = objectives.judge(["p99 <= 20 ms at 900/s"], [level()])
    assert (found.holds, found.why) == (
        None,
        "no level 900/s was measured; there are concurrency 8",
    )


def test_few_replies_can_break_p99_but_not_keep_it() -> None:
    few = level(replies=50)
    assert judged("p99 <= 20 ms", few) is None
    assert judged("p99 <= 5 ms", few) is False
    assert judged("p50 <= 5 ms", few) is True


def test_what_was_not_taken_is_no_success() -> None:
    bare = level(latency_ms=None, server_cpu_ms=None, memory_bytes=None, replies=0)
    for text in ("p50 <= 1 s", "first p50 <= 1 s", "cpu <= 9 s", "memory <= 9 GiB"):
        assert judged(text, bare) is None, text


def test_errors_and_wrong_replies_are_counted() -> None:
    bad = level(errors=2, wrong=1)
    assert judged("no error", bad, level()) is False
    assert judged("no wrong reply", bad) is False
    assert judged("no error", level()) is True


def test_cpu_memory_and_throughput_are_judged() -> None:
    assert judged("cpu <= 0.4 ms", level())
    assert judged("memory <= 512 MiB", level())
    assert not judged("memory < 512 MiB", level())
    assert judged("throughput >= 1700/s", level())
