"""When a failed call is sent again, and how much of that is too much."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from modelport.errors import (
    ClientError,
    ConnectionLostError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ServerFaultError,
    ServerUnreachableError,
    TLSError,
)

# Triton's words for a full queue and for a model without a version that serves.
_NOT_BEGUN = ("Exceeds maximum queue size", "no available versions", "is not ready")

# What a full budget holds, so that a client that has sent little may still repeat a few.
_BURST = 10.0


@dataclass(frozen=True)
class Retry:
    """How often and how soon a call is repeated.

    Repeated are only calls that did not reach a server, that a server refused before it ran
    them (queue full, not ready), and, where running them twice does no harm, those whose
    connection broke. The deadline of the call holds over all attempts.

    The pause before attempt n + 1 is drawn between a half and the whole of ``backoff_s · 2ⁿ⁻¹``,
    so that clients that failed together do not come back together (M. Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015).

    Attributes:
        attempts: how often a call is sent at most, the first time included; 1 for no repeats.
        backoff_s: longest pause before the second attempt.
        max_backoff_s: longest pause before any.
        budget: repeats that servers see for each call that succeeds; a client that has sent
            nothing yet may repeat ten. It keeps a failing server from being asked three times
            as much. Attempts that reached no server, or one without the model, do not count.
    """

    attempts: int = 3
    backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    budget: float = 0.1

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.backoff_s, self.max_backoff_s, self.budget) < 0:
            raise ClientError(
                f"{self} cannot be followed: attempts must be 1 or more, backoff_s, max_backoff_s"
                " and budget 0 or more"
            )

    def pause_s(self, attempt: int) -> float:
        """Draw the pause after a failed attempt, in seconds; the first attempt is 1."""
        longest = min(self.max_backoff_s, self.backoff_s * 2.0 ** min(attempt - 1, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Budget:
    """Counts what may be sent in addition to the calls themselves.

    Args:
        ratio: what each success adds; one repeat takes 1.
        burst: the most that can be saved up, and what there is at first.
    """

    def __init__(self, ratio: float, burst: float = _BURST) -> None:
        self._ratio, self._burst = ratio, burst
        self._left = burst
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Note a success."""
        if self._left < self._burst:  # the usual case takes no lock
            with self._lock:
                self._left = min(self._burst, self._left + self._ratio)

    def spend(self) -> bool:
        """Take what one more request costs; ``False`` when too little is left."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


def never_sent(error: ClientError) -> bool:
    """Whether no server has seen the request."""
    return isinstance(error, ServerUnreachableError) or "circuit_open_s" in error.objects


def is_repeatable(
    error: ClientError, *, idempotent: bool, served: bool = False, others: bool = False
) -> bool:
    """Whether the same request may be sent again after this error.

    Args:
        error: what came of the last attempt.
        idempotent: running the request twice does no harm.
        served: the model was there a moment ago, so that a server without it is one that starts.
        others: there are servers that were not asked yet.
    """
    if isinstance(error, TLSError):
        return False  # waiting mends no certificate
    if isinstance(error, ModelNotFoundError):
        return served or others
    if never_sent(error):
        return True
    if isinstance(error, (OverloadedError, NotReadyError)):
        # A model may say so as well, when it has begun; a sequence may have begun with it.
        return idempotent or _has_not_begun(error)
    # Only another server can help where the process is dead.
    return idempotent and (isinstance(error, ConnectionLostError) or (others and is_dead(error)))


def _has_not_begun(error: ClientError) -> bool:
    """Whether Triton itself refused, and no model has seen the request (tried: 2.51.0)."""
    message = str(error.objects.get("server_message", ""))
    return any(text in message for text in _NOT_BEGUN)


def is_felt(error: ClientError) -> bool:
    """Whether repeating the request adds to the load of a server."""
    return not (never_sent(error) or isinstance(error, (NotReadyError, ModelNotFoundError)))


def is_dead(error: ClientError) -> bool:
    """Whether the process behind the model died, which Triton does not mend by itself."""
    return isinstance(error, ServerFaultError) and "is not healthy" in str(
        error.objects.get("server_message", "")
    )
