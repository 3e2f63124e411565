"""The caller's trace goes on in the server, over all clients and protocols."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from faces import KINDS, end, open_client
from opentelemetry.sdk.trace import TracerProvider

from modelport.client.testing import FakeServer

TRACER = TracerProvider().get_tracer("test")
TEXT = ("BYTES", [-1, 1])


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        echo = {"text": TEXT}
        made.add("echo", inputs=echo, outputs=echo, answer=dict, max_batch_size=4)
        made.add(
            "stream",
            inputs={"text": ("BYTES", [1])},
            outputs={"text": ("BYTES", [1])},
            answer=lambda inputs: dict(inputs),
            decoupled=True,
        )
        yield made


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Any]:
    made = open_client(request.param, server)
    yield made
    end(made)


def parent_of(span: Any) -> str:
    """Write a span as https://www.w3.org/TR/trace-context does."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def test_the_current_span_arrives(server: FakeServer, client: Any) -> None:
    seen = []
    for send in (
        lambda: client.infer("echo", {"text": "a"}),
        lambda: client.model("echo")("a"),
        lambda: list(client.stream("stream", {"text": ["a"]})),
    ):
        with TRACER.start_as_current_span("call") as span:
            send()
        seen.append(parent_of(span))
    assert [request.headers["traceparent"] for request in server.requests] == seen


def test_without_a_span_nothing_is_sent(server: FakeServer, client: Any) -> None:
    client.infer("echo", {"text": "a"})
    assert "traceparent" not in server.requests[-1].headers


def test_every_part_and_every_repeat_belongs_to_the_span(server: FakeServer, client: Any) -> None:
    with TRACER.start_as_current_span("call") as span:
        client.infer("echo", {"text": ["a"] * 10})
        server.fail("echo", with_="overloaded")
        client.infer("echo", {"text": "a"})
    assert [request.headers["traceparent"] for request in server.requests] == [parent_of(span)] * 5


def test_headers_of_the_call_stay(server: FakeServer, client: Any) -> None:
    with TRACER.start_as_current_span("call") as span:
        client.infer("echo", {"text": "a"}, headers={"x-more": "1"})
        client.infer("echo", {"text": "a"}, headers={"traceparent": "my own"})
    first, second = (request.headers for request in server.requests)
    assert (first["traceparent"], first["x-more"]) == (parent_of(span), "1")
    assert second["traceparent"] == "my own"


PROGRAM = """
import asyncio, sys
from modelport.client import AsyncClient, Client

for url in sys.argv[1:]:
    with Client(url) as client:
        client.infer("echo", {"text": "a"})

    async def main():
        async with AsyncClient(url) as client:
            await client.infer("echo", {"text": "a"})

    asyncio.run(main())
print(*(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_the_client_loads_nothing_of_it(server: FakeServer) -> None:
    command = [sys.executable, "-c", PROGRAM, server.http_url, server.grpc_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert len(server.requests) == 4


def test_a_program_that_has_it_loaded_and_traces_nothing(server: FakeServer, client: Any) -> None:
    assert "opentelemetry.trace" in sys.modules
    with TRACER.start_as_current_span("before"):
        pass
    client.infer("echo", {"text": "a"})
    assert not {"traceparent", "tracestate"} & server.requests[-1].headers.keys()
