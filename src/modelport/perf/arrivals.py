"""When requests arrive in an open loop: whether or not earlier ones were answered.

Each function gives the seconds between arrivals, the first counted from the start:
``float64[n]``.
"""

from __future__ import annotations

import numpy as np


def constant(rate_per_s: float, duration_s: float) -> np.ndarray:
    """Space requests evenly."""
    return np.full(_count(rate_per_s * duration_s), 1 / rate_per_s)


def poisson(rate_per_s: float, duration_s: float, *, seed: int = 0) -> np.ndarray:
    """Draw a Poisson process: many callers who know nothing of each other."""
    return np.diff(_drawn(lambda t: t / rate_per_s, rate_per_s * duration_s, seed), prepend=0.0)


def bursts(
    rate_per_s: float, duration_s: float, *, size: int, every_s: float, seed: int = 0
) -> np.ndarray:
    """Draw a Poisson process at a rate, with ``size`` further requests at once every some seconds.

    The first burst comes after half such a time.
    """
    calm = np.cumsum(poisson(rate_per_s, duration_s, seed=seed))
    moments = np.arange(every_s / 2, duration_s, every_s)
    return np.diff(np.sort(np.concatenate([calm, np.repeat(moments, size)])), prepend=0.0)


def ramp(from_per_s: float, to_per_s: float, duration_s: float, *, seed: int = 0) -> np.ndarray:
    """Draw a Poisson process whose rate goes in a line from one value to the other."""
    slope = (to_per_s - from_per_s) / duration_s
    expected = (from_per_s + to_per_s) / 2 * duration_s

    def when(count: np.ndarray) -> np.ndarray:
        """Invert the expected count ``from t + slope t² / 2``, in a form that slope 0 suits."""
        root = np.sqrt(np.maximum(from_per_s**2 + 2 * slope * count, 0.0))
        moments: np.ndarray = 2 * count / (from_per_s + root)
        return moments

    return np.diff(_drawn(when, expected, seed), prepend=0.0)


def _drawn(when: object, expected: float, seed: int) -> np.ndarray:
    """Draw arrivals in units of expected requests, and give their moments.

    Their number is the expected one, whatever the draw: two runs then send as much, and the
    process within the time stays as irregular.
    """
    random = np.random.default_rng(seed)
    # Given their number, the arrivals of a Poisson process are independent and uniform.
    counts = np.sort(random.random(_count(expected)) * expected)
    assert callable(when)
    moments: np.ndarray = when(counts)
    return moments


def _count(expected: float) -> int:
    return max(1, round(expected))
