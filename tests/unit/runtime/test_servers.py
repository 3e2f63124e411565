"""The list of running servers."""

from __future__ import annotations

import os
from pathlib import Path

from modelport.runtime import proc, servers
from modelport.runtime.servers import Endpoints, RunningServer


def _server(pid: int, start: int, repository: str = "/models") -> RunningServer:
    endpoints = Endpoints("http://127.0.0.1:1", "grpc://127.0.0.1:2", "http://127.0.0.1:3/metrics")
    return RunningServer(pid, start, os.getpid(), (repository,), endpoints, "key", "/log")


def _own_start() -> int:
    found = proc.process(os.getpid())
    assert found is not None
    return found.start


def test_a_living_server_is_listed_as_it_was_recorded() -> None:
    server = _server(os.getpid(), _own_start())
    servers.record(server)
    assert servers.running() == [server]
    assert servers.running(Path("/models")) == [server]
    assert servers.running(Path("/other")) == []


def test_a_reused_process_id_is_not_taken_for_it() -> None:
    path = servers.record(_server(os.getpid(), _own_start() - 1))
    assert servers.running() == []
    assert not path.exists()


def test_what_cannot_be_read_is_removed(cache_folder: Path) -> None:
    (cache_folder / "servers").mkdir(parents=True)
    (cache_folder / "servers" / "1.json").write_text("{half")
    assert servers.running() == []
    assert list((cache_folder / "servers").iterdir()) == []
