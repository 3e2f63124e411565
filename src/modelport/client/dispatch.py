"""From one request to its answer: which server, again after a failure, twice when it is slow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

from modelport.client.call import Call
from modelport.client.endpoints import Endpoints, Target
from modelport.client.exchange import Exchange, Reply, SequenceStep, StreamExchange, Wire
from modelport.client.hedge import Hedge, Times
from modelport.client.retry import Budget, Retry, is_felt, is_repeatable
from modelport.client.steps import Ask, Close, Open, Race, Sleep, Steps
from modelport.errors import ClientError, ConnectionLostError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_MOST_MODELS = 1024

# Carries a request out on one target. It is asked for each attempt anew: the time that is left,
# which servers are told, is another each time.
Attempt: TypeAlias = Callable[[Target, Call], Steps[Answer]]


@dataclass(slots=True)
class Order(Generic[Answer]):
    """What is to be done on one target or another.

    Attributes:
        attempt: does it.
        idempotent: running it twice does no harm.
        served: a server has the model, so that one without it is one that starts.
        keep: leave the target in flight at the end.
        step: the request's place in a sequence, which stays with one target.
    """

    attempt: Attempt[Answer]
    idempotent: bool
    served: bool = False
    keep: bool = False
    step: SequenceStep | None = None


@dataclass
class Streaming:
    """A stream that has begun.

    Attributes:
        call: as it was sent.
        first: the first reply, if there is any.
        rest: iterator over the others.
        target: the server that answers; :meth:`Dispatcher.ended` lets go of it.
    """

    call: Call
    first: Reply | None
    rest: Any
    target: Target


class Dispatcher:
    """Sends exchanges to endpoints; safe to share between threads.

    Args:
        endpoints: the servers.
        retry: when a call is repeated.
        hedge: when a call is sent twice; never when it is ``None``.
    """

    def __init__(self, endpoints: Endpoints, retry: Retry, hedge: Hedge | None) -> None:
        self.endpoints = endpoints
        self._retry, self._budget = retry, Budget(retry.budget)
        self._hedge = hedge
        self._extra = Budget(hedge.max_extra if hedge else 0.0)
        self._times: dict[str, Times] = {}

    def send(
        self,
        call: Call,
        attempt: Attempt[Answer],
        *,
        idempotent: bool,
        served: bool = False,
        step: SequenceStep | None = None,
        failed: tuple[Target, ClientError] | None = None,
    ) -> Steps[Answer]:
        """Give the answer of one request, whichever server and attempt it comes from.

        Args:
            call: with the deadline over all attempts.
            attempt: carries the request out on one target.
            idempotent: running the request twice does no harm.
            served: a server has the model, so that one without it is one that starts.
            step: the request's place in a sequence.
            failed: the first attempt, where the caller has made it, by :attr:`only`.

        Raises:
            ClientError: of the last attempt.
        """
        order = Order(attempt, idempotent, served, step=step)
        if failed is not None:
            target, error = failed
            self.endpoints.failed(target, error, call.model)
            yield from self._pause(call, order, error, 1, [target])
            answer, _, _ = yield from self._repeat(call, order, [target], attempts=1)
        elif idempotent and self._hedge is not None:
            answer = yield from self._hedged(call, order)
        else:
            answer, _, _ = yield from self._repeat(call, order, [])
        return answer

    @property
    def only(self) -> Target | None:
        """The server to ask where there is nothing to choose, and nothing to ask twice.

        A caller may ask it without :meth:`send`: it tells :meth:`answered` when that went well,
        and :meth:`send` when it did not.
        """
        return self.endpoints.only if self._hedge is None else None

    def answered(self) -> None:
        """Note a success."""
        self._budget.earn()

    def read(self, call: Call, make: Callable[[Wire, Call], Exchange[Answer]]) -> Steps[Answer]:
        """Give the answer of a request that changes nothing.

        Args:
            call: with the deadline over all attempts.
            make: the request in the words of a protocol.

        Raises:
            ClientError: of the last attempt.
        """

        def attempt(target: Target, call: Call) -> Steps[Answer]:
            answer: Answer = yield Ask(target.transport, call, make(target.transport.wire, call))
            return answer

        answer, _, _ = yield from self._repeat(call, Order(attempt, idempotent=True), [])
        return answer

    def probe(
        self, call: Call, target: Target, make: Callable[[Wire, Call], Exchange[Answer]]
    ) -> Steps[Answer]:
        """Ask one endpoint once, even one that is left alone."""
        call = replace(call, endpoint=target.name)
        try:
            answer: Answer = yield Ask(target.transport, call, make(target.transport.wire, call))
        except ClientError as error:
            self.endpoints.failed(target, error)
            raise
        self.endpoints.succeeded(target)
        return answer

    def open(
        self, call: Call, make: Callable[[Wire, Call], StreamExchange], *, idempotent: bool
    ) -> Steps[Streaming]:
        """Begin a stream; what fails before its first reply is repeated like any call."""

        def attempt(target: Target, call: Call) -> Steps[tuple[Reply | None, Any]]:
            opened: tuple[Reply | None, Any] = yield Open(
                target.transport, call, make(target.transport.wire, call)
            )
            return opened

        order = Order(attempt, idempotent, served=True, keep=True)
        (first, rest), target, call = yield from self._repeat(call, order, [])
        return Streaming(call, first, rest, target)

    def ended(self, stream: Streaming, error: ClientError | None = None) -> None:
        """Note the end of a stream that :meth:`open` began."""
        if error:
            self.endpoints.failed(stream.target, error, stream.call.model)
        self.endpoints.release(stream.target)

    def everywhere(
        self, call: Call, make: Callable[[Wire, Call], Exchange[Answer]]
    ) -> Steps[dict[str, Answer]]:
        """Ask every endpoint once, one after the other; give the answers by their URLs."""
        yield from self.look_up(call)
        answers: dict[str, Answer] = {}
        for target in list(self.endpoints.targets):
            answers[target.name] = yield from self.probe(call, target, make)
        return answers

    def look_up(self, call: Call) -> Steps[None]:
        """Look up the names of the servers where that is due."""
        if self.endpoints.stale:
            yield from self.endpoints.resolve(call)

    # --- attempts --------------------------------------------------------------

    def _repeat(
        self, call: Call, order: Order[Answer], tried: list[Target], *, attempts: int = 0
    ) -> Steps[tuple[Answer, Target, Call]]:
        """Carry an order out on one target after the other until one answers.

        Targets in ``tried`` are left to other calls; those that are asked are added to it.
        """
        while True:
            attempts += 1
            try:
                return (yield from self._once(call, order, attempts, tried))
            except ClientError as error:
                yield from self._pause(call, order, error, attempts, tried)

    def _once(
        self, call: Call, order: Order[Answer], number: int, tried: list[Target]
    ) -> Steps[tuple[Answer, Target, Call]]:
        endpoints = self.endpoints
        if endpoints.stale:
            yield from endpoints.resolve(call)
        target = endpoints.choose(call, tried, order.step)
        if target.name != call.endpoint or number > 1:
            call = replace(call, endpoint=target.name, attempts=number)
        tried.append(target)
        try:
            answer = yield from order.attempt(target, call)
        except BaseException as error:
            endpoints.release(target)
            if isinstance(error, ClientError):
                endpoints.failed(target, error, call.model)
            raise
        if not order.keep:
            endpoints.release(target)
        if target.failures or target.unfit:
            endpoints.succeeded(target, call.model)
        if order.step:
            endpoints.keep(call, order.step, target)
        self._budget.earn()
        if endpoints.retired:
            for gone in endpoints.take_idle():
                yield Close(gone.transport)
        return answer, target, call

    def _pause(
        self,
        call: Call,
        order: Order[Any],
        error: ClientError,
        attempts: int,
        tried: list[Target],
    ) -> Steps[None]:
        """Wait before the next attempt; raise the error where there is to be none."""
        error.objects["attempts"] = attempts
        others = any(target not in tried for target in self.endpoints.targets)
        again = is_repeatable(
            error, idempotent=order.idempotent, served=order.served, others=others
        )
        if not again or attempts >= self._retry.attempts:
            raise error
        pause_s = self._retry.pause_s(attempts)
        if call.expires_s - time.monotonic() <= pause_s:
            raise error  # it says more than that the time is over
        # What a server lost when it died is not more than the others would have had to take.
        moves = others and isinstance(error, ConnectionLostError)
        if is_felt(error) and not moves and not self._budget.spend():
            error.objects["retry_budget"] = "spent"
            raise error
        logger.debug(
            "attempt %d of %s: %s; again in %.3f s",
            attempts, call.about(), type(error).__name__, pause_s,
        )  # fmt: skip
        yield Sleep(pause_s)

    # --- hedging ---------------------------------------------------------------

    def _hedged(self, call: Call, order: Order[Answer]) -> Steps[Answer]:
        assert self._hedge is not None
        if len(self._times) > _MOST_MODELS:  # somebody asks for models that there are not
            self._times.clear()
        times = self._times.get(call.model) or self._times.setdefault(
            call.model, Times(self._hedge)
        )
        tried: list[Target] = []
        call = replace(call, leavable=True)
        first = self._repeat(call, order, tried)
        begun_s = time.monotonic()
        if times.delay_s is None:
            answer, _, _ = yield from first
        else:

            def second() -> Steps[Any] | None:
                if all(target in tried for target in self.endpoints.targets):
                    return None
                if not self._extra.spend():
                    return None
                logger.debug("%s takes long: asking another server too", call.about())
                return self._repeat(replace(call), order, list(tried))

            answer, _, _ = yield Race(first, times.delay_s, second)
        times.add(time.monotonic() - begun_s)
        self._extra.earn()
        return answer
