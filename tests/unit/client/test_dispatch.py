"""From a request to its answer over transports whose answers are written down."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from modelport.client import aio_driver, faults
from modelport.client.call import Call
from modelport.client.dispatch import Dispatcher
from modelport.client.driver import Driver
from modelport.client.endpoints import Breaker, Endpoints, Target
from modelport.client.exchange import Exchange
from modelport.client.hedge import Hedge
from modelport.client.retry import Retry
from modelport.client.steps import Ask, Steps, Together
from modelport.client.url import Endpoint, parse
from modelport.errors import (
    CallCancelledError,
    ClientError,
    ConnectionLostError,
    InvalidInputError,
    ServerRefusedError,
)

TWO = ("http://127.0.0.1:1", "http://127.0.0.1:2")
EXCHANGE: Exchange[str] = Exchange(None, lambda _, answer: str(answer))

Deed = Callable[[Call], Any]


class Scripted:
    """A transport that does one deed after the other, and notes the calls."""

    wire: Any = None

    def __init__(self, deeds: Iterable[Deed]) -> None:
        self.deeds = iter(deeds)
        self.calls: list[Call] = []
        self.ended: dict[int, threading.Event] = {}

    def ask(self, call: Call, exchange: Exchange[str]) -> str:
        self.calls.append(call)
        self.ended[id(call)] = threading.Event()
        return str(next(self.deeds)(call))

    def leave(self, call: Call) -> None:
        self.ended[id(call)].set()

    def hang(self, call: Call) -> str:
        """Answer nothing until the call is left."""
        assert self.ended[id(call)].wait(10)
        raise CallCancelledError("cancelled")


class AsyncScripted(Scripted):
    async def ask(self, call: Call, exchange: Exchange[str]) -> str:  # type: ignore[override]
        self.calls.append(call)
        answer = next(self.deeds)(call)
        return str(await answer if asyncio.iscoroutine(answer) else answer)

    async def hang(self, call: Call) -> str:  # type: ignore[override]
        try:
            return await asyncio.sleep(10, "never")
        except asyncio.CancelledError:
            self.ended[id(call)] = threading.Event()
            self.ended[id(call)].set()
            raise


def says(text: str) -> Deed:
    return lambda _: text


def fails(make: Callable[..., ClientError], *arguments: str) -> Deed:
    def deed(call: Call) -> str:
        raise make(call, *arguments)

    return deed


def ask(target: Target, call: Call) -> Steps[Any]:
    return (yield Ask(target.transport, call, EXCHANGE))


class Stage:
    """A dispatcher over scripted transports, carried out by either driver."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.kind = kind
        self.settings = settings
        self.transports: dict[str, Scripted] = {}

    def over(self, **deeds: Iterable[Deed]) -> Stage:
        scripted = AsyncScripted if self.kind == "asyncio" else Scripted
        urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(deeds, 1)}
        self.transports = {name: scripted(script) for name, script in deeds.items()}
        by_url = {urls[name]: transport for name, transport in self.transports.items()}

        def connect(endpoint: Endpoint) -> Scripted:
            return by_url[str(endpoint)]

        self.dispatcher = Dispatcher(
            Endpoints([parse(url) for url in urls.values()], connect, Breaker(failures=0)),
            self.settings.get("retry", Retry(backoff_s=0.001)),
            self.settings.get("hedge"),
        )
        return self

    def run(self, steps: Steps[Any]) -> Any:
        if self.kind == "asyncio":
            return asyncio.run(aio_driver.run(steps))
        return Driver().run(steps)

    def send(self, *, idempotent: bool = True, timeout_s: float = 5.0) -> Any:
        call = Call(TWO[0], timeout_s, time.monotonic() + timeout_s, "m")
        return self.run(self.dispatcher.send(call, ask, idempotent=idempotent))

    def __getitem__(self, name: str) -> Scripted:
        return self.transports[name]


