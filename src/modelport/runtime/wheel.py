"""Wheels that carry a program: fetched with pip, checked, unpacked into the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
import zipfile
from pathlib import Path

from modelport.errors import ToolchainError
from modelport.runtime import cache, installer
from modelport.runtime.events import Event, Listener, ignore
from modelport.runtime.pins import WheelPin

# Folder of the cache that holds a program; others go by their own name.
_FOLDERS = {"tritonserver": "triton"}


def unpacked(pin: WheelPin) -> Path | None:
    """Give the program's path if the wheel is unpacked already."""
    binary = cache.root() / _folder(pin) / pin.key / pin.program
    return binary if binary.is_file() else None


def ensure(pin: WheelPin, *, python: Path, on_event: Listener = ignore) -> Path:
    """Give the program's path, after fetching the wheel when it is not there yet.

    Args:
        pin: what to fetch.
        python: an interpreter with pip.
        on_event: hears of the fetch.

    Raises:
        ToolchainError: it cannot be had, or is not the file that was pinned.
    """
    if binary := unpacked(pin):
        return binary
    _check_glibc(pin)

    def waiting() -> None:
        on_event(Event("toolchain", f"another process fetches {pin.name}: waiting for it"))

    with cache.lock(f"{_folder(pin)}-{pin.key}", on_wait=waiting):
        return unpacked(pin) or _make(pin, python, on_event)


def _make(pin: WheelPin, python: Path, on_event: Listener) -> Path:
    start = time.monotonic()
    target = cache.folder(_folder(pin)) / pin.key
    # Under the lock, whatever is still called partial was left by a process that died.
    for leftover in target.parent.glob(f"{pin.key}.partial-*"):
        shutil.rmtree(leftover)
    partial = target.with_name(f"{pin.key}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        file = _offered(pin) or _fetch(pin, partial, python, on_event)
        _check_digest(pin, file)
        _unpack(pin, file, partial)
        shutil.rmtree(partial / "download", ignore_errors=True)
        # The rename is what makes it complete: nothing half-unpacked has this name.
        partial.rename(target)
    except OSError as error:
        raise ToolchainError(
            f"{target}: {pin.name} cannot be unpacked ({error.strerror or error})",
            next_step="free some space, or set MODELPORT_CACHE to a folder on another disk",
            path=target,
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    took = time.monotonic() - start
    on_event(Event("toolchain", f"{pin.name} {pin.release} unpacked", duration_s=took))
    return target / pin.program


def _offered(pin: WheelPin) -> Path | None:
    """Give the wheel that a user without network put into the cache."""
    file = cache.root() / "wheels" / pin.file
    return file if file.is_file() else None


def _fetch(pin: WheelPin, partial: Path, python: Path, on_event: Listener) -> Path:
    size = f"{pin.size_bytes / 1e6:.0f} MB"
    what = f"{pin.name} {pin.release}"
    on_event(Event("toolchain", f"fetching {what} ({pin.requirement}, {size})"))
    folder = partial / "download"
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    installer.run(
        python,
        [*arguments, "--dest", str(folder), pin.requirement],
        purpose=f"{what} cannot be fetched",
        next_step=_offline_steps(pin),
    )
    file = folder / pin.file
    if file.is_file():
        return file
    got = ", ".join(sorted(f.name for f in folder.iterdir())) or "nothing"
    raise ToolchainError(
        f"pip gave {got} instead of {pin.file}",
        cause="the package index or wheel folder holds another build of it",
        next_step=_offline_steps(pin),
    )


def _offline_steps(pin: WheelPin) -> str:
    return (
        f"on a machine with network: pip download --no-deps --only-binary :all: {pin.requirement} "
        f"-d DIR; then here either set PIP_FIND_LINKS=DIR, or copy {pin.file} to "
        f"{cache.root() / 'wheels'}"
    )


def _check_digest(pin: WheelPin, file: Path) -> None:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() == pin.sha256:
        return
    size = file.stat().st_size
    raise ToolchainError(
        f"{file}: sha256 is {digest.hexdigest()} ({size} bytes), expected {pin.sha256} "
        f"({pin.size_bytes} bytes)",
        cause="a truncated or altered file" if size != pin.size_bytes else "an altered file",
        next_step=f"remove it, and pip's copy with `pip cache remove {pin.wheel}`; then try again",
        path=file,
    )


def _unpack(pin: WheelPin, file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(pin.keeps):
                path = Path(archive.extract(entry, folder))
                # zipfile drops the run bits that the program and its helpers need.
                runs = (entry.external_attr >> 16) & 0o111 or entry.filename == pin.program
                if runs and not entry.is_dir():
                    path.chmod(0o755)


def runs_here(pin: WheelPin) -> bool:
    """Say whether this machine's C library is new enough for it."""
    name, version = platform.libc_ver()
    return name == "glibc" and _numbers(version) >= _numbers(pin.glibc)


def _check_glibc(pin: WheelPin) -> None:
    if runs_here(pin):
        return
    name, version = platform.libc_ver()
    have = f"{name} {version}".strip() or "another C library"
    raise ToolchainError(
        f"{pin.name} {pin.release} needs glibc {pin.glibc} or newer; this machine has {have}",
        next_step="use Debian 12, Ubuntu 22.04 or newer, or a container image of one of them",
    )


def _folder(pin: WheelPin) -> str:
    return _FOLDERS.get(pin.name, pin.name)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
