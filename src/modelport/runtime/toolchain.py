"""Which tritonserver is used, and with what: found on the machine, or fetched.

The order: ``MODELPORT_TRITONSERVER``, ``/opt/tritonserver/bin`` (NVIDIA's
container), ``tritonserver`` on PATH, else the pinned wheel in the user's cache.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ToolchainError
from modelport.runtime import assembly, environment, installer, libraries, pins, wheel
from modelport.runtime.environment import Environment
from modelport.runtime.events import Listener, ignore

VARIABLE = "MODELPORT_TRITONSERVER"
CONTAINER = Path("/opt/tritonserver/bin/tritonserver")
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Candidate:
    """A place where tritonserver is looked for.

    Attributes:
        binary: the tritonserver found there, or None.
        why: why it is or is not used.
    """

    place: str
    binary: Path | None
    why: str


@dataclass(frozen=True)
class Toolchain:
    """All that is needed to start tritonserver.

    Attributes:
        place: where it was found, in words.
        binary: the tritonserver.
        version: of tritonserver, where it can be told without running it.
        backends: the assembled backend folder.
        caches: folder of response cache implementations.
        environment: the stubs' own Python environment; None where the server's
            image brings one.
        library_path: folders for the loader to look at first.
    """

    place: str
    binary: Path
    version: str | None
    backends: Path
    caches: Path
    environment: Environment | None
    library_path: tuple[Path, ...]

    @property
    def container(self) -> str | None:
        """Tag of NVIDIA's image that holds the same tritonserver, where that is known."""
        pin = pins.wheel()
        return pin.container if self.version == pin.release else None

    def variables(self) -> dict[str, str]:
        """Give the environment variables that tritonserver and its stubs run with."""
        values = dict(os.environ)
        # These would send the stubs to the caller's packages, numpy 2 among them.
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            values.pop(name, None)
        # From 1.29 on ONNX Runtime reports what it runs to its maker, from every stub.
        values.setdefault("ORT_DISABLE_TELEMETRY", "1")
        if self.environment is not None:
            # The stub takes its packages from the `python3` that PATH leads to.
            values["PATH"] = f"{self.environment.python.parent}:{values.get('PATH', os.defpath)}"
        folders = [*map(str, self.library_path), values.get("LD_LIBRARY_PATH", "")]
        values["LD_LIBRARY_PATH"] = ":".join(filter(None, folders))
        return values


def candidates() -> list[Candidate]:
    """List the places in the order in which they are looked at; nothing is fetched.

    Raises:
        ToolchainError: there is no wheel for this machine.
    """
    pin = pins.wheel()
    chosen = os.environ.get(VARIABLE)
    found = shutil.which("tritonserver")
    fetched = wheel.unpacked(pin)
    rows = [
        (VARIABLE, Path(chosen) if chosen else None, "not set"),
        (str(CONTAINER.parent), CONTAINER if CONTAINER.is_file() else None, "nothing there"),
        ("PATH", Path(found) if found else None, "no tritonserver on it"),
        (f"wheel {pin.requirement}", fetched, "not fetched yet: `modelport toolchain --fetch`"),
    ]
    return ordered(rows)


def ordered(rows: Sequence[tuple[str, Path | None, str]]) -> list[Candidate]:
    """Say of places and what was found there why each is used or not; the first one found is.

    Args:
        rows: the place, the program found there, and why there is none where there is none.
    """
    used = next((place for place, binary, _ in rows if binary is not None), None)
    return [
        Candidate(place, binary, _why(place, binary, used, absent))
        for place, binary, absent in rows
    ]


def find() -> Toolchain | None:
    """Give the toolchain if it is complete already; nothing is fetched or made.

    Raises:
        ToolchainError: something is there, but broken.
    """
    candidate = _first()
    if candidate.binary is None:
        return None
    installation = _Installation.of(candidate.binary, candidate.place)
    own = environment.expected() if installation.wants_environment else None
    if own is not None:
        if not own.complete():
            return None
        own.check_numpy()
    if not assembly.expected(installation.backends, installation.stub).is_dir():
        return None
    return installation.toolchain(own)


