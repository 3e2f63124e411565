"""Regions of system shared memory, and whose they are; nothing here talks to a server.

A region is a file in ``/dev/shm`` that a server maps by its name. The file is unlinked as soon as
the server has mapped it, so that the memory lives exactly as long as somebody maps it. Names tell
the owner: this boot of this machine, the process (in its namespace) and when it began::

    modelport_client-5a1b9c2e-4026531836-1234-987654-0

so that what a crashed process left can be told from what a living one uses.
"""

from __future__ import annotations

import itertools
import mmap
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

_PREFIX = "modelport_client"
_FOLDER = Path("/dev/shm")  # noqa: S108 - the kernel's own place
_PROC = Path("/proc")
# Field 22 of /proc/PID/stat, counted from the state: the time of the start, see proc(5).
_START = 19
_counter = itertools.count()


class Region:
    """Memory that this process shares with a server.

    Attributes:
        name: of the file in ``/dev/shm``, under which the server registers it as well.
        size_bytes: how large it is.
        memory: its bytes, ``uint8[size_bytes]``.
    """

    __slots__ = ("memory", "name", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        """Make the file.

        Raises:
            OSError: there is no such memory on this machine, or not as much.
        """
        self.name, self.size_bytes = f"{_own_prefix(os.getpid())}-{next(_counter)}", size_bytes
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(_FOLDER / self.name, flags, 0o600)
        try:
            # Reserves the pages: writing to memory that is not there would kill the process.
            os.posix_fallocate(file, 0, size_bytes)
            shared = mmap.mmap(file, size_bytes)
        except BaseException:
            self.unlink()
            raise
        finally:
            os.close(file)
        self.memory: npt.NDArray[np.uint8] = np.frombuffer(shared, np.uint8)

    @property
    def key(self) -> str:
        """What a server opens it by."""
        return f"/{self.name}"

    def unlink(self) -> None:
        """Remove the name; those who have mapped the memory keep it."""
        with suppress(FileNotFoundError):
            (_FOLDER / self.name).unlink()


def free_bytes() -> int:
    """Give how much shared memory this machine has left; 0 where there is no such thing."""
    try:
        state = os.statvfs(_FOLDER)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def is_orphan(name: str) -> bool:
    """Whether a region was made by a process on this machine that is no more.

    Of other boots, other machines and other containers nothing is known here, so that theirs
    are none.
    """
    prefix, *rest = name.split("-")
    if prefix != _PREFIX or len(rest) != 5 or not all(part.isdecimal() for part in rest[1:]):
        return False
    boot, namespace, pid, start, _ = rest
    if (boot, namespace) != (_boot(), _namespace()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # somebody else's, and /proc may hide it
        pass
    return _start_of(int(pid)) not in ("", start)


def remove_orphans() -> None:
    """Remove the files of processes that ended before they could; a server may still map them."""
    with suppress(OSError):
        for path in _FOLDER.glob(f"{_PREFIX}-*"):
            if is_orphan(path.name):
                path.unlink()


@lru_cache(maxsize=1)
def _own_prefix(pid: int) -> str:
    return f"{_PREFIX}-{_boot()}-{_namespace()}-{pid}-{_start_of(pid)}"


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]


def _namespace() -> str:
    """Give the number of this process's PID namespace: ``pid:[4026531836]``."""
    return str((_PROC / "self/ns/pid").readlink()).strip("pid:[]")


def _start_of(pid: int) -> str:
    """Give when a process began, in ticks since boot; empty when that cannot be seen."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[_START]
