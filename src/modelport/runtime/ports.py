"""Free and given TCP ports."""

from __future__ import annotations

import contextlib
import errno
import socket

from modelport.errors import PortInUseError, ServerStartError
from modelport.runtime import proc


def choose(host: str, wanted: dict[str, int]) -> dict[str, int]:
    """Give a port for each flag: the one asked for if it is free, or a free one for 0.

    Args:
        host: the address to listen on.
        wanted: flag (``"--http-port"``) to port.

    Raises:
        PortInUseError: somebody listens on a port that was asked for.
        ServerStartError: this machine has no such address.
    """
    _check_distinct(wanted)
    with contextlib.ExitStack() as open_sockets:
        # All are held until the last is found: no two flags get the same free port.
        return {flag: _probe(host, port, flag, open_sockets) for flag, port in wanted.items()}


def _check_distinct(wanted: dict[str, int]) -> None:
    for flag, port in wanted.items():
        other = next((f for f, p in wanted.items() if p == port and f != flag), None)
        if port and other is not None:
            raise PortInUseError(
                f"{flag} and {other} both ask for port {port}",
                next_step=f"{other} 0 takes a free port",
                port=port,
                flag=other,
            )


def _probe(host: str, port: int, flag: str, open_sockets: contextlib.ExitStack) -> int:
    family, kind, _, _, address = _resolve(host, port)
    probe = open_sockets.enter_context(socket.socket(family, kind))
    # As servers do: a port whose last connections still linger counts as free.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(address)
    except PermissionError as error:
        raise PortInUseError(
            f"{flag} {port}: ports below 1024 are for root",
            next_step=f"{flag} 0 takes a free one",
            port=port,
            flag=flag,
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ServerStartError(
                f"--host {host}: cannot be listened on ({error.strerror})",
                next_step="--host 127.0.0.1, or an address of this machine",
            ) from error
        raise _in_use(host, port, flag) from error
    return int(probe.getsockname()[1])


def _resolve(host: str, port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ServerStartError(
            f"--host {host}: no such address ({error.strerror})", next_step="--host 127.0.0.1"
        ) from error


def _in_use(host: str, port: int, flag: str) -> PortInUseError:
    holder = proc.listener(port)
    if holder is None:
        who = "a process that this user may not see"
    else:
        command = " ".join(proc.command_line(holder.pid))[:120] or holder.name
        who = f"process {holder.pid} listens there: {command}"
    return PortInUseError(
        f"{flag} {port}: {host}:{port} is in use",
        cause=who,
        next_step=f"{flag} 0 takes a free port; or stop that process",
        port=port,
        flag=flag,
        pid=holder.pid if holder else None,
    )
