"""What promotion and roll back do with the log: append to it, and hold it against the disk.

The log as a file, with what its entries hold: :mod:`modelport.repository.promotions`.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from modelport.errors import PublishError
from modelport.repository import publish
from modelport.repository.layout import Repository
from modelport.repository.promotions import FILE_NAME, NOTHING, Compared, Entry, Switched, read
from modelport.rollout.serving import by_config

__all__ = [
    "FILE_NAME",
    "NOTHING",
    "Compared",
    "Entry",
    "Switched",
    "appended",
    "checked",
    "disagreements",
    "dump",
    "read",
]


def appended(
    repository: Path,
    *,
    action: Literal["promote", "rollback"],
    model: str,
    version: int,
    changes: Mapping[str, Switched],
    reason: str,
    overruled: Sequence[str] = (),
    figures: Mapping[str, Mapping[str, Compared]] | None = None,
) -> tuple[Entry, str]:
    """Make the next entry; gives it and the text of the whole log with it.

    Raises:
        IntegrityError: the log as it is was tampered with.
    """
    entries = read(repository)
    last = entries[-1] if entries else None
    now = datetime.now(timezone.utc).replace(microsecond=0)
    entry = Entry(
        number=len(entries) + 1,
        time=max(now, last.time) if last else now,
        who=_who(),
        action=action,
        model=model,
        version=version,
        reason=reason,
        overruled=list(overruled),
        changes=dict(changes),
        figures={name: dict(found) for name, found in (figures or {}).items()},
        previous=last.digest if last else NOTHING,
        digest=NOTHING,
    ).sealed()
    return entry, "".join(f"{one.line().decode()}\n" for one in [*entries, entry])


def checked(repository: Repository) -> tuple[list[Entry], list[str]]:
    """Read the log, and give it with its :func:`disagreements`.

    A promotion between the two looks like one, and so does one that was cut short: before
    anything is said, it is finished and looked at again, unless this user may not write there.

    Raises:
        IntegrityError: the log was tampered with.
    """
    entries = read(repository.path)
    if found := disagreements(repository, entries):
        with suppress(PublishError), publish.locked(repository.path):
            entries = read(repository.path)
            found = disagreements(repository, entries)
    return entries, found


def disagreements(repository: Repository, entries: Sequence[Entry]) -> list[str]:
    """Say where the version policies on disk are not what the log ends with.

    An entry taken off the end leaves a chain that holds; the policies tell. A model that is
    not here serves nothing wrong: it was removed, or never fetched.
    """
    last = {name: switched.after for entry in entries for name, switched in entry.changes.items()}
    found = []
    for name, version in sorted(last.items()):
        folder = repository.folder(name)
        if not folder.path.is_dir():
            continue
        served = by_config(folder)
        if served != (version,):
            words = ", ".join(map(str, served)) or "nothing"
            found.append(f"{name}: the log says {version} serves, config.pbtxt says {words}")
    return found


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run a number that has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def dump(entry: Entry) -> dict[str, object]:
    """Give an entry as plain values."""
    plain: dict[str, object] = json.loads(entry.model_dump_json())
    return plain
