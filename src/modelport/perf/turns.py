"""What one turn of a comparison tells, and what it does not: that is said, never dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from modelport.perf import compare
from modelport.perf.compare import LeftOut, Ratio

# A p99 is a figure of a hundred replies at least.
_LEAST_REPLIES = 100


@dataclass(frozen=True)
class Turn:
    """What one side showed under one load.

    Attributes:
        figures: by name, those of :data:`~modelport.perf.compare.BOUNDS` that it tells.
        missing: by name, why it does not tell the others.
    """

    figures: Mapping[str, float]
    missing: Mapping[str, str]


# By level, the turns of A and those of B.
Rounds = dict[str, tuple[list[Turn], list[Turn]]]


def figures(
    times_ms: np.ndarray,
    took_s: float,
    *,
    cpu_s: float,
    requests: int,
    memory_bytes: int | None,
) -> Turn:
    """Give the figures of a turn, and say which it does not tell.

    Args:
        times_ms: latencies of the replies, one at least: ``float64[n]``.
        took_s: in which they came.
        cpu_s: that the server spent meanwhile.
        requests: that it answered with that, those around what was measured too.
        memory_bytes: that the server has; None where it cannot be seen.
    """
    found = {"throughput": len(times_ms) / took_s, "p50": float(np.median(times_ms))}
    missing = {}
    if len(times_ms) >= _LEAST_REPLIES:
        found["p99"] = float(np.quantile(times_ms, 0.99))
    else:
        missing["p99"] = f"a turn had {len(times_ms)} replies, and {_LEAST_REPLIES} tell it"
    if cpu_s > 0 and requests:
        found["cpu"] = cpu_s * 1e3 / requests
    else:
        missing["cpu"] = "a turn took less CPU time than the kernel counts"
    if memory_bytes:
        found["memory"] = memory_bytes / 2**20
    else:
        missing["memory"] = "the memory of the server cannot be seen"
    return Turn(found, missing)


def ratios(rounds: Rounds) -> Iterator[Ratio]:
    """Compare the figures that every turn of a level tells."""
    for level, (a, b) in rounds.items():
        for figure in compare.BOUNDS:
            if all(figure in one.figures for one in (*a, *b)):
                taken = ([one.figures[figure] for one in side] for side in (a, b))
                yield compare.ratio(figure, level, *taken)


def left_out(rounds: Rounds) -> Iterator[LeftOut]:
    """Name the figures that a turn of a level does not tell."""
    for level, (a, b) in rounds.items():
        for figure in compare.BOUNDS:
            if why := next((x.missing[figure] for x in (*a, *b) if figure in x.missing), None):
                yield LeftOut(figure=figure, level=level, why=why)
