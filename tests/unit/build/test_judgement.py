"""Which variant is chosen, and what is said of the others."""

from __future__ import annotations

import pytest

from modelport.build import judgement, pareto
from modelport.errors import GateError
from modelport.repository.manifest import IntervalEntry, VariantEntry

SURE, CHANCE = 0.05, 0.5


def entry(
    precision: str,
    *,
    latency: float | None = None,
    throughput: float | None = None,
    doubt: float = SURE,
    size: int = 100,
    problem: str = "",
) -> VariantEntry:
    ratios = {"latency": latency, "throughput": throughput}
    return VariantEntry(
        precision=precision,
        sha256="0" * 64,
        size_bytes=size,
        least_cosine=1,
        mean_cosine=1,
        worst_absolute=0,
        rates={},
        ratios={
            name: IntervalEntry(ratio=ratio, low=ratio - doubt, high=ratio + doubt)
            for name, ratio in ratios.items()
            if ratio is not None
        },
        within_budget=not problem,
        verdict=problem,
    )


FULL = entry("fp32")


@pytest.mark.parametrize(
    ("goal", "others", "chosen"),
    [
        ("latency", [entry("int8", latency=0.5), entry("pruned", latency=0.8)], "int8"),
        ("latency", [entry("int8", latency=1.5)], "fp32"),
        # Faster, but that may be chance.
        ("latency", [entry("int8", latency=0.9, doubt=CHANCE)], "fp32"),
        ("throughput", [entry("int8", throughput=2), entry("pruned", throughput=3)], "pruned"),
        ("throughput", [entry("int8", throughput=0.5)], "fp32"),
        # The best of all, but for what it loses.
        ("latency", [entry("int8", latency=0.1, problem="too bad")], "fp32"),
        (
            "size",
            [entry("int8", latency=3, size=25), entry("pruned", latency=3, size=13)],
            "pruned",
        ),
        ("size", [entry("int8", latency=0.5, size=25, problem="too bad")], "fp32"),
        # Not timed here: made for GPUs.
        ("latency", [entry("fp16")], "fp32"),
        ("size", [entry("fp16", size=50)], "fp32"),
        ("int8", [entry("int8", latency=3)], "int8"),
    ],
)
def test_the_best_within_budget_is_chosen(
    goal: str, others: list[VariantEntry], chosen: str
) -> None:
    assert judgement.choose([FULL, *others], goal, "m") == chosen


def test_one_that_is_named_must_keep_its_budget() -> None:
    bad = entry("int8", problem="accuracy is 0.5, that of fp32 0.9")
    with pytest.raises(GateError, match=r"int8 does not keep its budget: accuracy is 0\.5"):
        judgement.choose([FULL, bad], "int8", "m")


@pytest.mark.parametrize(
    ("one", "goal", "said"),
    [
        (entry("int8", latency=0.5), "latency", "chosen: 0.50 times the median latency of fp32"),
        (entry("int8", latency=2), "latency", "lost: 2.00 times the median latency of fp32"),
        (entry("int8", latency=0.9, doubt=CHANCE), "latency", "which may be chance"),
        (entry("int8", problem="too bad"), "latency", "over budget: too bad"),
        (entry("fp16"), "latency", "not timed on this machine: it is made for GPUs"),
        (entry("int8", latency=1, size=25), "size", "chosen: 2.5e-05 MB"),
        (entry("int8", latency=1, size=200), "size", "lost: 2.00 times the size of fp32"),
    ],
)
def test_every_variant_is_told_why(one: VariantEntry, goal: str, said: str) -> None:
    entries = [FULL, one]
    chosen = judgement.choose(entries, goal, "m")
    assert said in judgement.verdict(one, entries, chosen, goal)


def test_the_frontier_is_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.9), (2.0, 0.8), (3.0, 0.7), (4.0, 0.95)]
    assert pareto.frontier(points) == [(1.0, 0.5), (2.0, 0.9), (4.0, 0.95)]
