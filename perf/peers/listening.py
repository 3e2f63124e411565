"""Where a process tree listens: only on loopback is allowed."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_SOCKET = re.compile(r"socket:\[(\d+)\]")
_LISTEN = "0A"


def beyond_loopback(pids: Iterable[int]) -> list[str]:
    """Give the ``address:port`` at which a stranger could reach one of the processes over TCP."""
    inodes = {inode for pid in pids for inode in _inodes(pid)}
    found = set()
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net", name)
        if path.exists():  # no tcp6 where IPv6 is off
            found |= {place for inode, place in listeners(path.read_text()) if inode in inodes}
    return sorted(f"{address}:{port}" for address, port in found if not is_loopback(address))


def _inodes(pid: int) -> Iterable[str]:
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if match := _SOCKET.fullmatch(str(link.readlink())):
                    yield match[1]


def listeners(table: str) -> Iterable[tuple[str, tuple[str, int]]]:
    """Give inode, address and port of who listens, from /proc/net/tcp: proc_pid_net(5)."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            yield fields[9], (_address(address), int(port, 16))


def _address(words: str) -> str:
    """Decode an address: words of 32 bits, each in the byte order of the machine."""
    parts = [bytes.fromhex(words[at : at + 8]) for at in range(0, len(words), 8)]
    if sys.byteorder == "little":
        parts = [part[::-1] for part in parts]
    return str(ipaddress.ip_address(b"".join(parts)))


def is_loopback(address: str) -> bool:
    """Say whether an address is of this machine only, as IPv4 within IPv6 too."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
