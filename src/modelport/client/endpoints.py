"""The servers that a client may ask: which one next, and which to leave alone for a while."""

from __future__ import annotations

import ipaddress
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import SequenceStep
from modelport.client.retry import is_dead
from modelport.client.shared_memory import SharedMemory
from modelport.client.steps import Resolve, Steps
from modelport.client.url import Endpoint
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ServerFaultError,
    ServerUnreachableError,
    UnauthorizedError,
)

logger = logging.getLogger(__name__)

# A name is looked up again after this time, and at most once a second after failures.
_RESOLVE_EVERY_S = 30.0
_RESOLVE_PAUSE_S = 1.0

# A server that says this is well.
_ANSWERS = (InvalidInputError, OverloadedError, ServerFaultError, UnauthorizedError)
_FIT = (0.0, 0.0)
_MOST_UNFIT = 256
_MOST_SEQUENCES = 65_536


@dataclass(frozen=True)
class Breaker:
    """When an endpoint that fails is left alone, and for how long.

    An endpoint is left alone after ``failures`` failures in a row: no connection, or a lost one.
    After ``open_s`` one call tries it; each trial that fails doubles the time, up to
    ``max_open_s``. A call that finds every endpoint left alone fails at
    once with the error that the endpoint failed with, which :class:`Retry` may repeat.

    Attributes:
        failures: in a row; 0 turns the breaker off.
        open_s: seconds until the first trial.
        max_open_s: the longest time between trials.
    """

    failures: int = 5
    open_s: float = 0.5
    max_open_s: float = 5.0


class Target:
    """One address of a server, with what is known of its health.

    Attributes:
        endpoint: where it is.
        name: its URL, for messages.
        transport: the connections to it.
        memory: what is shared with it, if it is on this machine.
        in_flight: calls that wait for it now.
        unfit: for which models others are asked first, until when, and for how long.
    """

    __slots__ = (
        "endpoint",
        "error",
        "failures",
        "in_flight",
        "memory",
        "name",
        "on_trial",
        "open_for_s",
        "open_until_s",
        "transport",
        "unfit",
    )

    def __init__(self, endpoint: Endpoint, transport: Any) -> None:
        self.endpoint, self.transport = endpoint, transport
        self.name = str(endpoint)
        self.memory = SharedMemory(endpoint)
        self.in_flight = 0
        self.failures = 0
        self.open_until_s = 0.0
        self.open_for_s = 0.0
        self.on_trial = False
        self.error: ClientError | None = None
        self.unfit: dict[str, tuple[float, float]] = {}


