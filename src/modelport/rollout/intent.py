"""The note of what is about to change, from before the first server switches until all agree.

Where a promotion is killed in between, a server may be ahead of the disk. The next promotion or
roll back finds the note, and has the servers serve what the disk says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from modelport.errors import LoadError
from modelport.repository import journal, publish
from modelport.repository.layout import Repository
from modelport.rollout import switch
from modelport.runtime import servers
from modelport.runtime.servers import RunningServer

INTENT = ".modelport.rollout"
Tell = Callable[[str], None]


@contextmanager
def noted(
    repository: Repository, stage: Path, names: Sequence[str]
) -> Iterator[dict[RunningServer, float]]:
    """Keep the note until server and disk agree, on what was or on what shall be.

    Yields:
        To be filled: the servers that have switched, with the seconds that it took. They switch
        back on an error, unless the disk has its journal: then the next command goes on.

    Raises:
        PublishError: the disk refuses the note; nothing has changed.
    """
    note = repository.path / INTENT
    with publish.explained(repository.path, "note what is to change"):
        # By a rename, so that nobody ever reads half of it.
        publish.write_synced(stage / INTENT, json.dumps(sorted(names)))
        (stage / INTENT).replace(note)
    switched: dict[RunningServer, float] = {}
    try:
        yield switched
    except BaseException:
        if not journal.pending(repository.path):
            # Where that fails the note stays, and the next promotion tries again.
            with suppress(LoadError, OSError):
                for server in switched:
                    switch.align(server, repository, names)
                note.unlink()
        raise
    with suppress(OSError):
        note.unlink()


def recover(repository: Repository, tell: Tell) -> None:
    """Bring server and disk together after a switch that was cut short.

    Raises:
        LoadError: a running server refuses.
        PublishError: the disk does, or another process holds the lock.
    """
    if cut_short(repository.path):
        with publish.locked(repository.path):
            recover_locked(repository, tell)


def recover_locked(repository: Repository, tell: Tell) -> None:
    """As :func:`recover`; the caller holds the lock, so the journal is finished."""
    if not cut_short(repository.path):
        return
    names = _names(repository)
    for server in servers.running(repository.path):
        tell(f"a promotion was cut short: {server.endpoints.http} serves what the disk says again")
        switch.align(server, repository, names)
    with publish.explained(repository.path, "remove the note of what was to change"):
        (repository.path / INTENT).unlink()


def cut_short(repository: Path) -> bool:
    """Say whether a switch was cut short and nobody has seen to it yet."""
    return (repository / INTENT).is_file()


def _names(repository: Repository) -> list[str]:
    """Read which models were about to change; all of them, where the file is damaged."""
    try:
        return [str(name) for name in json.loads((repository.path / INTENT).read_bytes())]
    except (ValueError, TypeError):
        return [folder.name for folder in repository.models()]
