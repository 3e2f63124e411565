"""Turns: figures that too little was measured for are named, and never dropped in silence."""

from __future__ import annotations

import numpy as np

from modelport.perf import turns
from modelport.perf.turns import Turn


def turn(replies: int = 200, **given: float | None) -> Turn:
    known = {"cpu_s": 0.5, "requests": replies, "memory_bytes": 1 << 20, **given}
    return turns.figures(np.full(replies, 2.0), 1.0, **known)  # type: ignore[arg-type]


def test_a_turn_tells_all() -> None:
    one = turn()
    assert one.figures == {"throughput": 200, "p50": 2, "p99": 2, "cpu": 2.5, "memory": 1}
    assert not one.missing


def test_every_figure_is_there_or_missing() -> None:
    for bad, gone in (
        (turn(99), {"p99"}),
        (turn(cpu_s=0.0), {"cpu"}),
        (turn(requests=0), {"cpu"}),
        (turn(memory_bytes=None), {"memory"}),
    ):
        assert set(bad.missing) == gone
        assert not set(bad.missing) & set(bad.figures)
        assert len(bad.missing) + len(bad.figures) == len(turn().figures)


def test_one_short_turn_of_many_is_told() -> None:
    rounds = {"concurrency 1": ([turn()] * 8 + [turn(60)], [turn()] * 9)}
    (gone,) = turns.left_out(rounds)
    assert gone.words == (
        "p99 at concurrency 1 is not compared: a turn had 60 replies, and 100 tell it"
    )
    assert [one.figure for one in turns.ratios(rounds)] == ["throughput", "p50", "cpu", "memory"]
    assert not list(turns.left_out({"concurrency 1": ([turn()] * 9, [turn()] * 9)}))
