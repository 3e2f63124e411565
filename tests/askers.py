"""The four transports behind one face, so that one test asks them all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import Any

from modelport.client.call import Call
from modelport.client.exchange import Inference, Reply
from modelport.client.options import Options
from modelport.client.transport import connect, connect_async
from modelport.client.url import Endpoint, parse
from modelport.errors import CallCancelledError

KINDS = ("http", "grpc", "aio_http", "aio_grpc")


def scheme_of(kind: str) -> str:
    """Give the scheme that a kind of transport speaks."""
    return kind.removeprefix("aio_")


class Asker:
    """One transport; an asyncio one lives in a loop of a thread of its own."""

    def __init__(self, kind: str, endpoint: Endpoint | str, **options: Any) -> None:
        self.endpoint = parse(endpoint) if isinstance(endpoint, str) else endpoint
        self._aio = kind.startswith("aio_")
        make: Any = connect_async if self._aio else connect
        self.transport = make(self.endpoint, Options(**options))
        self.wire = self.transport.wire
        self._loop = asyncio.new_event_loop() if self._aio else None
        if self._loop:
            threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def call(self, model: str = "", timeout_s: float = 20.0, **fields: Any) -> Call:
        """Make a call that begins now."""
        return Call(
            str(self.endpoint), timeout_s, time.monotonic() + timeout_s, model=model, **fields
        )

    def ask(self, operation: str, call: Call, *arguments: Any) -> Any:
        """Carry out one operation of the wire."""
        return self.send(call, getattr(self.wire, operation)(call, *arguments))

    def send(self, call: Call, exchange: Any) -> Any:
        """Send one exchange."""
        if self._loop is None:
            return self.transport.ask(call, exchange)
        return self._await(self.transport.ask(call, exchange))

    def stream(self, call: Call, inference: Inference) -> Iterator[Reply]:
        """Read a stream; closing it early leaves it early."""
        exchange = self.wire.stream(call, inference)
        if self._loop is None:
            return self.transport.stream(call, exchange)  # type: ignore[no-any-return]
        return self._each(self.transport.stream(call, exchange))

    def begin(self, operation: str, call: Call, *arguments: Any) -> Running:
        """Carry out an operation in the background."""
        return Running(self, call, getattr(self.wire, operation)(call, *arguments))

    def close(self) -> None:
        """Close the transport."""
        if self._loop is None:
            self.transport.close()
        else:
            self._await(self.transport.close())

    def stop(self) -> None:
        """Close the transport and end the loop."""
        self.close()
        if self._loop:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _await(self, coroutine: Any) -> Any:
        assert self._loop
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _each(self, replies: AsyncIterator[Reply]) -> Iterator[Reply]:
        try:
            while True:
                try:
                    yield self._await(anext(replies))
                except StopAsyncIteration:
                    return
        finally:
            self._await(replies.aclose())  # type: ignore[attr-defined]


class Running:
    """An operation that runs in the background."""

    def __init__(self, asker: Asker, call: Call, exchange: Any) -> None:
        self._asker, self._call = asker, call
        self._future: Future[Any]
        if asker._loop:
            coroutine = asker.transport.ask(call, exchange)
            self._future = asyncio.run_coroutine_threadsafe(coroutine, asker._loop)
        else:
            self._future = Future()
            threading.Thread(target=self._run, args=(exchange,), daemon=True).start()

    def cancel(self) -> None:
        """Cancel it: the task of an asyncio transport, else the call."""
        if self._asker._loop:
            self._future.cancel()
        else:
            self._asker.transport.leave(self._call)

    def outcome(self) -> Any:
        """Wait for its end, and give the answer or the error."""
        try:
            return self._future.result()
        except concurrent.futures.CancelledError:
            return CallCancelledError("the task was cancelled")
        except Exception as error:  # noqa: BLE001 - the test says which
            return error

    def _run(self, exchange: Any) -> None:
        try:
            self._future.set_result(self._asker.transport.ask(self._call, exchange))
        except Exception as error:  # noqa: BLE001 - outcome() gives it
            self._future.set_exception(error)
