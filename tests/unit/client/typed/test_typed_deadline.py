"""The first call of a wrapper asks for the model's tensors as well, in the call's own seconds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from modelport.client import AsyncClient, Client, typed
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.errors import DeadlineExceededError

MODEL = typed.Model(
    name="m", inputs=(typed.Tensor("x", "FP32", ()),), outputs=(typed.Tensor("y", "FP32", ()),)
)
SERVED = ModelMetadata(
    name="m",
    versions=("1",),
    platform="",
    inputs=(TensorMetadata("x", "FP32", (), False),),
    outputs=(TensorMetadata("y", "FP32", (), False),),
    max_batch_size=0,
    decoupled=False,
)


class Blocking(typed.Wrapper):
    model = MODEL


class Asynchronous(typed.AsyncWrapper):
    model = MODEL


def called(client: Client) -> None:
    Blocking(client)._ask({"x": 1.0}, 0.2)


def streamed(client: Client) -> None:
    next(Blocking(client)._stream({"x": 1.0}, lambda row: row, 0.2))


def in_sequence(client: Client) -> None:
    typed.SequenceWrapper(Blocking(client))._send({"x": 1.0}, end=True, timeout_s=0.2)


def with_asyncio(client: Client) -> None:
    async def ask() -> None:
        async with AsyncClient(client._session.shown) as other:
            await Asynchronous(other)._ask({"x": 1.0}, 0.2)

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [called, streamed, in_sequence, with_asyncio])
def test_a_server_that_never_answers_holds_a_call_no_longer_than_it_says(
    ask: Callable[[Client], None], peer: Any
) -> None:
    done = threading.Event()
    url = f"http://127.0.0.1:{peer(lambda _: done.wait(60))}"
    with Client(url) as client, pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
        ask(client)
    done.set()


class Slow(Client):
    """Takes its time to say what tensors there are, and notes how long calls may last."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", timeout_s=20)
        self.allowed: list[float | None] = []

    def metadata(self, *asked: Any, timeout_s: float | None = None) -> ModelMetadata:
        self.allowed.append(timeout_s)
        time.sleep(0.05)
        return SERVED

    def infer(self, *asked: Any, timeout_s: float | None = None, **more: Any) -> Any:
        self.allowed.append(timeout_s)
        return {}


def test_the_call_itself_has_what_is_left() -> None:
    with Slow() as client:
        wrapper = Blocking(client)
        for seconds in (10, None):
            wrapper._ask({"x": 1.0}, seconds)
        Blocking(client)._ask({"x": 1.0}, None)
    first, left, later, own, left_of_own = client.allowed
    assert (first, later, own) == (10, None, 20)
    assert left is not None
    assert left <= 9.95
    assert left_of_own is not None
    assert left_of_own <= 19.95
