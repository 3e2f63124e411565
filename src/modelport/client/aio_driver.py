"""Carries out what calls wait for by awaiting it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.steps import Ask, Close, Open, Race, Resolve, Sleep, Steps, Together
from modelport.errors import ClientError

Answer = TypeVar("Answer")


class Racer:
    """One of two that race; it begins nothing new once the other has ended."""

    __slots__ = ("lost",)

    def __init__(self) -> None:
        self.lost = False

    def go_on(self) -> None:
        """Ask whether there is still something to win.

        Raises:
            CallCancelledError: the other one has ended.
        """
        if self.lost:
            raise faults.cancelled(Call("", 0.0, 0.0))


async def run(steps: Steps[Answer], racer: Racer | None = None) -> Answer:
    """Carry out steps to their end and give their result.

    Cancelling the task cancels what it waits for, on the server too.

    Raises:
        ClientError: as the steps do.
    """
    try:
        effect = next(steps)
        while True:
            try:
                if racer is not None:
                    racer.go_on()
                if type(effect) is Ask:
                    answer = await effect.transport.ask(effect.call, effect.exchange)
                else:
                    answer = await _PERFORM[type(effect)](effect)
            except BaseException as error:  # noqa: BLE001, PERF203 - the steps decide
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return cast("Answer", end.value)


async def _together(effect: Together) -> list[Any]:
    free = asyncio.Semaphore(effect.limit)

    async def outcome(steps: Steps[Any]) -> Any:
        async with free:
            try:
                return await run(steps)
            except ClientError as error:
                return error

    tasks = [asyncio.ensure_future(outcome(steps)) for steps in effect.steps]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


# Requests that have lost a race and were left alone; asyncio itself keeps no task alive.
_left: set[asyncio.Future[Any]] = set()


async def _race(effect: Race) -> Any:
    first, second = Racer(), Racer()
    racers = [asyncio.ensure_future(run(effect.first, first))]
    try:
        done, _ = await asyncio.wait(racers, timeout=effect.delay_s)
        steps = None if done else effect.second()
        if steps:
            racers.append(asyncio.ensure_future(run(steps, second)))
        answer = await _first_result(racers)
    except BaseException:
        await _end(racers)
        raise
    first.lost = second.lost = True
    for racer in racers:
        if not racer.done():
            _left.add(racer)
            racer.add_done_callback(_forget)
    return answer


def _forget(racer: asyncio.Future[Any]) -> None:
    _left.discard(racer)
    if not racer.cancelled():
        racer.exception()  # nobody waits for it, and asyncio would say so


async def _first_result(racers: Sequence[asyncio.Future[Any]]) -> Any:
    waiting = set(racers)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [racer for racer in done if not racer.exception()]
        if good or not waiting:
            return (good or list(done))[0].result()


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _resolve(effect: Resolve) -> list[str] | ClientError:
    endpoint = effect.endpoint
    look_up = asyncio.get_running_loop().getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM
    )
    try:
        found = await asyncio.wait_for(look_up, effect.call.remaining_s())
    except (OSError, UnicodeError, asyncio.TimeoutError) as error:
        return faults.unresolved(effect.call, str(error) or "no answer from the name service")
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _open(effect: Open) -> tuple[Any, Any]:
    replies = effect.transport.stream(effect.call, effect.exchange)
    return await anext(replies, None), replies


async def _sleep(effect: Sleep) -> None:
    await asyncio.sleep(effect.seconds)


async def _close(effect: Close) -> None:
    await effect.transport.close()


_PERFORM: dict[type, Callable[[Any], Awaitable[Any]]] = {
    Together: _together,
    Race: _race,
    Resolve: _resolve,
    Open: _open,
    Sleep: _sleep,
    Close: _close,
}
