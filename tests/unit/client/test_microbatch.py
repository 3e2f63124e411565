"""Single items of many callers that are sent together, over both protocols."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from modelport.client import (
    AsyncClient,
    AsyncModel,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    MicroBatch,
    OverloadedError,
    Retry,
    ServerFaultError,
)
from modelport.client.microbatch import Collector
from modelport.client.session import Asked
from modelport.client.testing import FakeServer, Refusal

ROWS, ONE = ("INT32", [-1, -1]), ("INT32", [-1, 1])
SOON = MicroBatch(delay_s=0.02)
NEVER = MicroBatch(delay_s=60.0)  # a batch leaves because it is full, or does not leave

Use = Callable[[AsyncClient], Awaitable[None]]
Run = Callable[..., None]


def total(inputs: Mapping[str, Any]) -> dict[str, Any]:
    values = inputs["values"]
    if (values == 13).any():
        raise Refusal("13 is not taken")
    if (values == 14).any():
        raise RuntimeError("14 breaks it")
    return {"total": values.sum(1, keepdims=True), "most": values.max(1, keepdims=True)}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        made.add(
            "total",
            inputs={"values": ROWS, "note": ("INT32", [-1, 1])},
            outputs={"total": ONE, "most": ONE},
            optional=["note"],
            answer=total,
            max_batch_size=8,
        )
        yield made


@pytest.fixture(params=["http", "grpc"])
def run(request: pytest.FixtureRequest, server: FakeServer) -> Run:
    """Run something with a client that knows the model."""

    def run(use: Use, **options: Any) -> None:
        async def main() -> None:
            url = getattr(server, f"{request.param}_url")
            settings = {"retry": Retry(attempts=1), "timeout_s": 20.0, **options}
            async with AsyncClient(url, **settings) as client:
                if "headers" not in options:
                    await client.metadata("total")
                await use(client)

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


def rows_of(server: FakeServer) -> list[int]:
    return [len(request.inputs["values"]) for request in server.requests]


async def ask(model: AsyncModel, *numbers: int, **more: Any) -> int:
    result = await model(values=np.array([numbers], np.int32), **more)
    return int(result["total"].item())


async def outcomes(*asking: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*asking, return_exceptions=True)


async def arrived(server: FakeServer, count: int = 1) -> None:
    while len(server.requests) < count:
        await asyncio.sleep(0.002)


# --- together --------------------------------------------------------------------


def test_callers_get_their_own_rows_of_fewer_requests(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        totals = await asyncio.gather(*(ask(model, n, 100) for n in range(20, 40)))
        assert totals == [n + 100 for n in range(20, 40)]

    run(use)
    assert rows_of(server) == [8, 8, 4]  # the model's max_batch_size


def test_a_result_is_like_one_of_a_single_request(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        one, two = await asyncio.gather(
            model(values=[[1, 2]], request_id="one"),
            model(values=[[3, 4], [5, 6]], request_id="two"),
        )
        assert one == {"total": np.array([[3]], np.int32), "most": np.array([[2]], np.int32)}
        assert two.total.tolist() == [[7], [11]]
        assert (one.request_id, two.request_id) == ("one", "two")
        assert one.model_version == "1"
        assert not one.total.flags.writeable

    run(use)
    [request] = server.requests
    assert request.id == "one,two"


def test_a_bound_of_the_callers_own(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=MicroBatch(delay_s=60.0, max_size=3))
        assert await asyncio.gather(*(ask(model, n) for n in range(6))) == list(range(6))
        single = client.model("total", micro_batch=MicroBatch(delay_s=60.0, max_size=1))
        assert await ask(single, 1) == 1
        huge = client.model("total", micro_batch=MicroBatch(delay_s=60.0, max_size=99))
        assert await asyncio.gather(*(ask(huge, n) for n in range(8))) == list(range(8))

    run(use)
    assert rows_of(server) == [3, 3, 1, 8]


def test_an_item_that_does_not_fit_sends_the_others_off(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        many = np.ones((5, 1), np.int32)
        results = await asyncio.gather(model(values=many), model(values=many))
        assert [result.total.sum() for result in results] == [5, 5]

    run(use)
    assert rows_of(server) == [5, 5]


def test_a_large_batch_is_split_as_without_collecting(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        result = await model(values=np.arange(20, 40, dtype=np.int32)[:, np.newaxis])
        assert result.total.ravel().tolist() == list(range(20, 40))

    run(use)
    assert sum(rows_of(server)) == 20


def test_requests_that_differ_are_not_mixed(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        answers = await asyncio.gather(
            ask(model, 1), ask(model, 2), ask(model, 1, 2), ask(model, 3, 4),
            ask(model, 5, outputs=["total"]), ask(model, 6, outputs=["total"]),
            ask(model, 7, note=[[1]]), ask(model, 8, note=[[1]]),
        )  # fmt: skip
        assert answers == [1, 2, 3, 7, 5, 6, 7, 8]

    run(use)
    assert rows_of(server) == [2, 2, 2, 2]
    assert [request.outputs for request in server.requests].count(["total"]) == 1


def test_parameters_and_priorities_are_not_mixed(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        collector = Collector(SOON, client.ask)

        async def send(asked: Asked) -> int:
            call = client.begin("total", "", "", None)
            inference = await client.prepare(call, {"values": [[1]]}, asked)
            return int((await collector.ask(call, inference, 8)).total.item())

        kinds = [Asked(parameters={"mode": "a"}), Asked(parameters={"mode": "b"})]
        kinds += [Asked(parameters={"mode": "a", "size": 2}), Asked(priority=2), Asked()]
        assert await asyncio.gather(*map(send, kinds * 2)) == [1] * 10

    run(use)
    assert rows_of(server) == [2] * 5
    asked = [
        {k: v for k, v in request.parameters.items() if k in ("mode", "size", "priority")}
        for request in server.requests
    ]
    for one in ({"mode": "a"}, {"mode": "b"}, {"mode": "a", "size": 2}, {"priority": 2}, {}):
        assert asked.count(one) == 1


# --- what fails ------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "error"), [(13, InvalidInputError), (14, ServerFaultError)])
def test_a_bad_item_fails_alone(
    server: FakeServer, run: Run, bad: int, error: type[Exception]
) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        found = await outcomes(
            ask(model, 1), ask(model, bad, request_id="bad"), ask(model, 2), ask(model, 3)
        )
        assert [found[0], *found[2:]] == [1, 2, 3]
        assert isinstance(found[1], error)
        assert found[1].objects["request_id"] == "bad"  # type: ignore[attr-defined]

    run(use)
    assert rows_of(server) == [4, 1, 1, 1, 1]


def test_what_is_refused_unsent_is_no_part_of_a_batch(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        found = await outcomes(ask(model, 1), model(values="text"), ask(model, 2))
        assert isinstance(found[1], InvalidInputError)
        assert found[::2] == [1, 2]

    run(use)
    assert rows_of(server) == [2]


def test_an_error_of_the_batch_is_each_callers_own(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        server.fail("total", with_="overloaded")
        found = await outcomes(*(ask(model, n, request_id=f"r-{n}") for n in range(3)))
        assert [type(error) for error in found] == [OverloadedError] * 3
        assert [error.objects["request_id"] for error in found] == ["r-0", "r-1", "r-2"]
        assert {(e.objects["model"], e.objects["attempts"]) for e in found} == {("total", 1)}
        assert len({id(error) for error in found}) == 3

    run(use)


def test_what_is_no_client_error_reaches_every_caller(server: FakeServer, run: Run) -> None:
    class NoToken(Exception):
        pass

    broken = False

    def headers() -> dict[str, str]:
        if broken:
            raise NoToken
        return {}

    async def use(client: AsyncClient) -> None:
        nonlocal broken
        await client.metadata("total")
        broken = True
        model = client.model("total", micro_batch=SOON)
        found = await outcomes(ask(model, 1), ask(model, 2))
        assert [type(error) for error in found] == [NoToken, NoToken]
        assert isinstance((await outcomes(ask(model, 1)))[0], NoToken)

    run(use, headers=headers)


def test_a_model_that_was_replaced(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        assert await ask(model, 1) == 1
        server.add(
            "total",
            inputs={"terms": ONE},
            outputs={"sum": ONE},
            answer=lambda inputs: {"sum": inputs["terms"]},
            max_batch_size=2,
        )
        results = await asyncio.gather(*(model(terms=n) for n in range(3)))
        assert [int(result["sum"].item()) for result in results] == [0, 1, 2]

    run(use)


# --- callers that go -------------------------------------------------------------


def test_a_caller_that_leaves_early_is_not_sent(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=MicroBatch(delay_s=60.0, max_size=4))
        tasks = [asyncio.ensure_future(ask(model, n)) for n in range(3)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        tasks.append(asyncio.ensure_future(ask(model, 3)))  # the fourth fills the batch
        found = await outcomes(*tasks)
        assert [found[0], *found[2:]] == [0, 2, 3]
        assert isinstance(found[1], asyncio.CancelledError)

    run(use)
    assert rows_of(server) == [3]


def test_a_caller_that_leaves_late_leaves_the_others_theirs(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        server.delay("total", seconds=0.1)
        tasks = [asyncio.ensure_future(ask(model, n)) for n in range(3)]
        await arrived(server)
        tasks[1].cancel()
        assert (await outcomes(*tasks))[::2] == [0, 2]

    run(use)
    assert rows_of(server) == [3]


def test_a_batch_that_nobody_waits_for_is_cancelled(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        server.fail("total", with_="hang")
        tasks = [asyncio.ensure_future(ask(model, n)) for n in range(3)]
        await arrived(server)
        for task in tasks:
            task.cancel()
        assert {type(error) for error in await outcomes(*tasks)} == {asyncio.CancelledError}
        assert await asyncio.to_thread(server.requests[0].gone.wait, 10)

    run(use)


def test_each_caller_has_a_deadline_of_its_own(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("held", micro_batch=SOON)
        await model.metadata()
        patient = asyncio.ensure_future(ask(model, 1))
        hasty = asyncio.ensure_future(ask(model, 2, timeout_s=0.1, request_id="r-1"))
        with pytest.raises(DeadlineExceededError, match=r"'r-1'.* within 0\.1 s") as caught:
            await hasty
        assert caught.value.objects["timeout_s"] == 0.1
        assert not patient.done()
        gate.set()
        assert await patient == 1

    gate = threading.Event()

    def held(inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert gate.wait(20)
        return {"total": inputs["values"]}

    server.add(
        "held", inputs={"values": ONE}, outputs={"total": ONE}, answer=held, max_batch_size=8
    )
    run(use)
    assert rows_of(server) == [2]


def test_a_deadline_holds_while_items_are_collected(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=NEVER)
        found = await outcomes(ask(model, 1, timeout_s=0.05), ask(model, 2, timeout_s=0.1))
        assert {type(error) for error in found} == {DeadlineExceededError}

    run(use)
    assert server.requests == []


def test_a_server_that_hangs_fails_every_caller_in_its_time(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=SOON)
        server.fail("total", with_="hang")
        found = await outcomes(*(ask(model, 1, timeout_s=s) for s in (0.1, 0.15, 0.2)))
        assert {type(error) for error in found} == {DeadlineExceededError}
        assert [error.objects["timeout_s"] for error in found] == [0.1, 0.15, 0.2]

    run(use)


# --- the end ---------------------------------------------------------------------


def test_closing_sends_what_waits(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("total", micro_batch=NEVER)
        tasks = [asyncio.ensure_future(ask(model, n)) for n in (1, 13, 2)]
        await asyncio.sleep(0.01)
        assert server.requests == []
        await client.close()
        found = await outcomes(*tasks)
        assert found[::2] == [1, 2]
        assert isinstance(found[1], InvalidInputError)
        with pytest.raises(ClientError, match="closed"):
            await ask(client.model("total", micro_batch=SOON), 1)

    run(use)


# --- models that are not for this ------------------------------------------------


def test_a_model_that_does_not_batch(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("plain", micro_batch=NEVER)
        results = await asyncio.gather(*(model(values=[n]) for n in range(3)))
        assert [int(result["same"].item()) for result in results] == [0, 1, 2]

    one = {"values": ("INT32", [1])}
    server.add(
        "plain",
        inputs=one,
        outputs={"same": ("INT32", [1])},
        answer=lambda inputs: {"same": inputs["values"]},
    )
    run(use)
    assert rows_of(server) == [1, 1, 1]


def test_outputs_that_are_not_rows(server: FakeServer, run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        model = client.model("sum", micro_batch=SOON)
        assert (await model(values=[[4]])).all.tolist() == [4]  # alone, it is nobody else's
        found = await outcomes(*(model(values=[[n]], request_id=f"r-{n}") for n in range(3)))
        assert {type(error) for error in found} == {ClientError}
        assert [error.objects["request_id"] for error in found] == ["r-0", "r-1", "r-2"]
        assert "without micro_batch" in str(found[0])

    server.add(
        "sum",
        inputs={"values": ONE},
        outputs={"all": ("INT32", [-1])},
        answer=lambda inputs: {"all": [int(inputs["values"].sum())]},
        max_batch_size=8,
    )
    run(use)


@pytest.mark.parametrize("wrong", [{"delay_s": -1.0}, {"max_size": 0}])
def test_settings_that_cannot_be_followed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="cannot be followed"):
        MicroBatch(**wrong)
