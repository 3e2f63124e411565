"""The two clients over the two protocols behind one face, so that one test asks all four."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from modelport.client import AsyncClient, AsyncModel, AsyncSequence, Client
from modelport.client.testing import FakeServer, Request

TEXT, NUMBER = ("BYTES", [-1, 1]), ("INT32", [-1, 1])
KINDS = ("http", "grpc", "aio_http", "aio_grpc")


def url_of(kind: str, server: FakeServer) -> str:
    """Give where a server speaks the protocol of a kind."""
    return str(getattr(server, f"{kind.removeprefix('aio_')}_url"))


def open_client(kind: str, *servers: FakeServer, **options: Any) -> Any:
    """Make a client that blocks, or one of asyncio that looks as if it did."""
    urls = [url_of(kind, server) for server in servers]
    if kind.startswith("aio_"):
        return Bridge(Loop(), AsyncClient(urls, **options))
    return Client(urls, **options)


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def run(self, awaitable: Any) -> Any:
        """Wait for a coroutine."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(30)

    def stop(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        self.loop.run_forever()
        self.loop.close()


class Bridge:
    """An :class:`AsyncClient`, or a part of one, whose methods block."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self.bridge_loop, self._inner = loop, inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._blocking(found) if inspect.ismethod(found) else found

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._blocking(self._inner)(*arguments, **named)

    def __repr__(self) -> str:
        return repr(self._inner).replace("Async", "")

    def __enter__(self) -> Bridge:
        self.bridge_loop.run(self._inner.__aenter__())
        return self

    def __exit__(self, *details: Any) -> None:
        self.bridge_loop.run(self._inner.__aexit__(*details))

    def _blocking(self, function: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            value = function(*arguments, **named)
            if inspect.iscoroutine(value):
                return self.bridge_loop.run(value)
            if inspect.isasyncgen(value):
                return self._each(value)
            if isinstance(value, (AsyncModel, AsyncSequence)):
                return Bridge(self.bridge_loop, value)
            return value

        return called

    def _each(self, results: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self.bridge_loop.run(_next(results))
                except StopAsyncIteration:
                    return
        finally:
            self.bridge_loop.run(results.aclose())  # type: ignore[attr-defined]


async def _next(results: AsyncIterator[Any]) -> Any:
    return await anext(results)


def end(client: Any) -> None:
    """Close a client, and the loop that it lives in."""
    client.close()
    if isinstance(client, Bridge):
        client.bridge_loop.stop()


# --- the models of a server for tests ---


def upper(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Answer in capitals."""
    return {"loud": [[text.upper()] for [text] in inputs["text"].tolist()]}


def add(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with two outputs."""
    return {"sum": inputs["a"] + inputs["b"], "product": inputs["a"] * inputs["b"]}


def count(inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Answer with a stream."""
    for number in range(int(inputs["to"].item())):
        yield {"number": [number]}


class Total:
    """Remembers a sum for each sequence."""

    def __init__(self) -> None:
        self.totals: dict[int, int] = {}

    def __call__(self, inputs: Mapping[str, Any], request: Request) -> dict[str, Any]:
        step = request.sequence
        assert step is not None
        before = 0 if step.start else self.totals[step.id]
        self.totals[step.id] = before + int(inputs["value"].item())
        return {"total": [[self.totals[step.id]]]}


def equip(server: FakeServer) -> FakeServer:
    """Give a server models of every kind."""
    server.add(
        "upper", inputs={"text": TEXT}, outputs={"loud": TEXT}, answer=upper, max_batch_size=4
    )
    server.add(
        "add",
        inputs={"a": NUMBER, "b": NUMBER},
        outputs={"sum": NUMBER, "product": NUMBER},
        answer=add,
        max_batch_size=4,
        versions=("1", "2"),
    )
    server.add(
        "total",
        inputs={"value": NUMBER},
        outputs={"total": NUMBER},
        answer=Total(),
        max_batch_size=4,
        sequence=True,
    )
    server.add(
        "count",
        inputs={"to": ("INT32", [1])},
        outputs={"number": ("INT32", [1])},
        answer=count,
    )
    return server


def texts(result: Any) -> list[str]:
    """Give what ``upper`` answered."""
    return [str(text) for text in result.strings("loud").ravel()]
