"""From a toolchain to a tritonserver that answers, with no model loaded yet."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import PortInUseError, ServerStartError
from modelport.runtime import launch, ports, process
from modelport.runtime.control import Control
from modelport.runtime.launch import Options
from modelport.runtime.logs import Log
from modelport.runtime.plan import Plan
from modelport.runtime.process import Launch, ServerProcess
from modelport.runtime.servers import Endpoints
from modelport.runtime.toolchain import Toolchain

DRAIN_S = 30
_ANSWER_S = 60.0
_ATTEMPTS = 3
_POLL_S = 0.02


@dataclass(frozen=True)
class Order:
    """What is to be started.

    Attributes:
        wanted_ports: flag to port, 0 for a free one.
        response_cache: make one; None if a model of the plan asks for it.
        shared_memory: clients may let the server map their system shared memory.
    """

    repositories: Sequence[Path]
    plan: Plan
    host: str
    wanted_ports: dict[str, int]
    log_path: Path
    toolchain: Toolchain
    response_cache: bool | None = None
    shared_memory: bool = False


@dataclass(frozen=True)
class Started:
    """A tritonserver that answers.

    Attributes:
        key: opens its control API.
    """

    process: ServerProcess
    control: Control
    endpoints: Endpoints
    key: str
    log: Log


def start(order: Order) -> Started:
    """Start tritonserver and wait until it answers.

    Raises:
        PortInUseError: somebody listens on a port that was asked for.
        ServerStartError: it ended, or did not answer.
    """
    process.sweep_shm()
    for attempt in range(_ATTEMPTS):
        chosen = ports.choose(order.host, order.wanted_ports)
        try:
            return _start_on(order, chosen)
        except PortInUseError:
            # Between choosing a port and listening on it, somebody else may take it.
            if attempt == _ATTEMPTS - 1 or all(order.wanted_ports.values()):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _start_on(order: Order, chosen: dict[str, int]) -> Started:
    key, shm_prefix = secrets.token_hex(16), process.new_shm_prefix()
    log = Log(order.log_path)
    options = Options(
        repositories=order.repositories,
        host=order.host,
        http_port=chosen["--http-port"],
        grpc_port=chosen["--grpc-port"],
        metrics_port=chosen["--metrics-port"],
        key=key,
        shm_prefix=shm_prefix,
        complete_configs=order.plan.complete,
        response_cache=_wants_cache(order),
        drain_s=DRAIN_S,
        shared_memory=order.shared_memory,
    )
    server = ServerProcess(
        Launch(
            command=launch.command(order.toolchain, options),
            variables=order.toolchain.variables(),
            log=order.log_path,
            drain_s=DRAIN_S,
            shm_prefix=shm_prefix,
            secret=key,
        )
    )
    control = Control(reachable(order.host), options.http_port, key)
    try:
        _wait_until_live(server, control, log, chosen)
    except BaseException:
        server.kill()
        server.wait()
        raise
    server.hide_secret()
    return Started(server, control, _endpoints(order.host, chosen), key, log)


def _wants_cache(order: Order) -> bool:
    return order.plan.wants_cache if order.response_cache is None else order.response_cache


def _wait_until_live(
    server: ServerProcess, control: Control, log: Log, chosen: dict[str, int]
) -> None:
    deadline = time.monotonic() + _ANSWER_S
    while not control.live():
        if server.status is not None:
            raise ended(server.status, log, "before it answered", chosen)
        if time.monotonic() > deadline:
            raise ServerStartError(
                f"tritonserver does not answer after {_ANSWER_S:g} s",
                next_step=f"look at its log: {log.path}",
                log=log.path,
            )
        server.wait(_POLL_S)
    if server.status is not None:  # it was somebody else who answered
        raise ended(server.status, log, "before it answered", chosen)


def ended(
    status: int, log: Log, when: str, chosen: dict[str, int] | None = None
) -> ServerStartError | PortInUseError:
    """Make the error for a server that ended by itself, with what its log says of it."""
    lines = log.complaints() or log.text().splitlines()[-5:]
    text = "\n".join(f"    {line}" for line in lines)
    for flag, port in (chosen or {}).items():
        if f":{port}" in text and "in use" in text.lower():
            return PortInUseError(
                f"{flag} {port}: another process took it while tritonserver started",
                next_step=f"{flag} 0 takes a free port",
                port=port,
                flag=flag,
            )
    signal_note = f" (signal {status - 128})" if status > 128 else ""
    return ServerStartError(
        f"tritonserver ended with status {status}{signal_note} {when}\n{text}",
        next_step=f"look at its log: {log.path}",
        status=status,
        log=log.path,
    )


def reachable(host: str) -> str:
    """Give the address that a client on this machine uses for a server on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _endpoints(host: str, chosen: dict[str, int]) -> Endpoints:
    name = reachable(host)
    name = f"[{name}]" if ":" in name else name
    return Endpoints(
        http=f"http://{name}:{chosen['--http-port']}",
        grpc=f"grpc://{name}:{chosen['--grpc-port']}",
        metrics=f"http://{name}:{chosen['--metrics-port']}/metrics",
    )
