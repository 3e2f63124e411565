"""The real server on a repository of small Python models, and clients of both transports."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelport.client import Client
from modelport.runtime.server import Server

REPOSITORY = Path(__file__).parent / "repository"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository that a test may change."""
    return Path(shutil.copytree(REPOSITORY, tmp_path / "repository"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as it was."""
    copy = shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("client") / "repository")
    with Server.start(Path(copy)) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(server: Server, scheme: str) -> str:
    return str(getattr(server.endpoints, scheme))


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as opened:
        yield opened


@pytest.fixture
def control_client(server: Server, url: str, scheme: str) -> Iterator[Client]:
    """A client that may use the restricted APIs."""
    with Client(url, headers=control_headers(server, scheme)) as opened:
        yield opened


@pytest.fixture
def control_header(server: Server, scheme: str) -> dict[str, str]:
    """What opens the restricted APIs."""
    return control_headers(server, scheme)


def control_headers(server: Server, scheme: str) -> dict[str, str]:
    """Spell the control header as the transport wants it."""
    prefix = "triton-grpc-protocol-" if scheme == "grpc" else ""
    return {f"{prefix}{name}": value for name, value in server.control_headers.items()}


@pytest.fixture
def start(scheme: str) -> Iterator[Callable[..., tuple[Server, Client]]]:
    """Start a server of the test's own, which it may kill, with a client."""
    servers: list[Server] = []
    clients: list[Client] = []

    def begin(repository: Path, **options: object) -> tuple[Server, Client]:
        servers.append(Server.start(repository, **options))  # type: ignore[arg-type]
        clients.append(Client(getattr(servers[-1].endpoints, scheme)))
        return servers[-1], clients[-1]

    yield begin
    for client in clients:
        client.close()
    for server in servers:
        server.stop()
