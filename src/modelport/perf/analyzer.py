"""Which perf_analyzer makes the load: found on the machine, or fetched.

The order: ``MODELPORT_PERF_ANALYZER``, PATH (NVIDIA's SDK container has it there), this Python's
environment (the ``perf-analyzer`` wheel), else the pinned wheel that this machine's C library can
run, in the user's cache. The one for older C libraries needs two libraries that its wheel lacks
and that the wheel of tritonserver carries.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelport.errors import ToolchainError
from modelport.runtime import cache, environment, installer, libraries, pins, toolchain, wheel
from modelport.runtime.events import Listener, ignore
from modelport.runtime.toolchain import Candidate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VARIABLE = "MODELPORT_PERF_ANALYZER"
PINS = Path(__file__).parent / "data" / "perf-analyzer.toml"
_NAME = "perf_analyzer"
# From here on it writes down every request and reply, and counts requests.
_LEAST = (2, 51)
_LEAST_WORDS = "2.51 or newer"


@dataclass(frozen=True)
class Pin(pins.WheelPin):
    """A wheel that carries perf_analyzer.

    Attributes:
        borrows: libraries that it asks for and the wheel lacks, to the pattern of their file
            in the wheel that carries tritonserver.
    """

    borrows: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Analyzer:
    """A perf_analyzer that runs here.

    Attributes:
        place: where it was found, in words.
        binary: the program.
        version: as it says itself.
        library_path: folders for the loader to look at first.
    """

    place: str
    binary: Path
    version: str
    library_path: tuple[Path, ...] = ()

    def variables(self) -> dict[str, str]:
        """Give the environment variables that it runs with."""
        values = dict(os.environ)
        path = [*map(str, self.library_path), values.get("LD_LIBRARY_PATH", "")]
        values["LD_LIBRARY_PATH"] = ":".join(filter(None, path))
        return values


def candidates() -> list[Candidate]:
    """List the places in the order in which they are looked at; nothing is fetched.

    What is there and does not run is told, and passed over.
    """
    return toolchain.ordered([_row(*place) for place in _places()])


def find() -> Analyzer | None:
    """Give perf_analyzer if it is there already; nothing is fetched.

    Raises:
        ToolchainError: the one that the variable names cannot be run.
    """
    for place, binary, _ in _places():
        if binary is None:
            continue
        try:
            return _analyzer(place, binary)
        except ToolchainError:
            if place == VARIABLE:  # who names one wants no other
                raise
    return None


def _places() -> Iterator[tuple[str, Path | None, str]]:
    """Give each place, what is there, and the words for its absence."""
    chosen = os.environ.get(VARIABLE)
    on_path = shutil.which(_NAME)
    own = Path(sysconfig.get_path("scripts")) / _NAME
    yield VARIABLE, Path(chosen) if chosen else None, "not set"
    yield "PATH", Path(on_path) if on_path else None, f"no {_NAME} on it"
    yield str(own.parent), own if own.is_file() else None, "no perf-analyzer wheel is installed"
    pin = _pin_or_none()
    if pin is None:
        yield "wheel", None, f"none is known for {platform.machine()}"
        return
    # Without the wheel that it borrows from it is not complete.
    complete = not pin.borrows or wheel.unpacked(pins.wheel()) is not None
    absent = "not fetched yet: `modelport toolchain --fetch`"
    yield f"wheel {pin.requirement}", wheel.unpacked(pin) if complete else None, absent


def _row(place: str, binary: Path | None, absent: str) -> tuple[str, Path | None, str]:
    if binary is None:
        return place, None, absent
    try:
        return place, _analyzer(place, binary).binary, absent
    except ToolchainError as error:
        return place, None, error.what


def ensure(on_event: Listener | None = None) -> Analyzer:
    """Give perf_analyzer; it is fetched first where there is none, once per machine.

    Raises:
        ToolchainError: it cannot be had; the message says what to put where.
    """
    if found := find():
        return found
    listener = on_event or ignore
    pin = _pin()
    python = installer.own_python() or environment.ensure(listener).python
    binary = wheel.ensure(pin, python=python, on_event=listener)
    if pin.borrows:
        _borrow(pin, wheel.ensure(pins.wheel(), python=python, on_event=listener))
    return _analyzer(f"wheel {pin.requirement}", binary)


def read(path: Path, machine: str) -> list[Pin]:
    """Read the pins for a processor from a file, in the order of preference."""
    table: Mapping[str, Sequence[Mapping[str, Any]]] = tomllib.loads(
        path.read_text(encoding="utf-8")
    )
    return [
        Pin(**{**entry, "keeps": tuple(entry["keeps"])})  # a list cannot be hashed
        for entry in table.get(machine, [])
    ]


def _pin_or_none() -> Pin | None:
    known = read(PINS, platform.machine())
    return next(filter(wheel.runs_here, known), known[-1] if known else None)


def _pin() -> Pin:
    """Give the newest one that this machine can run, else the least demanding."""
    if pin := _pin_or_none():
        return pin
    raise ToolchainError(
        f"there is no {_NAME} for processor {platform.machine()!r}",
        next_step=f"put one on PATH, or set {VARIABLE}",
    )


def _analyzer(place: str, binary: Path) -> Analyzer:
    """Ask a program for its version, once it is known that it can be loaded."""
    pin = _pin_or_none()
    folders: tuple[Path, ...] = ()
    if pin is not None and pin.borrows and binary == wheel.unpacked(pin):
        server = wheel.unpacked(pins.wheel())
        if server is not None:
            _borrow(pin, server)
        folders = (_borrowed(pin),)
    try:
        binary = _behind(binary)
        found = Analyzer(place, binary, "", folders)
        if not _is_script(binary):
            libraries.check(binary, folders)
        done = subprocess.run(
            [binary, "--version"],
            env=found.variables(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(place, binary, getattr(error, "strerror", None) or str(error)) from error
    version = re.search(r"Version (\S+)", done.stdout + done.stderr)
    if done.returncode or version is None:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise _unusable(place, binary, " ".join([f"status {done.returncode}", *last]))
    if tuple(map(int, re.findall(r"\d+", version[1])[:2])) < _LEAST:
        raise _unusable(place, binary, f"version {version[1]}, and {_LEAST_WORDS} is needed")
    return Analyzer(place, binary, version[1], folders)


def _behind(binary: Path) -> Path:
    """Give the program that the wheel's own command starts, a script that loses its status."""
    if _is_script(binary):
        inside = f"lib/python*/site-packages/{_NAME}/bin/{_NAME}"
        return next(iter(binary.resolve().parent.parent.glob(inside)), binary)
    return binary


def _is_script(binary: Path) -> bool:
    with binary.open("rb") as stream:
        return stream.read(2) == b"#!"


def _unusable(place: str, binary: Path, why: str) -> ToolchainError:
    return ToolchainError(
        f"{binary}: is no {_NAME} that runs here ({why})",
        cause=f"{place} leads there",
        next_step=f"mend or remove it, or set {VARIABLE} to another",
        path=binary,
    )


def _borrowed(pin: Pin) -> Path:
    return cache.root() / _NAME / pin.key / "borrowed"


def _borrow(pin: Pin, server: Path) -> None:
    """Link the libraries of tritonserver's wheel by the names that the program asks for."""
    root = server.parents[len(Path(pins.wheel().program).parts) - 1]
    folder = _borrowed(pin)
    folder.mkdir(exist_ok=True)
    for name, pattern in pin.borrows.items():
        found = sorted(root.glob(f"*.libs/{pattern}"))
        link = folder / name
        if found and not link.exists():
            link.unlink(missing_ok=True)  # it may lead to a wheel that was removed
            try:
                link.symlink_to(found[0])
            except FileExistsError:
                continue  # another process was faster
