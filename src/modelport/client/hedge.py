"""A second request to another server when the first one takes unusually long."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modelport.errors import ClientError

_KEPT = 256
_ENOUGH = 32


@dataclass(frozen=True)
class Hedge:
    """When a request that has no answer yet is sent once more.

    The first answer counts. The other request is left to itself: Triton would work on it anyway,
    and 2.51 can die of a cancellation that meets its answer. Only calls that may run twice are
    hedged. The idea, and that a cap makes it cheap: J. Dean and L. A. Barroso, "The Tail at
    Scale", Communications of the ACM, 2013. grpcio ignores the ``hedgingPolicy`` of its service
    configuration.

    Attributes:
        after_s: seconds to wait for the first answer; by default the ``quantile`` of the model's
            last 256 calls, and no hedging before 32 of them.
        quantile: of the times of recent calls.
        max_extra: the largest share of calls that are sent twice, so that a slow server does not
            get twice the load.
    """

    after_s: float | None = None
    quantile: float = 0.95
    max_extra: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.quantile < 1 and 0 <= self.max_extra <= 1):
            raise ClientError(
                f"{self} cannot be followed: quantile must lie between 0 and 1,"
                " max_extra from 0 to 1"
            )


class Times:
    """The times of a model's last calls, and the delay that follows from them."""

    def __init__(self, hedge: Hedge) -> None:
        self._hedge = hedge
        self._seconds: deque[float] = deque(maxlen=_KEPT)
        self._until_next = _ENOUGH
        self._delay_s = hedge.after_s

    def add(self, seconds: float) -> None:
        """Note how long a call took."""
        if self._hedge.after_s is not None:
            return
        self._seconds.append(seconds)
        self._until_next -= 1
        if self._until_next <= 0:  # sorting takes 10 µs, so not each time
            self._until_next = _ENOUGH
            ordered = sorted(self._seconds)
            self._delay_s = ordered[int(len(ordered) * self._hedge.quantile)]

    @property
    def delay_s(self) -> float | None:
        """Seconds after which a second request is due; ``None`` while too little is known."""
        return self._delay_s