class Endpoints:
    """Chooses where a call goes; safe to share between threads.

    Among the endpoints that are not left alone, the one with the fewest calls in flight is
    asked: a slow server collects calls and so gets fewer. A host name with several addresses
    counts as several endpoints, and is looked up again from time to time.

    Args:
        endpoints: the servers, all of the same protocol.
        connect: makes the transport of one.
        breaker: when to leave one alone.
        clock: gives monotonic seconds.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        connect: Callable[[Endpoint], Any],
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._breaker, self._clock = connect, breaker, clock
        self._named = [endpoint for endpoint in endpoints if _has_name(endpoint)]
        self._resolve_at_s = 0.0 if self._named else float("inf")
        self.targets = [Target(e, connect(e)) for e in endpoints if not _has_name(e)]
        self.retired: list[Target] = []
        self._sequences: dict[tuple[str, int], Target] = {}
        self.closed = False
        self._lock = threading.Lock()
        # The only one there will ever be: nothing to choose, and so nothing to count or lock.
        # Threads that meet at a lock for each call take turns, a fifth slower at 32 of them.
        self._only = self.targets[0] if len(endpoints) == len(self.targets) == 1 else None

    # --- choosing --------------------------------------------------------------

    @property
    def only(self) -> Target | None:
        """The server that every call goes to, where there is one only and it is well."""
        only = self._only
        return only if only is not None and not only.failures else None

    def choose(
        self, call: Call, avoid: Collection[Target] = (), step: SequenceStep | None = None
    ) -> Target:
        """Give the endpoint for one attempt, counted as in flight until :meth:`release`.

        Args:
            call: for the message of the error.
            avoid: those that have just failed it; asked again only when there are no others.
            step: the request's place in a sequence: only the server that answered the first
                request of it knows what came before.

        Raises:
            ClientError: every endpoint is left alone; the class is that of its last failure.
        """
        only = self._only
        if only is not None and not only.open_for_s:
            return only
        with self._lock:
            target = self._best(call, avoid, self._holder(call, step) if step else None)
            if target is not only:
                target.in_flight += 1
            return target

    def _best(self, call: Call, avoid: Collection[Target], holder: Target | None) -> Target:
        if self.closed:
            raise faults.closed(call)
        now = self._clock()
        targets = [holder] if holder else self.targets
        able = [target for target in targets if now >= target.open_until_s]
        if not able:
            raise _left_alone(call, targets, now)
        fit = [t for t in able if not t.unfit or t.unfit.get(call.model, _FIT)[0] <= now] or able
        fresh = [target for target in fit if target not in avoid]
        fresh = fresh or [target for target in able if target not in avoid] or able
        least = min(target.in_flight for target in fresh)
        target = random.choice(  # noqa: S311 - no secret
            [target for target in fresh if target.in_flight == least]
        )
        if target.open_for_s:  # this call is the trial: no other until it has ended
            target.open_until_s, target.on_trial = now + target.open_for_s, True
        return target

    def release(self, target: Target) -> None:
        """End an attempt that :meth:`choose` began."""
        if target is not self._only:
            with self._lock:
                target.in_flight -= 1

    # --- sequences -------------------------------------------------------------

    def keep(self, call: Call, step: SequenceStep, target: Target) -> None:
        """Note which endpoint has answered a step of a sequence, until its last step."""
        if target is self._only:
            return
        key = (call.model, step.id)
        with self._lock:
            self._sequences.pop(key, None)
            if step.end:
                return
            if len(self._sequences) >= _MOST_SEQUENCES:  # those that nobody ended
                self._sequences.pop(next(iter(self._sequences)))
            self._sequences[key] = target

    def _holder(self, call: Call, step: SequenceStep) -> Target | None:
        """Give the endpoint that remembers a sequence; any may begin it anew."""
        holder = None if step.start else self._sequences.get((call.model, step.id))
        return holder if holder in self.targets else None

    # --- health ----------------------------------------------------------------

    def succeeded(self, target: Target, model: str = "") -> None:
        """Note that the endpoint has answered, if only to refuse an input."""
        if target.failures:
            if target.open_for_s:
                logger.info("%s answers again", target.name)
            target.failures, target.open_until_s, target.open_for_s = 0, 0.0, 0.0
            target.on_trial = False
        if target.unfit:
            target.unfit.pop(model, None)

    def failed(self, target: Target, error: ClientError, model: str = "") -> None:
        """Note what an attempt came to.

        What concerns one model (not ready, not there, its process dead) lets calls of that model
        go to other endpoints for a while, and tells nothing about the endpoint.
        """
        if isinstance(error, (NotReadyError, ModelNotFoundError)) or is_dead(error):
            self.succeeded(target)
            self._shun(target, model)
        elif isinstance(error, DeadlineExceededError):  # the model is slow, or the server hangs
            self._shun(target, model)
        elif isinstance(error, (ServerUnreachableError, ConnectionLostError)):
            self._leave(target, error)
        elif isinstance(error, _ANSWERS):
            self.succeeded(target, model)

    def _shun(self, target: Target, model: str) -> None:
        with self._lock:
            if len(self.targets) == 1:
                return
            if len(target.unfit) >= _MOST_UNFIT:  # somebody asks for models that there are not
                target.unfit.clear()
            until_s, before_s = target.unfit.get(model, _FIT)
            if until_s > self._clock():  # of a call that began before
                return
            pause_s = min(self._breaker.max_open_s, before_s * 2) or self._breaker.open_s
            target.unfit[model] = (self._clock() + pause_s, pause_s)

    def _leave(self, target: Target, error: ClientError) -> None:
        with self._lock:
            target.error = error
            if target.open_for_s and not target.on_trial:  # of a call that began before
                return
            target.failures += 1
            target.on_trial = False
            if self._named:
                self._resolve_at_s = min(self._resolve_at_s, self._clock() + _RESOLVE_PAUSE_S)
            if self._breaker.failures and target.failures >= self._breaker.failures:
                longer = min(self._breaker.max_open_s, target.open_for_s * 2)
                target.open_for_s = longer or self._breaker.open_s
                target.open_until_s = self._clock() + target.open_for_s
                logger.info("leaving %s alone for %g s", target.name, target.open_for_s)

    # --- names -----------------------------------------------------------------

    @property
    def stale(self) -> bool:
        """Whether names must be looked up before the next call."""
        return self._clock() >= self._resolve_at_s

    def resolve(self, call: Call) -> Steps[None]:
        """Look up the names and take over what has changed.

        Raises:
            ResolveError: no name has an address, and none had one before.
        """
        if self.closed:
            raise faults.closed(call)
        if self.targets:  # others need not wait
            self._resolve_at_s = self._clock() + _RESOLVE_EVERY_S
        try:
            found, problem = yield from self._look_up(call)
        except BaseException:
            self._resolve_at_s = 0.0
            raise
        if problem and not (found or self.targets):
            self._resolve_at_s = 0.0
            raise problem
        pause_s = _RESOLVE_PAUSE_S if problem else _RESOLVE_EVERY_S
        self._resolve_at_s = self._clock() + pause_s
        self._replace(found)

    def _look_up(self, call: Call) -> Steps[tuple[list[Endpoint], ClientError | None]]:
        """Ask for every name; give what there is, and the last error."""
        found: list[Endpoint] = []
        problem: ClientError | None = None
        for endpoint in self._named:
            answer = yield Resolve(replace(call, endpoint=str(endpoint)), endpoint)
            if isinstance(answer, ClientError):  # what was known of it may still be right
                problem = answer
                found += [t.endpoint for t in self.targets if _same_name(t.endpoint, endpoint)]
            else:
                found += [replace(endpoint, address=address) for address in answer]
        return found, problem

    def _replace(self, found: Sequence[Endpoint]) -> None:
        with self._lock:
            if self.closed:  # meanwhile: nobody would close what is made now
                return
            known = {target.endpoint: target for target in self.targets}
            literal = [t for t in self.targets if not _has_name(t.endpoint)]
            kept = [known.get(e) or Target(e, self._connect(e)) for e in dict.fromkeys(found)]
            gone = [t for t in self.targets if t not in kept and t not in literal]
            self.targets = literal + kept
            self.retired += gone
        for target in gone:
            logger.info("%s at %s is no more", target.name, target.endpoint.address)

    def take_idle(self) -> list[Target]:
        """Give the targets that are gone and answer nobody any more; each once."""
        with self._lock:
            idle = [target for target in self.retired if not target.in_flight]
            self.retired = [target for target in self.retired if target.in_flight]
        return idle

    def take_all(self) -> list[Target]:
        """Give every target there is, for the end of the client; none is chosen afterwards."""
        with self._lock:
            self.closed = True
            every = [*self.targets, *self.retired]
            self.retired = []
        return every


def _has_name(endpoint: Endpoint) -> bool:
    if endpoint.host == "localhost":  # needs no lookup, and its two addresses are one server
        return False
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        return True
    return False


def _same_name(one: Endpoint, other: Endpoint) -> bool:
    return replace(one, address="") == replace(other, address="")


def _left_alone(call: Call, targets: Sequence[Target], now: float) -> ClientError:
    if not targets:
        return faults.unresolved(call, "it has no addresses now")
    soonest = min(targets, key=lambda target: target.open_until_s)
    assert soonest.error is not None
    seconds = max(0.0, soonest.open_until_s - now)
    return faults.left_alone(
        replace(call, endpoint=soonest.name), soonest.error, seconds, soonest.failures
    )
