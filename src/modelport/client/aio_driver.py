"""Carries out what calls wait for by awaiting it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from modelport.client import faults
from modelport.client.steps import Ask, Close, Open, Race, Resolve, Sleep, Steps, Together
from modelport.errors import ClientError

Answer = TypeVar("Answer")


async def run(steps: Steps[Answer]) -> Answer:
    """Carry out steps to their end and give their result.

    Cancelling the task cancels what it waits for, on the server too.

    Raises:
        ClientError: as the steps do.
    """
    try:
        effect = next(steps)
        while True:
            try:
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


async def _race(effect: Race) -> Any:
    racers = [asyncio.ensure_future(run(effect.first))]
    try:
        done, _ = await asyncio.wait(racers, timeout=effect.delay_s)
        second = None if done else effect.second()
        if second:
            racers.append(asyncio.ensure_future(run(second)))
        return await _first_result(racers)
    finally:
        await _end(racers)


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
