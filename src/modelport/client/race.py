"""Two generators of which the first to end counts, where waiting blocks a thread.

The first runs in the caller's thread, because most calls are answered before a second request is
due, and a change of threads costs as much as a small model. Only the second gets a thread of its
own; when it is quicker, it ends the waiting of the caller's thread.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.steps import Ask, Race, Steps
from modelport.errors import CallCancelledError, ClientError

# An end that comes before its request is under way finds nothing, and is said again.
_AGAIN_S = 0.001


class Runner(Protocol):
    """What carries steps out."""

    def run(self, steps: Steps[Any], racer: Racer | None = None) -> Any:
        """Carry out steps to their end and give their result."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let another thread do something."""


class Racer:
    """One of the two, as it is known to the other."""

    __slots__ = ("_asked", "_lost")

    def __init__(self) -> None:
        self._asked: Ask | None = None
        self._lost = False

    def asks(self, effect: Any) -> None:
        """Note what it waits for now.

        Raises:
            CallCancelledError: the other one has ended.
        """
        self._asked = effect if isinstance(effect, Ask) else None
        if self._lost:
            call = getattr(effect, "call", None)
            raise faults.cancelled(call if isinstance(call, Call) else Call("", 0.0, 0.0))

    def lose(self) -> None:
        """Let it end soon; the server may work on."""
        self._lost = True
        asked = self._asked
        if asked:
            asked.transport.leave(asked.call)


class Contest:
    """One race.

    Args:
        runner: carries the steps out.
        effect: what is to be run.

    Attributes:
        ended: the first has a result, or has lost.
    """

    __slots__ = ("_effect", "_first", "_lock", "_runner", "_running", "_second", "ended")

    def __init__(self, runner: Runner, effect: Race) -> None:
        self._runner = runner
        self._effect: Race | None = effect
        self._first, self._second = Racer(), Racer()
        self._lock = threading.Lock()
        self._running: Future[Any] | None = None
        self.ended = False

    def run_first(self) -> Any:
        """Run the first in this thread and give the result of whichever is quicker.

        Raises:
            ClientError: of the first, when both have failed.
        """
        assert self._effect is not None
        try:
            return self._runner.run(self._effect.first, self._first)
        except ClientError as error:
            with self._lock:
                self.ended = True
                second = self._running
            if second is None:
                raise
            try:
                return second.result()
            except ClientError as other:
                raise (other if isinstance(error, CallCancelledError) else error) from None

    def begin_second(self) -> None:
        """Start the second, unless the first has ended or it is not worth it."""
        with self._lock:
            if self.ended or self._effect is None:
                return
            steps = self._effect.second()
            if steps is not None:
                self._running = self._runner.submit(self._run_second, steps)

    def _run_second(self, steps: Steps[Any]) -> Any:
        answer = self._runner.run(steps, self._second)
        # The first waits for this future once it has lost, so another thread must see to that.
        self._runner.submit(self._end_first)
        return answer

    def _end_first(self) -> None:
        while not self.ended:
            self._first.lose()
            time.sleep(_AGAIN_S)

    def end(self) -> None:
        """End what still runs: the result is there, or the caller was interrupted."""
        with self._lock:
            self.ended = True
            running = self._running
        self._effect = None  # the timer may hold this contest for long
        if running is not None and not running.done():
            self._second.lose()


class Timer:
    """Begins the second of each race when it is due, in one thread for all of a client's calls.

    Callers take no lock: they leave their races in a queue that only this thread empties, and
    wake it only if it would sleep for too long. Nearly all races have ended when they are due.
    """

    def __init__(self) -> None:
        self._incoming: deque[tuple[float, int, Contest]] = deque()
        self._due: list[tuple[float, int, Contest]] = []
        self._order = itertools.count()
        self._wake = threading.Event()
        self._sleeps_until_s = math.inf
        self._closed = False
        threading.Thread(target=self._run, name="modelport-client-timer", daemon=True).start()

    def after(self, seconds: float, contest: Contest) -> None:
        """Begin the contest's second after so many seconds, if its first runs then."""
        due_s = time.monotonic() + seconds
        self._incoming.append((due_s, next(self._order), contest))
        if due_s < self._sleeps_until_s:
            self._sleeps_until_s = due_s
            self._wake.set()

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._closed:
                return
            self._take()
            self._sleeps_until_s = self._due[0][0] if self._due else math.inf
            if not self._incoming:  # else it came before the time to sleep until was set
                self._wake.wait(self._pause_s())
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2].begin_second()

    def _take(self) -> None:
        while self._incoming:
            heapq.heappush(self._due, self._incoming.popleft())
        while self._due and self._due[0][2].ended:
            heapq.heappop(self._due)

    def _pause_s(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
