"""What a session refuses before anything is sent, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from modelport.client import Client, ClientError, InvalidInputError
from modelport.client.testing import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        running.add(
            "m",
            inputs={"x": ("FP32", [-1, 1])},
            outputs={"y": ("FP32", [-1, 1])},
            answer=lambda inputs: {"y": inputs["x"]},
            max_batch_size=2,
        )
        yield running


@pytest.fixture(params=["http_url", "grpc_url"])
def url(server: FakeServer, request: pytest.FixtureRequest) -> str:
    return str(getattr(server, request.param))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"parameters": {"timeout": 5}}, "'timeout' is written by the client itself"),
        ({"parameters": {"sequence_start": True}}, "is written by the client itself"),
        ({"parameters": {"list": [1]}}, r"must be a text, a number or a truth value, got \[1\]"),
        ({"parameters": {"large": 2**70}}, "must be a text, a number"),
        ({"parameters": {"numpy": np.int64(1)}}, "must be a text, a number"),
        ({"priority": -1}, "priority must be a whole number"),
        ({"priority": 1.5}, "priority must be a whole number"),
        ({"sequence_start": True}, "need a sequence_id"),
        ({"sequence_end": True}, "need a sequence_id"),
    ],
)
def test_what_no_protocol_can_say_is_refused(
    server: FakeServer, url: str, options: dict[str, Any], why: str
) -> None:
    with Client(url) as client:
        client.infer("m", {"x": [[1.0]]})
        before = len(server.requests)
        with pytest.raises(ClientError, match=why):
            client.infer("m", {"x": [[1.0]]}, **options)
        assert len(server.requests) == before


def test_parameters_of_every_kind_arrive(server: FakeServer, url: str) -> None:
    given = {"text": "a", "whole": -3, "share": 0.5, "on": True}
    with Client(url) as client:
        client.infer("m", {"x": [[1.0]]}, parameters=given)
    arrived = dict(server.requests[-1].parameters)
    assert {name: arrived[name] for name in given} == given


def test_a_client_closes_all_it_has_even_when_something_fails(server: FakeServer) -> None:
    failing = False

    def headers() -> dict[str, str]:
        if failing:
            raise RuntimeError("no token")
        return {}

    urls = [server.http_url, server.http_url.replace("127.0.0.1", "localhost")]
    client = Client(urls, headers=headers)
    client.infer("m", {"x": [[1.0]]})
    failing = True
    client.close()
    failing = False
    with pytest.raises(ClientError, match="closed"):
        client.infer("m", {"x": [[1.0]]})
    with pytest.raises(ClientError, match="closed"):
        client.ready()


def test_a_split_batch_goes_on_after_a_fork(server: FakeServer) -> None:
    with Client(server.http_url, timeout_s=10) as client:
        rows = np.arange(8, dtype=np.float32).reshape(8, 1)
        assert np.array_equal(client.infer("m", {"x": rows})["y"], rows)
        child = os.fork()
        if child == 0:
            try:
                right = np.array_equal(client.infer("m", {"x": rows})["y"], rows)
            except BaseException:  # noqa: BLE001 - the parent reports it
                right = False
            os._exit(0 if right else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def test_a_batch_with_a_wrong_row_is_refused_before_any_part_is_sent(server: FakeServer) -> None:
    with Client(server.http_url) as client:
        client.infer("m", {"x": [[1.0]]})
        before = len(server.requests)
        with pytest.raises(InvalidInputError):
            client.infer("m", {"x": [[1.0], [2.0], ["three"]]})
        assert len(server.requests) == before
