"""Runs a command in a network of its own, in which there is nothing but loopback.

    unshare --user --map-root-user --net python private.py COMMAND ARGUMENT…

For a server that cannot be told to listen on loopback only. `within` gives what goes before a
command that is to talk to it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def started(command: list[str | Path]) -> list[str | Path]:
    """Give the command that starts another one in a network of its own."""
    return ["unshare", "--user", "--map-root-user", "--net", sys.executable, __file__, *command]


def within(pid: int) -> list[str]:
    """Give what goes before a command that is to run in the network of a process."""
    return ["nsenter", "--target", str(pid), "--user", "--net", "--preserve-credentials"]


def raise_loopback() -> None:
    """Switch on the one interface that a new network has: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        asked = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack_from("16sH", fcntl.ioctl(plug, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(plug, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


if __name__ == "__main__":
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command is this program's purpose
