"""How sure a figure is that was taken several times: 95 % intervals.

Two ways, each where it holds what it says:

- Figures that come in pairs, one of each round, are few: six to some dozens. The interval of their
  median ratio is made of the ratios themselves, the k-th least and the k-th greatest, which
  holds the true median with a probability that the binomial distribution gives exactly,
  whatever the distribution of the ratios (David and Nagaraja, Order Statistics, 7.1). The
  percentile bootstrap of a median of seven is the second least to the second greatest: 87.5 %.
- Latencies of single requests are many, and do not belong together in pairs. The ratio of two
  medians has the percentile bootstrap interval (Efron 1979), which holds it in 95 of 100 cases
  from six values on: tests/unit/verify/test_intervals.py counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

# With fewer pairs all lie on one side of the median more often than 1 time in 20.
LEAST = 6
_RESAMPLES = 2000
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A ratio with the bounds between which it lies in at least 95 of 100 cases."""

    ratio: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[..., np.ndarray], *samples: Sequence[float] | np.ndarray
) -> tuple[float, float]:
    """Give the 95 % percentile interval of a statistic.

    Args:
        statistic: takes one ``float64[resamples, n]`` for each sample, gives
            ``float64[resamples]``.
        *samples: measured values; each is drawn from for itself.
    """
    random = np.random.default_rng(0)
    drawn = [random.choice(np.asarray(one), size=(_RESAMPLES, len(one))) for one in samples]
    low, high = np.quantile(statistic(*drawn), _BOUNDS)
    return float(low), float(high)


def paired(after: Sequence[float], before: Sequence[float]) -> Interval:
    """Compare figures that were taken in the same rounds, so that what slowed both drops out.

    Args:
        after: one figure of each round.
        before: the other figure of each; above 0.

    Returns:
        The median of the rounds' ratios, after over before, with its exact interval.

    Raises:
        ValueError: there are fewer rounds than :data:`LEAST`.
    """
    ratios = np.sort(np.asarray(after, np.float64) / np.asarray(before, np.float64))
    rank = _rank(len(ratios))
    return Interval(float(np.median(ratios)), float(ratios[rank]), float(ratios[-1 - rank]))


def _rank(count: int) -> int:
    """Say how many of so many values to leave out at either end: as many as 95 % allow.

    The true median lies below all but k values, or above all but k, with the probability that a
    fair coin shows heads at most k times, for either.
    """
    if count < LEAST:
        raise ValueError(f"{count} rounds have no 95 % interval: it takes {LEAST}")
    outside, rank = 2 * 0.5**count, 0
    while outside + 2 * comb(count, rank + 1) * 0.5**count <= 0.05:
        rank += 1
        outside += 2 * comb(count, rank) * 0.5**count
    return rank


def medians(after: Sequence[float], before: Sequence[float]) -> Interval:
    """Compare the medians of values that do not belong together in pairs; ``before`` above 0.

    Args:
        after: six values or more, for the interval to hold what it says.
        before: the same of the other.
    """
    low, high = bootstrap(
        lambda one, other: np.median(one, axis=1) / np.median(other, axis=1), after, before
    )
    return Interval(float(np.median(after) / np.median(before)), low, high)
