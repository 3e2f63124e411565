"""The wheel that carries tritonserver: fetched with pip, checked, unpacked into the cache."""

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

# Of the wheel only the server is wanted, not the Python package around it.
_WANTED = ("pytriton/tritonserver/", "nvidia_pytriton.libs/", "nvidia_pytriton-")
_SERVER = "pytriton/tritonserver/bin/tritonserver"


def unpacked(pin: WheelPin) -> Path | None:
    """Give tritonserver's path if the wheel is unpacked already."""
    binary = cache.root() / "triton" / pin.key / _SERVER
    return binary if binary.is_file() else None


def ensure(pin: WheelPin, *, python: Path, on_event: Listener = ignore) -> Path:
    """Give tritonserver's path, after fetching the wheel when it is not there yet.

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
        on_event(Event("toolchain", "another process fetches tritonserver: waiting for it"))

    with cache.lock(f"triton-{pin.key}", on_wait=waiting):
        return unpacked(pin) or _make(pin, python, on_event)


def _make(pin: WheelPin, python: Path, on_event: Listener) -> Path:
    start = time.monotonic()
    target = cache.folder("triton") / pin.key
    # Under the lock, whatever is still called partial was left by a process that died.
    for leftover in target.parent.glob(f"{pin.key}.partial-*"):
        shutil.rmtree(leftover)
    partial = target.with_name(f"{pin.key}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        file = _offered(pin) or _fetch(pin, partial, python, on_event)
        _check_digest(pin, file)
        _unpack(file, partial)
        shutil.rmtree(partial / "download", ignore_errors=True)
        # The rename is what makes it complete: nothing half-unpacked has this name.
        partial.rename(target)
    except OSError as error:
        raise ToolchainError(
            f"{target}: tritonserver cannot be unpacked ({error.strerror or error})",
            next_step="free some space, or set MODELPORT_CACHE to a folder on another disk",
            path=target,
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    took = time.monotonic() - start
    on_event(Event("toolchain", f"tritonserver {pin.triton} unpacked", duration_s=took))
    return target / _SERVER


def _offered(pin: WheelPin) -> Path | None:
    """Give the wheel that a user without network put into the cache."""
    file = cache.root() / "wheels" / pin.file
    return file if file.is_file() else None


def _fetch(pin: WheelPin, partial: Path, python: Path, on_event: Listener) -> Path:
    size = f"{pin.size_bytes / 1e6:.0f} MB"
    on_event(Event("toolchain", f"fetching tritonserver {pin.triton} ({pin.requirement}, {size})"))
    folder = partial / "download"
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    installer.run(
        python,
        [*arguments, "--dest", str(folder), pin.requirement],
        purpose=f"tritonserver {pin.triton} cannot be fetched",
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


def _unpack(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(_WANTED):
                path = Path(archive.extract(entry, folder))
                # zipfile drops the run bits that the server and its stubs need.
                if not entry.is_dir() and (entry.external_attr >> 16) & 0o111:
                    path.chmod(0o755)


def _check_glibc(pin: WheelPin) -> None:
    name, version = platform.libc_ver()
    if name == "glibc" and _numbers(version) >= _numbers(pin.glibc):
        return
    have = f"{name} {version}".strip() or "another C library"
    raise ToolchainError(
        f"tritonserver {pin.triton} needs glibc {pin.glibc} or newer; this machine has {have}",
        next_step="use Debian 12, Ubuntu 22.04 or newer, or a container image of one of them",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
