"""Figures of models that were asked in turn."""

from __future__ import annotations

from modelport.verify.side_by_side import Block, Rates


def rates(*milliseconds: float) -> Rates:
    """Give rates of rounds in each of which every reply took so long, half of it on a CPU."""
    return Rates(tuple(Block((ms / 1e3,) * 10, ms / 100, ms / 200) for ms in milliseconds))


def test_a_block_counts_its_replies() -> None:
    (block,) = rates(20).blocks
    assert (block.p50_ms, round(block.replies_per_s), block.cpu_ms) == (20, 50, 10)


def test_what_slows_both_in_a_round_does_not_count() -> None:
    # The machine was three times slower in the second round.
    found = rates(5, 15, 5, 5, 5, 5).against(
        rates(10, 30, 10, 10, 10, 10), lambda block: block.p50_ms
    )
    assert (found.ratio, found.low, found.high) == (0.5, 0.5, 0.5)


def test_rounds_that_disagree_leave_a_doubt() -> None:
    found = rates(9, 12, 8, 11, 10, 10).against(rates(*[10] * 6), lambda b: b.p50_ms)
    assert found.low < 1 < found.high


def test_the_worst_replies_of_all_rounds_count() -> None:
    found = rates(*[10] * 99, 500)
    assert found.p50_ms == 10
    assert 10 < rates(*[10] * 50, 500).p99_ms <= 500
