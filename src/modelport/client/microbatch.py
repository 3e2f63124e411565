"""Single items of many callers, sent together: batching on the client's side.

Triton batches by itself where a model allows it, and better than a client can, because it sees
all clients. This is for models and servers that do not, and for callers with so many small
requests that sending them one by one is what costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Inference
from modelport.client.result import Result
from modelport.client.session import Asked
from modelport.client.tensors import Value
from modelport.errors import ClientError, InvalidInputError, PartialBatchError, ServerFaultError

_Send: TypeAlias = Callable[[Call, dict[str, Value], Asked], Awaitable[Result]]


@dataclass(frozen=True)
class MicroBatch:
    """How items are collected.

    Attributes:
        delay_s: how long the first item of a batch waits for others.
        max_size: rows that are sent together at most; the model's ``max_batch_size`` by default.
    """

    delay_s: float = 0.002
    max_size: int | None = None

    def __post_init__(self) -> None:
        if self.delay_s < 0 or (self.max_size is not None and self.max_size < 1):
            raise ClientError(
                f"{self} cannot be followed: delay_s must be 0 or more, max_size 1 or more"
            )


@dataclass
class _Item:
    call: Call
    inference: Inference
    rows: int
    answer: asyncio.Future[Result]

    @property
    def waits(self) -> bool:
        """Whether the caller is still there."""
        return not self.answer.done()


@dataclass
class _Batch:
    """Items of the same shapes that wait to be sent."""

    items: list[_Item] = field(default_factory=list)
    rows: int = 0
    timer: asyncio.TimerHandle | None = None


class Collector:
    """Sends the requests of concurrent callers together; for one event loop.

    Args:
        settings: how long, and how many.
        send: carries out one inference.
    """

    def __init__(self, settings: MicroBatch, send: _Send) -> None:
        self._settings, self._send = settings, send
        self._batches: dict[Any, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, call: Call, inference: Inference, most: int) -> Result:
        """Answer one caller's request as part of a batch.

        Args:
            call: the caller's, with its own deadline.
            inference: its checked tensors.
            most: the model's ``max_batch_size``.

        Raises:
            ClientError: what the caller would get if it had sent the request alone.
        """
        rows = inference.tensors[0].array.shape[0]
        most = min(most, self._settings.max_size or most)
        loop = asyncio.get_running_loop()
        item = _Item(call, inference, rows, loop.create_future())
        # The batch may run for longer, for others.
        timer = loop.call_later(call.remaining_s(), _expire, item)
        try:
            self._add(item, _kind(inference), most)
            return await item.answer
        finally:
            timer.cancel()

    def _add(self, item: _Item, kind: Any, most: int) -> None:
        batch = self._batches.get(kind)
        if batch and batch.rows + item.rows > most:
            self._flush(kind)
            batch = None
        if batch is None:
            batch = self._batches[kind] = _Batch()
            loop = asyncio.get_running_loop()
            batch.timer = loop.call_later(self._settings.delay_s, self._flush, kind)
        batch.items.append(item)
        batch.rows += item.rows
        if batch.rows >= most:
            self._flush(kind)

    def _flush(self, kind: Any) -> None:
        batch = self._batches.pop(kind)
        if batch.timer:
            batch.timer.cancel()
        items = [item for item in batch.items if item.waits]
        if items:
            self._begin(self._answer(items) if len(items) > 1 else self._alone(items[0]), items)

    def _begin(self, steps: Coroutine[Any, Any, None], items: Sequence[_Item]) -> None:
        """Send something in the background, and no longer than somebody waits for it."""
        task = asyncio.ensure_future(steps)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

        def leave(_: object) -> None:
            if not any(item.waits for item in items):
                task.cancel()

        for item in items:
            item.answer.add_done_callback(leave)

    async def _answer(self, items: Sequence[_Item]) -> None:
        try:
            result = await self._send(_call_of_all(items), _joined(items), _asked(items[0]))
        except (InvalidInputError, ServerFaultError, PartialBatchError):
            # One caller's request must not fail another's.
            for item in items:
                if item.waits:
                    self._begin(self._alone(item), [item])
        except ClientError as error:
            for item in items:
                _settle(item, _own(error, item.call))
        except asyncio.CancelledError:
            _leave(items)
            raise
        except Exception as error:  # noqa: BLE001 - of a header function, say: nobody must hang
            for item in items:
                _settle(item, error)
        else:
            _share(result, items)

    async def _alone(self, item: _Item) -> None:
        inputs: dict[str, Value] = {tensor.name: tensor.array for tensor in item.inference.tensors}
        try:
            _settle(item, await self._send(item.call, inputs, _asked(item)))
        except asyncio.CancelledError:
            _leave([item])
            raise
        except Exception as error:  # noqa: BLE001 - as above
            _settle(item, error)

    async def close(self) -> None:
        """Send what waits, and wait for the answers."""
        for kind in list(self._batches):
            self._flush(kind)
        while self._sending:  # a batch that fails goes on as single requests
            await asyncio.gather(*self._sending, return_exceptions=True)


def _kind(inference: Inference) -> Any:
    """What must be equal for two requests to be rows of one batch."""
    shapes = tuple((t.name, t.datatype, t.array.shape[1:]) for t in inference.tensors)
    return (
        shapes,
        tuple(inference.outputs),
        inference.priority,
        tuple(sorted(inference.parameters.items())),
    )


def _asked(item: _Item) -> Asked:
    inference = item.inference
    return Asked(inference.outputs or None, None, None, inference.priority, inference.parameters)


def _joined(items: Sequence[_Item]) -> dict[str, Value]:
    names = [tensor.name for tensor in items[0].inference.tensors]
    by_name = [{t.name: t.array for t in item.inference.tensors} for item in items]
    return {name: np.concatenate([arrays[name] for arrays in by_name]) for name in names}


def _share(result: Result, items: Sequence[_Item]) -> None:
    """Give each caller its rows: views of the batch's arrays."""
    total = sum(item.rows for item in items)
    odd = [name for name, array in result.items() if array.shape[:1] != (total,)]
    start = 0
    for item in items:
        stop = start + item.rows
        if odd:
            _settle(item, _not_rows(item.call, odd[0], result[odd[0]].shape, total))
        else:
            rows = {name: array[start:stop] for name, array in result.items()}
            _settle(item, Result(rows, result.model_version, item.call.request_id))
        start = stop


