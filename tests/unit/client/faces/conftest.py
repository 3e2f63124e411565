"""Servers, and a client of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faces import KINDS, end, equip, open_client

from modelport.client import (
    Retry,
)
from modelport.client.testing import FakeServer

QUICK = Retry(backoff_s=0.001)

Open = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        yield equip(made)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(kind: str) -> Iterator[Open]:
    opened: list[Any] = []

    def make(*servers: FakeServer, **options: Any) -> Any:
        opened.append(open_client(kind, *servers, **{"retry": QUICK, **options}))
        return opened[-1]

    yield make
    for client in opened:
        end(client)


@pytest.fixture
def client(server: FakeServer, connect: Open) -> Any:
    return connect(server)
