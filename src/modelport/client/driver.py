"""Carries out what calls wait for by blocking the caller's thread."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar, cast

from modelport.client import faults
from modelport.client.race import Contest, Racer, Timer
from modelport.client.steps import Ask, Close, Open, Race, Resolve, Sleep, Steps, Together
from modelport.client.url import Endpoint
from modelport.errors import ClientError

Answer = TypeVar("Answer")

# Threads are made when they are needed, and as many as calls wait at once.
_MOST_THREADS = 1024


class Driver:
    """Runs the steps of calls; safe to share between threads."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._timers: Timer | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def run(self, steps: Steps[Answer], racer: Racer | None = None) -> Answer:
        """Carry out steps to their end and give their result.

        Raises:
            ClientError: as the steps do.
        """
        try:
            effect = next(steps)
            while True:
                try:
                    if racer:
                        racer.asks(effect)
                    if type(effect) is Ask:
                        answer = effect.transport.ask(effect.call, effect.exchange)
                    else:
                        answer = _PERFORM[type(effect)](self, effect)
                except BaseException as error:  # noqa: BLE001, PERF203 - the steps decide
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as end:
            return cast("Answer", end.value)

    def close(self) -> None:
        """Let go of the threads; a call that comes later is refused by its transport."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(wait=False)
        if self._timers:
            self._timers.close()

    def _after_fork(self) -> None:
        """Begin anew in a child: the threads are the parent's."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
            self._pool, self._timers = None, None

    def _threads(self) -> ThreadPoolExecutor:
        self._after_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MOST_THREADS, "modelport-client")
            return self._pool

    def together(self, effect: Together) -> list[Any]:
        """Run the steps in this thread and in others."""
        results: list[Any] = [None] * len(effect.steps)
        waiting = deque(enumerate(effect.steps))

        def work() -> None:
            while True:
                try:
                    index, steps = waiting.popleft()
                except IndexError:
                    return
                results[index] = self._outcome(steps)

        others = [
            self._threads().submit(work) for _ in range(min(effect.limit, len(effect.steps)) - 1)
        ]
        try:
            work()
        finally:
            waiting.clear()  # an interrupted call begins nothing new
            wait(others)
        for other in others:
            other.result()  # what is no ClientError, of a header function say
        return results

    def _outcome(self, steps: Steps[Any]) -> Any:
        try:
            return self.run(steps)
        except ClientError as error:
            return error

    def race(self, effect: Race) -> Any:
        """Run one generator here, and the other one in another thread if this takes long."""
        contest = Contest(self, effect)
        self._timer().after(effect.delay_s, contest)
        try:
            return contest.run_first()
        finally:
            contest.end()

    def _timer(self) -> Timer:
        self._after_fork()
        with self._lock:
            if self._timers is None:
                self._timers = Timer()
            return self._timers

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let another thread do something."""
        return self._threads().submit(work, *arguments)

    def resolve(self, effect: Resolve) -> list[str] | ClientError:
        """Look the host up, in a thread because that has no timeout of its own."""
        future = self._threads().submit(_addresses, effect.endpoint)
        try:
            return future.result(effect.call.remaining_s())
        except (OSError, UnicodeError, FutureTimeoutError) as error:
            return faults.unresolved(effect.call, str(error) or "no answer from the name service")


def _addresses(endpoint: Endpoint) -> list[str]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _open(_: Driver, effect: Open) -> tuple[Any, Any]:
    replies = effect.transport.stream(effect.call, effect.exchange)
    return next(replies, None), replies


def _sleep(_: Driver, effect: Sleep) -> None:
    time.sleep(effect.seconds)


def _close(_: Driver, effect: Close) -> None:
    effect.transport.close()


_PERFORM: dict[type, Callable[[Driver, Any], Any]] = {
    Together: Driver.together,
    Race: Driver.race,
    Resolve: Driver.resolve,
    Open: _open,
    Sleep: _sleep,
    Close: _close,
}