def ensure(on_event: Listener | None = None) -> Toolchain:
    """Give the toolchain; what is missing is fetched and made first, once per machine.

    Raises:
        ToolchainError: it cannot be had; the message says what to put where.
    """
    listener = on_event or ignore
    if ready := find():
        return ready
    candidate = _first()
    own: Environment | None = None
    binary = candidate.binary
    if binary is None:
        # Where the caller's environment has no pip, the server's own has one.
        python = installer.own_python()
        if python is None:
            own = environment.ensure(listener)
            python = own.python
        binary = wheel.ensure(pins.wheel(), python=python, on_event=listener)
    installation = _Installation.of(binary, candidate.place)
    if installation.wants_environment:
        own = own or environment.ensure(listener)
    # Asked before the first start only: the assembled folder stands for "it was checked".
    libraries.check(installation.binary, installation.library_path)
    libraries.check(installation.stub, installation.library_path)
    return installation.toolchain(own)


@dataclass(frozen=True)
class _Installation:
    """A tritonserver with its folders, as NVIDIA's image or the wheel lays them out."""

    place: str
    binary: Path
    root: Path
    wants_environment: bool

    @classmethod
    def of(cls, binary: Path, place: str) -> _Installation:
        real = binary.resolve()
        root = real.parent.parent
        if not os.access(real, os.X_OK) or not real.is_file():
            raise ToolchainError(
                f"{binary}: is no program that can be run",
                cause=f"{place} leads there",
                next_step=f"set {VARIABLE} to a tritonserver, or unset it to use the wheel",
                path=binary,
            )
        if not (root / "backends" / "python" / "libtriton_python.so").is_file():
            raise ToolchainError(
                f"{root / 'backends' / 'python'}: there is no python backend",
                cause=f"{binary} was installed without it",
                next_step=f"set {VARIABLE} to a complete tritonserver",
                path=root,
            )
        return cls(place, real, root, wants_environment=(root / "python_backend_stubs").is_dir())

    @property
    def backends(self) -> Path:
        return self.root / "backends"

    @property
    def stub(self) -> Path:
        """The stub for this interpreter; an image brings one, the wheel one per version."""
        if not self.wants_environment:
            return self.backends / "python" / _STUB
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        stub = self.root / "python_backend_stubs" / version / _STUB
        if stub.is_file():
            return stub
        have = ", ".join(sorted(p.name for p in stub.parent.parent.iterdir()))
        raise ToolchainError(
            f"tritonserver has no python stub for Python {version}, only for {have}",
            next_step="run Modelport on one of these versions",
        )

    @property
    def version(self) -> str | None:
        if self.wants_environment:
            pin = pins.wheel()
            return pin.release if pin.key in self.binary.parts else None
        file = self.root / "TRITON_VERSION"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None

    @property
    def library_path(self) -> tuple[Path, ...]:
        if not self.wants_environment:
            return (self.root / "lib",) if (self.root / "lib").is_dir() else ()
        return (self.root.parents[1] / "nvidia_pytriton.libs", *environment.library_folders())

    def toolchain(self, own: Environment | None) -> Toolchain:
        return Toolchain(
            place=self.place,
            binary=self.binary,
            version=self.version,
            backends=assembly.ensure(self.backends, self.stub),
            caches=self.root / "caches",
            environment=own,
            library_path=self.library_path,
        )


def _first() -> Candidate:
    """Give the candidate that is used: the first one found, else the wheel."""
    rows = candidates()
    return next((row for row in rows if row.binary is not None), rows[-1])


def _why(place: str, binary: Path | None, used: str | None, absent: str) -> str:
    if binary is None:
        return absent
    return "used: the first one found" if place == used else f"not used: {used} comes first"
