"""Publishing: staged versions become visible together, or not at all.

A publication is a list of moves between a staging folder and the repository.
The moves are written to a journal and fsynced before the first of them is
made. After a crash the next command that takes the lock finds the journal and
finishes the moves; before the journal is written, nothing in the repository has
changed. So a crash at any point leaves the old state or the new one.

Staging lies beside the repository, on the same file system, because Triton in
poll mode takes every folder inside the repository for a model.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from modelport.errors import PublishError
from modelport.repository import journal
from modelport.repository.journal import JOURNAL, Move, fsync, staging_root, write_synced

__all__ = [
    "JOURNAL",
    "LOCK",
    "Move",
    "apply",
    "discard",
    "explained",
    "finish",
    "generation",
    "likely_cause",
    "locked",
    "new_stage",
    "new_stage_locked",
    "recover",
    "staging_root",
    "write_synced",
]

LOCK = ".modelport.lock"
_LOCK_TIMEOUT_S = 120.0
# Commands that leave nothing to look at or to go on from: the next of any kind clears up
# after one that was killed. Builders' labels are theirs, and a pull goes on where it ended.
_PASSING = ("gc", "promote", "sign", "store", "trial")


def new_stage(repository: Path, label: str) -> Path:
    """Make an empty staging folder; those of the same label whose maker is gone are removed.

    Raises:
        PublishError: the folder cannot be made, or lies on another file system.
    """
    with explained(repository, "stage"):
        repository.mkdir(parents=True, exist_ok=True)
    # What a crash left half moved lies in a staging folder: finished before any is removed.
    with locked(repository):
        return new_stage_locked(repository, label)


def new_stage_locked(repository: Path, label: str) -> Path:
    """Make a staging folder as :func:`new_stage` does; the caller holds the lock."""
    root = staging_root(repository)
    with explained(repository, "stage"):
        stage = root / f"{label}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        while not stage.is_dir():
            root.mkdir(exist_ok=True)
            # A publisher that ends takes the empty root away, at any moment and without the lock.
            with suppress(FileNotFoundError):
                stage.mkdir()
        for old in root.iterdir():
            if old.name.rsplit(".", 2)[0] in (label, *_PASSING) and not _alive(old.name):
                shutil.rmtree(old, ignore_errors=True)
    if stage.stat().st_dev != repository.stat().st_dev:
        stage.rmdir()
        raise PublishError(
            f"{root} and {repository} lie on different file systems",
            cause="the repository is a mount point, so a version cannot be renamed into it",
            next_step="use a folder below the mount point as the repository",
            path=root,
        )
    return stage


def discard(repository: Path, stage: Path) -> None:
    """Remove a staging folder, and the staging root when that was the last.

    One that the journal still needs stays: the next publication moves it.
    """
    with suppress(PublishError):
        if any(move.staged.is_relative_to(stage.resolve()) for move in journal.read(repository)):
            return
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.parent.rmdir()
    except OSError:  # others are staging there, or it is gone already
        return


def generation(repository: Path) -> tuple[int, bool]:
    """Give what differs from before once something was published, or while it is."""
    # Each publication makes and removes its journal there.
    return repository.stat().st_mtime_ns, journal.pending(repository)


@contextmanager
def locked(repository: Path, *, finishing: bool = True) -> Iterator[None]:
    """Hold the repository's publishing lock, after finishing what a crash left behind.

    Args:
        repository: where.
        finishing: False for who only reads.

    Raises:
        PublishError: another publisher holds the lock for two minutes.
    """
    lock = FileLock(repository / LOCK)
    try:
        with explained(repository, "lock"):
            lock.acquire(timeout=_LOCK_TIMEOUT_S)
    except Timeout as error:
        raise PublishError(
            f"{repository}: another process has been publishing for {_LOCK_TIMEOUT_S:.0f} s",
            next_step="wait for it, or end it",
            path=repository,
        ) from error
    try:
        if finishing:
            recover(repository)
        yield
    finally:
        lock.release()


def apply(repository: Path, moves: list[Move]) -> None:
    """Make all moves, or none; the caller holds the lock.

    Raises:
        PublishError: another publisher was first, or the disk refused before the
            journal was complete: nothing changed. Or it refused afterwards: the next
            publication finishes this one.
    """
    _refuse_taken(moves)
    with explained(repository, "publish"):
        for move in moves:
            if not move.out:
                _fsync_tree(move.staged)
        journal.write(repository, moves)
    recover(repository)


def recover(repository: Path) -> bool:
    """Finish the moves of a publication that a crash cut short; say whether there was one.

    Raises:
        PublishError: the disk refuses, or the journal is none of Modelport's.
    """
    if not journal.pending(repository):
        return False
    finish = "mend that and run the same command again, which finishes it"
    with explained(repository, "finish what was begun", next_step=finish):
        fsync(repository)
        moves = journal.read(repository)
        for move in moves:
            move.make()
        fsync(repository)
        # Not synced: should a power cut bring it back, its moves find nothing left to do.
        (repository / JOURNAL).unlink()
        for stage in {_stage_of(repository, move) for move in moves}:
            if not _alive(stage.name):
                discard(repository, stage)
    return True


def finish(repository: Path) -> None:
    """Finish what a crash left behind, if there is anything; raises :class:`PublishError`."""
    if journal.pending(repository):
        with locked(repository):
            return


def likely_cause(error: OSError) -> str | None:
    """Say in words why the file system refused; None where its own words have to do."""
    causes = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "a file would be larger than this process may write (ulimit -f)",
        errno.EACCES: "this user may not write there",
        errno.EPERM: "this user may not write there",
        errno.EROFS: "the file system is mounted read-only",
    }
    return causes.get(error.errno or 0)


@contextmanager
def explained(
    repository: Path,
    doing: str,
    next_step: str = "mend that and run the same command again; the repository is as it was",
) -> Iterator[None]:
    """Turn what the file system refuses into a :class:`PublishError` with its likely cause."""
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"{repository}: could not {doing}: {error.strerror or error}",
            cause=likely_cause(error),
            next_step=next_step,
            path=repository,
        ) from error


def _refuse_taken(moves: list[Move]) -> None:
    """Refuse to publish a version folder that another publisher has made meanwhile."""
    for move in moves:
        if not move.out and move.staged.is_dir() and move.published.exists():
            raise PublishError(
                f"{move.published}: another publisher made this version meanwhile",
                next_step="run the same command again",
                path=move.published,
            )


def _stage_of(repository: Path, move: Move) -> Path:
    root = staging_root(repository).resolve()
    return root / move.staged.relative_to(root).parts[0]


def _alive(stage_name: str) -> bool:
    _, *maker = stage_name.rsplit(".", 2)
    # One that is named otherwise is none of ours: let it be.
    return len(maker) != 2 or not maker[0].isdecimal() or Path(f"/proc/{maker[0]}").exists()


def _fsync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _fsync_tree(child)
    fsync(path)
