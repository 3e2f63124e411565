"""The servers that run on this machine, as their launchers wrote them down."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modelport.runtime import cache, proc


@dataclass(frozen=True)
class Endpoints:
    """Where a server answers."""

    http: str
    grpc: str
    metrics: str


@dataclass(frozen=True)
class RunningServer:
    """A server that this user runs.

    Attributes:
        pid: of tritonserver.
        start: when that process started, so that a reused pid is not taken for it.
        control_key: opens its control API; written to a file of mode 0600 only.
    """

    pid: int
    start: int
    launcher: int
    repositories: tuple[str, ...]
    endpoints: Endpoints
    control_key: str
    log: str

    def __repr__(self) -> str:
        return f"RunningServer(pid={self.pid}, {self.endpoints.http})"


def record(server: RunningServer) -> Path:
    """Write a server down; gives the file, to be removed at its end."""
    path = cache.folder("servers") / f"{server.pid}.json"
    partial = path.with_suffix(f".partial-{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(server), file)
    partial.rename(path)
    return path


def running(repository: Path | None = None) -> list[RunningServer]:
    """List the servers that run, newest first; entries of dead ones are removed.

    Args:
        repository: only those that serve this model repository.
    """
    found = []
    for path in (cache.root() / "servers").glob("*.json"):
        server = _read(path)
        if server is None or not _alive(server):
            path.unlink(missing_ok=True)
        elif repository is None or str(repository.resolve()) in server.repositories:
            found.append(server)
    return sorted(found, key=lambda server: server.start, reverse=True)


def _read(path: Path) -> RunningServer | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        server = RunningServer(**fields)
        return replace(
            server,
            endpoints=Endpoints(**fields["endpoints"]),
            repositories=tuple(server.repositories),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None  # cut off, or written by another version


def _alive(server: RunningServer) -> bool:
    process = proc.process(server.pid)
    return process is not None and process.start == server.start and process.state != "Z"
