"""The server that a load goes to: where it answers, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelport.client import Client
from modelport.client.url import Endpoint, parse
from modelport.errors import LoadTestError
from modelport.repository.layout import Repository
from modelport.runtime import plan, proc, servers, toolchain
from modelport.runtime.events import Listener, ignore
from modelport.runtime.server import Server

# A server that dies takes its connections with it first.
_GRACE_S = 1.0


@dataclass(frozen=True)
class Target:
    """A server under load.

    Attributes:
        urls: by transport, ``grpc`` and ``http``, as far as they are known.
        versions: of the models that are asked and all their parts.
        pid: of tritonserver, and of its process group; None of one elsewhere.
        log: of the server, where there is one.
    """

    urls: Mapping[str, str]
    versions: Mapping[str, int]
    pid: int | None = None
    log: Path | None = None
    _start: int = field(default=0, repr=False)

    def cpu_s(self) -> float:
        """CPU time of its processes so far; 0 where they cannot be seen."""
        return proc.cpu_s(self.pid) if self.pid else 0.0

    def memory_bytes(self) -> int | None:
        """Proportional set size of all its processes; None where they cannot be seen."""
        if self.pid is None:
            return None
        group = [process.pid for process in proc.processes() if process.group == self.pid]
        sizes = [size for pid in group if (size := proc.pss_bytes(pid)) is not None]
        return sum(sizes) or None

    def check(self, *, wait: bool = False) -> None:
        """See whether it still runs.

        Args:
            wait: give it a moment to end: something else just told that it may.

        Raises:
            LoadTestError: it has ended.
        """
        until = time.monotonic() + (_GRACE_S if wait else 0.0)
        while self.pid is not None:
            process = proc.process(self.pid)
            if process is None or process.start != self._start or process.state == "Z":
                raise LoadTestError(
                    "tritonserver ended under the load",
                    cause="it was killed, or ran out of memory",
                    next_step=f"look into its log: {self.log}" if self.log else "start it again",
                    log=self.log,
                )
            if time.monotonic() >= until:
                return
            time.sleep(0.05)


@contextmanager
def private(
    repository: Path, models: Sequence[str], on_event: Listener = ignore
) -> Iterator[Target]:
    """Serve models on a server of their own, without a response cache, for as long as it takes.

    Raises:
        RepositoryError: a model is missing.
        RuntimeFault: the server does not start, or a model does not load.
    """
    server = Server.start(
        repository, models=models, listed=False, response_cache=False, on_event=on_event
    )
    try:
        process = proc.process(server.pid)
        yield Target(
            urls={"grpc": server.endpoints.grpc, "http": server.endpoints.http},
            versions={name: versions[-1] for name, versions in server.loaded().items()},
            pid=server.pid,
            log=server.log_path,
            _start=process.start if process else 0,
        )
    finally:
        server.kill()


def running(url: str, repository: Path, models: Sequence[str]) -> Target:
    """Take a server that runs already; what it costs is seen if it is this user's, and here.

    Raises:
        RepositoryError: a model is missing in the repository, which tells what it is asked.
        ClientError: the server does not answer, or does not have a model.
    """
    endpoint = parse(url)
    planned = plan.make([repository.resolve()], models).models
    with Client(url) as client:
        versions = {}
        for name in planned:
            client.wait_ready(name, timeout_s=10.0)
            known = client.metadata(name).versions
            versions[name] = max(map(int, known)) if known else _served(repository, name)
    own = next((s for s in servers.running() if _is(s, endpoint)), None)
    if own is None:
        return Target({endpoint.protocol: str(endpoint)}, versions)
    urls = {"grpc": own.endpoints.grpc, "http": own.endpoints.http}
    return Target(urls, versions, own.pid, Path(own.log), own.start)


def packages() -> dict[str, str]:
    """Give the versions of what the server is made of, as far as they are known."""
    found = toolchain.find()
    if found is None:
        return {}
    own = found.environment.packages() if found.environment else {}
    versions = {"tritonserver": found.version, "onnxruntime": own.get("onnxruntime")}
    return {name: version for name, version in versions.items() if version}


def _is(server: servers.RunningServer, endpoint: Endpoint) -> bool:
    mine = map(parse, (server.endpoints.grpc, server.endpoints.http))
    return endpoint.loopback and endpoint.port in {one.port for one in mine}


def _served(repository: Path, name: str) -> int:
    return Repository(repository).model(name).served_versions()[-1]
