"""Fetching files of versions: each digested before anything can see it, none fetched twice.

Files are kept by digest in a staging folder beside the repository until they are published.
What a pull that was ended has left there, whole files and beginnings, is taken over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import IntegrityError, PublishError, StoreUnreachableError
from modelport.repository import digests, publish
from modelport.repository.manifest import FileEntry
from modelport.repository.stores.store import CHUNK_BYTES, Store
from modelport.repository.stores.work import Crew

_LABEL = "pull"
_FILES = "files"
_ATTEMPTS = 3


@dataclass(frozen=True)
class Wanted:
    """A file that some version needs, and where it is had.

    Attributes:
        key: in the store.
        local: files of other versions here that have the same digest by their manifests.
    """

    entry: FileEntry
    key: str
    local: tuple[Path, ...] = ()


@contextmanager
def staging(repository: Path) -> Iterator[Path]:
    """Give a staging folder; with an error it stays, and the next pull takes it over."""
    stage = _taken_over(repository)
    yield stage
    publish.discard(repository, stage)


def _taken_over(repository: Path) -> Path:
    """Make a staging folder out of those that killed pulls have left, or a new one."""
    root = publish.staging_root(repository)
    with publish.explained(repository, "stage"):
        repository.mkdir(parents=True, exist_ok=True)
    kept: list[Path] = []
    # Under the lock, which finishes what was half published: nobody needs these any more.
    with publish.locked(repository), publish.explained(repository, "stage"):
        for old in left_behind(repository):
            mine = root / f"{_LABEL}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
            old.rename(mine)
            kept.append(mine)
    stage = kept[0] if kept else publish.new_stage(repository, _LABEL)
    with publish.explained(repository, "stage"):
        (stage / _FILES).mkdir(exist_ok=True)
        for other in kept[1:]:
            for file in (other / _FILES).glob("*"):
                file.replace(stage / _FILES / file.name)
            shutil.rmtree(other, ignore_errors=True)
        for path in stage.iterdir():
            if path.name != _FILES:
                shutil.rmtree(path, ignore_errors=True)
    return stage


def left_behind(repository: Path) -> list[Path]:
    """Find the staging folders of pulls that were ended."""
    root = publish.staging_root(repository)
    return [stage for stage in sorted(root.glob(f"{_LABEL}.*")) if _is_orphan(stage)]


def _is_orphan(stage: Path) -> bool:
    """Say whether its maker is gone; one with our number is an earlier life, as in a container."""
    pid = stage.name.split(".")[-2]
    return not pid.isdecimal() or int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()


def fetch(store: Store, wanted: Wanted, stage: Path, crew: Crew) -> None:
    """Bring one file into the staging folder, digested.

    Raises:
        IntegrityError: the store has something else than the manifest says, or nothing.
        StoreUnreachableError: the connection broke again and again.
        OSError: the disk refused.
    """
    target = stage / _FILES / wanted.entry.sha256
    if target.is_file():
        if digests.of_file(target) == wanted.entry.sha256:
            crew.advance(wanted.entry.size_bytes)
            return
        target.unlink()
    if _copied(wanted, target):
        crew.advance(wanted.entry.size_bytes)
        return
    begun = target.with_suffix(".part")
    _download(store, wanted, begun, crew.advance)
    begun.replace(target)


def place(stage: Path, entry: FileEntry, target: Path) -> None:
    """Put a fetched file where it belongs in the staged version."""
    source = stage / _FILES / entry.sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    # The first version that has it gets the file itself; others copies, as each version is
    # a thing of its own. What is staged stays, so that an ended pull need not fetch it again.
    if source.stat().st_nlink == 1:
        with suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)


def check_space(repository: Path, size_bytes: int) -> None:
    """Refuse early what will not fit on the disk.

    Raises:
        PublishError: it does not.
    """
    free = shutil.disk_usage(repository).free
    if size_bytes > free:
        raise PublishError(
            f"{repository}: {size_bytes / 1e6:.1f} MB are to be fetched, and {free / 1e6:.1f} MB"
            " are free",
            cause="the disk is full",
            next_step="make room, or fetch fewer models, or with --served only what serves",
            path=repository,
        )


def _copied(wanted: Wanted, target: Path) -> bool:
    """Copy the file from another version here, if one has it undamaged."""
    for source in wanted.local:
        with suppress(FileNotFoundError):
            partial = target.with_suffix(".copy")
            shutil.copyfile(source, partial)
            if digests.of_file(partial) == wanted.entry.sha256:
                partial.replace(target)
                return True
            partial.unlink()
    return False


def _download(store: Store, wanted: Wanted, begun: Path, advance: Callable[[int], None]) -> None:
    """Fetch the rest of a file; one that was begun earlier and turns out wrong, all of it."""
    resumed = begun.is_file()
    digest = hashlib.sha256()
    counted = 0

    def count(size_bytes: int) -> None:
        # What is fetched once more does not count twice.
        nonlocal counted
        advance(max(0, min(size_bytes, wanted.entry.size_bytes - counted)))
        counted += size_bytes

    for attempt in range(_ATTEMPTS):
        try:
            digest = _append(store, wanted, begun, count)
        except StoreUnreachableError:
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        if digest.hexdigest() == wanted.entry.sha256:
            return
        begun.unlink()
        if not resumed:
            break
        resumed = False
    raise _lies(store, wanted, f"sha256 {digest.hexdigest()}")


def _append(
    store: Store, wanted: Wanted, begun: Path, count: Callable[[int], None]
) -> hashlib._Hash:
    """Go on where the file ends, and give the digest of all of it."""
    digest, size = hashlib.sha256(), 0
    limit = wanted.entry.size_bytes
    with begun.open("a+b") as file:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        count(size)
        if size < limit:
            try:
                for chunk in store.stream(wanted.key, size):
                    size += len(chunk)
                    if size > limit:
                        break
                    file.write(chunk)
                    digest.update(chunk)
                    count(len(chunk))
            except FileNotFoundError:
                raise _lies(store, wanted, "nothing") from None
    if size > limit:
        begun.unlink()
        raise _lies(store, wanted, f"more than {limit} bytes")
    return digest


def _lies(store: Store, wanted: Wanted, got: str) -> IntegrityError:
    return IntegrityError(
        f"{store.url}/{wanted.key}: {got} instead of {wanted.entry.size_bytes} bytes with sha256"
        f" {wanted.entry.sha256}, as the manifest has it; nothing was published",
        cause="the store damaged or lost it, or somebody changed it",
        next_step=f"remove {wanted.key} from the store, and push the model again from a"
        " repository that has it",
        key=wanted.key,
    )