@pytest.fixture(params=["blocking", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_refused_call_is_sent_again(kind: str) -> None:
    stage = Stage(kind).over(one=[fails(faults.refused), says("answer")])
    assert stage.send(idempotent=False) == "answer"
    assert [call.attempts for call in stage["one"].calls] == [1, 2]


def test_a_lost_call_is_sent_again_only_where_that_is_safe(kind: str) -> None:
    deeds = [fails(faults.lost, "reset"), says("answer")]
    assert Stage(kind).over(one=deeds).send(idempotent=True) == "answer"
    with pytest.raises(ConnectionLostError):
        Stage(kind).over(one=deeds).send(idempotent=False)


def test_the_other_server_is_asked_after_a_failure(kind: str) -> None:
    deeds = [fails(faults.lost, "reset")] * 3
    stage = Stage(kind).over(one=deeds, other=[says("answer")])
    stage.dispatcher.endpoints.targets[1].in_flight = 1  # the first attempt goes to the idle one
    assert stage.send() == "answer"
    assert [len(stage[name].calls) for name in ("one", "other")] == [1, 1]


def test_the_last_error_tells_how_often_it_was_tried(kind: str) -> None:
    stage = Stage(kind).over(one=[fails(faults.refused)] * 9)
    with pytest.raises(ServerRefusedError) as caught:
        stage.send()
    assert caught.value.objects["attempts"] == 3
    assert len(stage["one"].calls) == 3


def test_what_would_fail_again_is_sent_once(kind: str) -> None:
    stage = Stage(kind).over(one=[fails(faults.invalid, "wrong")] * 9)
    with pytest.raises(InvalidInputError):
        stage.send()
    assert len(stage["one"].calls) == 1


def test_a_pause_that_would_outlast_the_deadline_is_not_begun(kind: str) -> None:
    stage = Stage(kind, retry=Retry(backoff_s=60.0, max_backoff_s=60.0)).over(
        one=[fails(faults.refused)] * 9
    )
    with pytest.raises(ServerRefusedError):
        stage.send(timeout_s=5.0)
    assert len(stage["one"].calls) == 1


def test_a_spent_budget_ends_repeats_that_servers_would_feel(kind: str) -> None:
    retry = Retry(attempts=100, backoff_s=0.0, budget=0.0)
    stage = Stage(kind, retry=retry).over(one=[fails(faults.lost, "reset")] * 200)
    with pytest.raises(ConnectionLostError) as caught:
        stage.send()
    assert caught.value.objects["retry_budget"] == "spent"
    assert len(stage["one"].calls) == 11
    refused = Stage(kind, retry=retry).over(one=[fails(faults.refused)] * 200)
    with pytest.raises(ServerRefusedError):
        refused.send()
    assert len(refused["one"].calls) == 100


def test_nothing_stays_in_flight(kind: str) -> None:
    stage = Stage(kind).over(one=[fails(faults.refused), says("a"), fails(faults.invalid, "b")])
    stage.send()
    with pytest.raises(InvalidInputError):
        stage.send()
    assert stage.dispatcher.endpoints.targets[0].in_flight == 0


# --- hedging -------------------------------------------------------------------


def hedged(kind: str, **settings: Any) -> Stage:
    return Stage(kind, hedge=Hedge(after_s=0.02, **{"max_extra": 1.0, **settings}))


def hanging(stage_of: list[Stage], name: str) -> Deed:
    return lambda call: stage_of[0][name].hang(call)


def test_a_slow_server_is_overtaken_by_another_and_its_call_ends(kind: str) -> None:
    box: list[Stage] = []
    stage = hedged(kind).over(one=[hanging(box, "one")], other=[says("quick")])
    box.append(stage)
    stage.dispatcher.endpoints.targets[1].in_flight = 1
    assert stage.send() == "quick"
    [slow] = stage["one"].calls
    assert stage["one"].ended[id(slow)].wait(5)
    deadline = time.monotonic() + 5
    while stage.dispatcher.endpoints.targets[0].in_flight and time.monotonic() < deadline:
        time.sleep(0.005)
    assert stage.dispatcher.endpoints.targets[0].in_flight == 0


def test_a_request_that_has_lost_is_left_to_itself() -> None:
    """Neither cancelled, which may cost a server its life, nor sent again when it fails."""
    ends: list[str] = []

    async def late(call: Call) -> str:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("failed")
        raise faults.lost(call, "gone")

    stage = hedged("asyncio").over(one=[late, says("again")], other=[says("quick")])
    stage.dispatcher.endpoints.targets[1].in_flight = 1

    async def ask_once() -> Any:
        call = Call(TWO[0], 5.0, time.monotonic() + 5.0, "m")
        answer = await aio_driver.run(stage.dispatcher.send(call, ask, idempotent=True))
        await asyncio.sleep(0.3)
        return answer

    assert asyncio.run(ask_once()) == "quick"
    assert ends == ["failed"]
    assert len(stage["one"].calls) == 1
    assert stage.dispatcher.endpoints.targets[0].in_flight == 0


def test_a_quick_answer_is_not_hedged(kind: str) -> None:
    stage = hedged(kind).over(one=[says("quick")] * 9, other=[says("quick")] * 9)
    assert [stage.send() for _ in range(5)] == ["quick"] * 5
    assert sum(len(transport.calls) for transport in stage.transports.values()) == 5


def test_a_call_that_must_not_run_twice_is_not_hedged(kind: str) -> None:
    def slow(call: Call) -> Any:
        if kind == "asyncio":
            return asyncio.sleep(0.1, "slow")
        time.sleep(0.1)
        return "slow"

    stage = hedged(kind).over(one=[slow], other=[slow])
    assert stage.send(idempotent=False) == "slow"
    assert sum(len(transport.calls) for transport in stage.transports.values()) == 1


def test_hedges_are_a_bounded_share_of_the_calls(kind: str) -> None:
    def slow(call: Call) -> Any:
        if kind == "asyncio":
            return asyncio.sleep(0.06, "slow")
        time.sleep(0.06)
        return "slow"

    stage = hedged(kind, max_extra=0.25).over(one=[slow] * 99, other=[slow] * 99)
    for _ in range(20):
        stage.send()
    sent = sum(len(transport.calls) for transport in stage.transports.values())
    assert 20 + 10 <= sent <= 20 + 10 + 5  # ten are saved up at first


def test_when_both_fail_the_error_is_raised(kind: str) -> None:
    def late(call: Call) -> Any:
        async def fail() -> str:
            await asyncio.sleep(0.05)
            raise faults.invalid(call, "wrong")

        if kind == "asyncio":
            return fail()
        time.sleep(0.05)
        raise faults.invalid(call, "wrong")

    stage = hedged(kind).over(one=[late], other=[late])
    with pytest.raises(InvalidInputError):
        stage.send()


# --- side by side ----------------------------------------------------------------


def test_parts_are_answered_in_order_with_a_bound_on_how_many_at_once(kind: str) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def part(text: str) -> Deed:
        def begin() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)

        def end() -> None:
            nonlocal running
            with lock:
                running -= 1

        async def later() -> str:
            begin()
            await asyncio.sleep(0.01)
            end()
            return text

        def deed(call: Call) -> Any:
            if kind == "asyncio":
                return later()
            begin()
            time.sleep(0.01)
            end()
            return text

        return deed

    stage = Stage(kind).over(one=[part(str(n)) for n in range(12)])
    call = Call(TWO[0], 5.0, time.monotonic() + 5, "m")

    def together() -> Steps[list[Any]]:
        parts = [stage.dispatcher.send(call, ask, idempotent=True) for _ in range(12)]
        return (yield Together(parts, 3))

    answers = stage.run(together())
    assert sorted(answers, key=int) == [str(n) for n in range(12)]
    assert most == 3


def test_a_part_that_fails_leaves_the_others_their_answers(kind: str) -> None:
    deeds = [says("a"), fails(faults.invalid, "wrong"), says("c")]
    stage = Stage(kind).over(one=deeds)
    call = Call(TWO[0], 5.0, time.monotonic() + 5, "m")

    def together() -> Steps[list[Any]]:
        parts = [stage.dispatcher.send(call, ask, idempotent=True) for _ in range(3)]
        return (yield Together(parts, 1))

    first, second, third = stage.run(together())
    assert (first, third) == ("a", "c")
    assert isinstance(second, InvalidInputError)


def test_what_is_no_client_error_is_raised_from_any_part(kind: str) -> None:
    def breaks(call: Call) -> str:
        raise KeyError("a header function, say")

    stage = Stage(kind).over(one=[breaks] * 4)
    call = Call(TWO[0], 5.0, time.monotonic() + 5, "m")

    def together() -> Steps[list[Any]]:
        parts = [stage.dispatcher.send(call, ask, idempotent=True) for _ in range(4)]
        return (yield Together(parts, 4))

    with pytest.raises(KeyError):
        stage.run(together())


def test_many_calls_of_a_server_that_dies_go_to_the_other(kind: str) -> None:
    """More than the budget holds: they are not more than the other would have had to take."""
    stage = Stage(kind, retry=Retry(backoff_s=0.001, budget=0.0)).over(
        one=[fails(faults.lost, "died")] * 60, other=[says("answer")] * 60
    )
    call = Call(TWO[0], 5.0, time.monotonic() + 5, "m")

    def together() -> Steps[list[Any]]:
        parts = [stage.dispatcher.send(replace(call), ask, idempotent=True) for _ in range(40)]
        return (yield Together(parts, 40))

    assert stage.run(together()) == ["answer"] * 40


def test_one_server_is_not_hedged_with_itself(kind: str) -> None:
    def slow(call: Call) -> Any:
        if kind == "asyncio":
            return asyncio.sleep(0.06, "slow")
        time.sleep(0.06)
        return "slow"

    stage = hedged(kind).over(one=[slow] * 9)
    assert stage.send() == "slow"
    assert len(stage["one"].calls) == 1