def _call_of_all(items: Sequence[_Item]) -> Call:
    """Make the call of a batch: it has the ids of all, and the time of whoever has most."""
    longest = max((item.call for item in items), key=lambda call: call.expires_s)
    ids = dict.fromkeys(item.call.request_id for item in items if item.call.request_id)
    return replace(longest, request_id=",".join(ids))


def _own(error: ClientError, call: Call) -> ClientError:
    """Make one caller's error of the batch's: callers must not share what they raise."""
    objects = {**error.objects, "request_id": call.request_id}
    own = type(error)(error.what, cause=error.cause, next_step=error.next_step, **objects)
    own.__cause__ = error.__cause__
    return own


def _not_rows(call: Call, name: str, shape: tuple[int, ...], rows: int) -> ClientError:
    return ClientError(
        f"output {name!r} of {call.about()} has the shape {list(shape)} for {rows} rows: its"
        " first dimension is not the batch, so that callers cannot share one",
        next_step="call this model without micro_batch",
        model=call.model,
        version=call.version,
        request_id=call.request_id,
        attempts=call.attempts,
        endpoint=call.endpoint,
        tensor=name,
    )


def _settle(item: _Item, outcome: Result | Exception) -> None:
    if not item.waits:
        return
    if isinstance(outcome, Exception):
        item.answer.set_exception(outcome)
    else:
        item.answer.set_result(outcome)


def _expire(item: _Item) -> None:
    _settle(item, faults.deadline(item.call))


def _leave(items: Sequence[_Item]) -> None:
    for item in items:
        item.answer.cancel()
