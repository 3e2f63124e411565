"""The journal of a publication: renames that are made together, or not at all.

It is written before the first rename and removed after the last one. Who finds it makes the
renames that are missing; each can be repeated, because what was moved is not found again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import PublishError

JOURNAL = ".modelport.journal"
_OUT = "out"


@dataclass(frozen=True)
class Move:
    """One rename between the staging folder and the repository.

    Attributes:
        staged: in the staging folder.
        published: in the repository.
        out: it leaves the repository; otherwise it comes into it.
    """

    staged: Path
    published: Path
    out: bool = False

    def make(self) -> None:
        """Rename once; a repeated call finds nothing and does nothing."""
        old, new = (self.published, self.staged) if self.out else (self.staged, self.published)
        if not old.exists():
            return
        new.parent.mkdir(parents=True, exist_ok=True)
        old.replace(new)
        fsync(self.published.parent)


def staging_root(repository: Path) -> Path:
    """Folder that holds everything staged for a repository."""
    repository = repository.resolve()
    return repository.parent / f".{repository.name}.staging"


def pending(repository: Path) -> bool:
    """Say whether there is a journal: renames that are yet to be made."""
    return (repository / JOURNAL).is_file()


def write(repository: Path, moves: Sequence[Move]) -> None:
    """Write the journal; raises OSError, and then there is none."""
    partial = (repository / JOURNAL).with_suffix(".partial")
    try:
        write_synced(partial, json.dumps([_record(repository, move) for move in moves]))
        partial.replace(repository / JOURNAL)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read(repository: Path) -> list[Move]:
    """Read the journal, all of it before anything is moved; empty without one.

    Raises:
        PublishError: it is damaged, or names a path outside of the repository.
    """
    if not pending(repository):
        return []
    try:
        content = (repository / JOURNAL).read_bytes()
        record = [(str(s), str(p), out == [_OUT]) for s, p, *out in json.loads(content)]
    except FileNotFoundError:  # who wrote it has finished meanwhile
        return []
    except (ValueError, TypeError) as error:
        raise _foreign(repository, f"the publishing journal is damaged: {error}") from error
    staging = staging_root(repository)
    return [
        Move(_inside(repository, staging, s), _inside(repository, repository, p), out)
        for s, p, out in record
    ]


def _record(repository: Path, move: Move) -> tuple[str, ...]:
    staged = move.staged.resolve().relative_to(staging_root(repository))
    published = move.published.resolve().relative_to(repository.resolve())
    return (staged.as_posix(), published.as_posix(), *([_OUT] if move.out else []))


def _inside(repository: Path, root: Path, relative: str) -> Path:
    """Join, refusing a path that leaves ``root``: a journal may come with a foreign repository."""
    path = (root / relative).resolve()
    if root.resolve() not in path.parents:
        raise _foreign(repository, f"{relative!r} in the publishing journal leaves {root}")
    return path


def _foreign(repository: Path, what: str) -> PublishError:
    return PublishError(
        f"{repository}: {what}",
        cause="the journal was not written by Modelport",
        next_step=f"look at {repository / JOURNAL}, and delete it",
        path=repository / JOURNAL,
    )


def write_synced(path: Path, text: str) -> None:
    """Write a file, and return when it is on the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def fsync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
