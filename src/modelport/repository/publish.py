"""Publishing: staged versions become visible together, or not at all.

A publication is a list of moves from a staging folder into the repository.
The moves are written to a journal and fsynced before the first of them is
made. After a crash the next publication finds the journal and finishes the
moves; before the journal is written, nothing in the repository has changed.
So a crash at any point leaves the old state or the new one.

Staging lies beside the repository, on the same file system, because Triton in
poll mode takes every folder inside the repository for a model.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from modelport.errors import PublishError

LOCK = ".modelport.lock"
JOURNAL = ".modelport.journal"
_LOCK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Move:
    """One rename: ``staged`` (in the staging folder) becomes ``published`` (in the repository)."""

    staged: Path
    published: Path


def staging_root(repository: Path) -> Path:
    """Folder that holds everything staged for a repository."""
    repository = repository.resolve()
    return repository.parent / f".{repository.name}.staging"


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
        for old in root.glob(f"{label}.*"):
            if not _alive(old.name):
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
        if any(staged.is_relative_to(stage) for staged, _ in _journal_moves(repository)):
            return
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.parent.rmdir()
    except OSError:  # others are staging there, or it is gone already
        return


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Hold the repository's publishing lock, after finishing what a crash left behind.

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
    journal = repository / JOURNAL
    with explained(repository, "publish"):
        for move in moves:
            _fsync_tree(move.staged)
        record = [_relative(repository, move) for move in moves]
        partial = journal.with_suffix(".partial")
        try:
            write_synced(partial, json.dumps(record))
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(journal)
        _fsync(repository)
    recover(repository)


def recover(repository: Path) -> bool:
    """Finish the moves of a publication that a crash cut short; say whether there was one.

    Raises:
        PublishError: the disk refuses, or the journal is none of Modelport's.
    """
    journal = repository / JOURNAL
    if not journal.is_file():
        return False
    finish = "mend that and run the same command again, which finishes it"
    with explained(repository, "finish publishing", next_step=finish):
        for staged, published in _journal_moves(repository):
            _move(staged, published)
        _fsync(repository)
        journal.unlink()
        _fsync(repository)
    return True


def finish(repository: Path) -> None:
    """Finish what a crash left behind, if there is anything; raises :class:`PublishError`."""
    if (repository / JOURNAL).is_file():
        with locked(repository):
            return


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
        causes = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "a file would be larger than this process may write (ulimit -f)",
            errno.EACCES: "this user may not write there",
            errno.EPERM: "this user may not write there",
            errno.EROFS: "the file system is mounted read-only",
        }
        raise PublishError(
            f"{repository}: could not {doing}: {error.strerror or error}",
            cause=causes.get(error.errno or 0),
            next_step=next_step,
            path=repository,
        ) from error


def _relative(repository: Path, move: Move) -> tuple[str, str]:
    staged = move.staged.resolve().relative_to(staging_root(repository))
    published = move.published.resolve().relative_to(repository.resolve())
    return staged.as_posix(), published.as_posix()


def _refuse_taken(moves: list[Move]) -> None:
    """Refuse to publish a version folder that another publisher has made meanwhile."""
    for move in moves:
        if move.staged.is_dir() and move.published.exists():
            raise PublishError(
                f"{move.published}: another publisher made this version meanwhile",
                next_step="run the same command again",
                path=move.published,
            )


def _journal_moves(repository: Path) -> list[tuple[Path, Path]]:
    """Read the journal, all of it before anything is moved; empty without one."""
    journal = repository / JOURNAL
    if not journal.is_file():
        return []
    try:
        record = [(str(old), str(new)) for old, new in json.loads(journal.read_bytes())]
    except (ValueError, TypeError) as error:
        raise _foreign_journal(repository, f"the publishing journal is damaged: {error}") from error
    staging = staging_root(repository)
    return [
        (_inside(repository, staging, s), _inside(repository, repository, p)) for s, p in record
    ]


def _inside(repository: Path, root: Path, relative: str) -> Path:
    """Join, refusing a path that leaves ``root``: a journal may come with a foreign repository."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise _foreign_journal(repository, f"{relative!r} in the publishing journal leaves {root}")
    return path


def _foreign_journal(repository: Path, what: str) -> PublishError:
    return PublishError(
        f"{repository}: {what}",
        cause="the journal was not written by Modelport",
        next_step=f"look at {repository / JOURNAL}, and delete it",
        path=repository / JOURNAL,
    )


def _move(staged: Path, published: Path) -> None:
    """Rename once; a repeated call finds nothing staged and does nothing."""
    if not staged.exists():
        return
    published.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(published)
    _fsync(published.parent)


def _alive(stage_name: str) -> bool:
    pid = stage_name.split(".")[-2]
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()


def write_synced(path: Path, text: str) -> None:
    """Write a file, and return when it is on the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _fsync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _fsync_tree(child)
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
