"""Questions, commands, headers and the end, over both clients and both protocols."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from faces import equip, url_of

from modelport.client import (
    AsyncClient,
    AsyncModel,
    AsyncSequence,
    Client,
    ClientError,
    Model,
    NotReadyError,
    ProtocolError,
    Sequence,
    ServerFaultError,
    UnauthenticatedError,
)
from modelport.client.testing import FakeServer

Open = Callable[..., Any]


# --- what a server says, and commands --------------------------------------------


def test_documents(server: FakeServer, client: Any, kind: str) -> None:
    assert client.server()["name"] == "triton"
    assert client.config("add")["max_batch_size"] == 4
    metadata = client.metadata("add")
    assert (metadata.versions, list(metadata.input_by_name)) == (("1", "2"), ["a", "b"])
    entries = [(entry.name, entry.version, entry.state) for entry in client.index()]
    assert ("add", "2", "READY") in entries
    assert len(entries) == 5
    client.infer("upper", {"text": ["a", "b"]})
    [statistics] = client.statistics("upper")
    assert statistics["endpoint"] == url_of(kind, server)
    assert int(statistics["inference_count"]) == 2
    assert len(client.statistics()) == 5


def test_statistics_are_those_of_every_endpoint(
    server: FakeServer, connect: Open, kind: str
) -> None:
    with FakeServer() as other:
        client = connect(server, equip(other))
        urls = {document["endpoint"] for document in client.statistics("upper")}
        assert urls == {url_of(kind, server), url_of(kind, other)}


def test_models_are_loaded_over_grpc_only(server: FakeServer, client: Any, kind: str) -> None:
    if kind.endswith("http"):
        with pytest.raises(ProtocolError, match="over gRPC only"):
            client.load("upper")
        with pytest.raises(ProtocolError, match="over gRPC only"):
            client.unload("upper")
        assert client.ready("upper")
        return
    client.unload("upper")
    assert not client.ready("upper")
    with pytest.raises(NotReadyError):
        client.infer("upper", {"text": "a"})
    client.load("upper")
    assert client.infer("upper", {"text": "a"}).text("loud") == "A"
    with pytest.raises(ServerFaultError, match="failed to load 'lower'"):
        client.load("lower")


# --- headers ---------------------------------------------------------------------


def test_headers_of_the_client_and_of_a_call(server: FakeServer, connect: Open) -> None:
    client = connect(server, headers={"x-team": "blue", "X-Place": "here"})
    client.infer("upper", {"text": "a"}, headers={"x-place": "there", "x-more": "1"})
    client.infer("upper", {"text": "a"})
    list(client.stream("count", {"to": [1]}, headers={"x-more": "2"}))
    names = ("x-team", "x-place", "x-more")
    sent = [tuple(request.headers.get(name) for name in names) for request in server.requests]
    assert sent == [
        ("blue", "there", "1"), ("blue", "here", None), ("blue", "here", "2"),
    ]  # fmt: skip


def test_headers_from_a_function(connect: Open) -> None:
    tokens = iter(range(1000))

    with FakeServer() as server:
        equip(server)
        client = connect(server, headers=lambda: {"authorization": f"Bearer {next(tokens)}"})
        client.infer("upper", {"text": "a"})
        server.fail("upper", with_="overloaded")
        client.infer("upper", {"text": "a"})
        sent = [request.headers["authorization"] for request in server.requests]
    assert len(set(sent)) == 3  # a repeat asks for it anew


def test_what_a_header_function_raises_reaches_the_caller(
    server: FakeServer, connect: Open
) -> None:
    class NoToken(Exception):
        pass

    def fail() -> dict[str, str]:
        raise NoToken

    client = connect(server, headers=fail)
    with pytest.raises(NoToken):
        client.infer("upper", {"text": "a"})


def test_headers_that_are_wanted(connect: Open) -> None:
    with FakeServer(headers={"authorization": "Bearer s3cret"}) as server:
        equip(server)
        assert connect(server, headers={"authorization": "Bearer s3cret"}).infer(
            "upper", {"text": "a"}
        )
        with pytest.raises(UnauthenticatedError):
            connect(server).infer("upper", {"text": "a"})


# --- the end ---------------------------------------------------------------------


def test_closing_twice_and_use_afterwards(server: FakeServer, client: Any) -> None:
    big = {"text": [f"{number}" for number in range(10)]}
    with client:
        client.infer("upper", big)
        model, sequence = client.model("upper"), client.sequence("total")
        sequence.send(1)
        client.metadata("count")
    client.close()
    seen = len(server.requests)
    for late in (
        lambda: client.infer("upper", {"text": "a"}),
        lambda: client.infer("upper", big),
        lambda: model("a"),
        lambda: sequence.send(1),
        lambda: list(client.stream("count", {"to": [1]})),
        lambda: client.metadata("add"),
        client.ready,
        client.server,
    ):
        with pytest.raises(ClientError, match="closed"):
            late()
    assert len(server.requests) == seen


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_asyncio_client_stays_in_its_loop(server: FakeServer, scheme: str) -> None:
    async def use() -> AsyncClient:
        client = AsyncClient(getattr(server, f"{scheme}_url"))
        assert await client.ready()
        await client.close()
        return client

    client = asyncio.run(use())
    with pytest.raises(ClientError, match="another event loop"):
        asyncio.run(client.ready())


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_cancelled_task_cancels_its_request(server: FakeServer, scheme: str) -> None:
    async def use() -> None:
        async with AsyncClient(getattr(server, f"{scheme}_url")) as client:
            await client.metadata("upper")
            server.fail("upper", with_="hang")
            task = asyncio.ensure_future(client.infer("upper", {"text": "a"}))
            while not server.requests:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            [request] = server.requests
            assert await asyncio.to_thread(request.gone.wait, 10)

    asyncio.run(use())


# --- the two faces ---------------------------------------------------------------


def public(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and (not name.startswith("_") or name == "__init__")
    }


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters]


@pytest.mark.parametrize(
    ("blocking", "aio"), [(Client, AsyncClient), (Model, AsyncModel), (Sequence, AsyncSequence)]
)
def test_the_faces_are_alike(blocking: type, aio: type) -> None:
    ours, theirs = public(blocking), public(aio)
    internal = {"prepare"}  # for AsyncModel
    assert set(ours) == set(theirs) - internal
    more = {("__init__", "collector"), ("model", "micro_batch")}
    for name, function in ours.items():
        rest = [row for row in shape(theirs[name]) if (name, row[0]) not in more]
        assert shape(function) == rest, name
