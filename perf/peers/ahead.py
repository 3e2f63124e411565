"""How much time is left, from what was thought and what it took."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Ahead:
    """Steps of estimated lengths; what they really take corrects the estimate of the rest.

    Args:
        seconds: what each step is thought to take.
    """

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds, self._done, self._begin = list(seconds), 0, time.monotonic()

    def done(self) -> None:
        """Note that a step is over."""
        self._done += 1

    def left_s(self, took_s: float) -> float:
        """Estimate the rest, the steps that are over having taken ``took_s``."""
        before, after = sum(self._seconds[: self._done]), sum(self._seconds[self._done :])
        return after * (took_s / before if before else 1.0)

    def left(self) -> str:
        """Say it."""
        return f"about {self.left_s(time.monotonic() - self._begin) / 60:.0f} min left"
