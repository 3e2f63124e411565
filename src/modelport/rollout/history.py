"""The log of promotions: ``promotions.jsonl`` in the repository, one JSON object a line.

Each entry holds the digest of the one before and its own, so that an entry which was
edited, left out or put between others is found. What an attacker cannot forge without
notice is the past of an entry that somebody else has seen; whoever may write the whole
file can write another history, so keep a copy of the last digest elsewhere (``history``
shows it).
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelport.errors import IntegrityError
from modelport.repository import digests, publish
from modelport.repository.layout import Repository

FILE_NAME = "promotions.jsonl"
NOTHING = "0" * 64


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Switched(_Part):
    """The versions of one model that served before, and the one that serves since."""

    before: list[int]
    after: int


class Compared(_Part):
    """One figure of the version that served and of the one that serves since."""

    before: float | None
    after: float | None


class Entry(_Part):
    """One promotion or roll back.

    Attributes:
        number: 1 for the first entry.
        time: UTC; never before that of the entry before, whatever the clock says.
        who: user and host.
        model: the model that was named; ``changes`` holds all that changed with it.
        reason: why, in the words of who did it.
        overruled: what stood against it, where ``--force`` was given.
        figures: model to figure to its values before and after.
        previous: digest of the entry before.
        digest: of this entry without this field.
    """

    number: int = Field(ge=1)
    time: datetime
    who: str
    action: Literal["promote", "rollback"]
    model: str
    version: int
    reason: str = ""
    overruled: list[str] = Field(default_factory=list)
    changes: dict[str, Switched]
    figures: dict[str, dict[str, Compared]] = Field(default_factory=dict)
    previous: str
    digest: str

    def sealed(self) -> Entry:
        """Give the entry with its digest."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def computed_digest(self) -> str:
        """Digest everything but the digest."""
        return digests.of_value(self.model_dump(mode="json", exclude={"digest"}))


def read(repository: Path) -> list[Entry]:
    """Read the log, and hold each entry against the one before; empty where there is none.

    Raises:
        IntegrityError: an entry was altered, left out or added; the message names its line.
    """
    path = repository / FILE_NAME
    if not path.is_file():
        return []
    entries: list[Entry] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = _parsed(path, number, line)
        previous = entries[-1].digest if entries else NOTHING
        if entry.digest != entry.computed_digest():
            raise _tampered(path, number, "does not fit its digest: it was altered")
        if entry.previous != previous or entry.number != number:
            raise _tampered(path, number, "does not follow the line before: one is missing or new")
        entries.append(entry)
    return entries


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
    lines = [one.model_dump_json() for one in [*entries, entry]]
    return entry, "".join(f"{line}\n" for line in lines)


def checked(repository: Repository) -> tuple[list[Entry], list[str]]:
    """Read the log, and give it with its :func:`disagreements`.

    A promotion between the two looks like one, and so does one that was cut short: before
    anything is said, it is finished and looked at again.

    Raises:
        IntegrityError: the log was tampered with.
        PublishError: the disk refuses what is to be finished.
    """
    entries = read(repository.path)
    if found := disagreements(repository, entries):
        with publish.locked(repository.path):
            entries = read(repository.path)
            found = disagreements(repository, entries)
    return entries, found


def disagreements(repository: Repository, entries: Sequence[Entry]) -> list[str]:
    """Say where the version policies on disk are not what the log ends with.

    An entry taken off the end leaves a chain that holds; the policies tell.
    """
    last = {name: switched.after for entry in entries for name, switched in entry.changes.items()}
    found = []
    for name, version in sorted(last.items()):
        folder = repository.folder(name)
        served = folder.served_versions() if folder.config_path.is_file() else []
        if served != [version]:
            words = ", ".join(map(str, served)) or "nothing"
            found.append(f"{name}: the log says {version} serves, config.pbtxt says {words}")
    return found


def _parsed(path: Path, number: int, line: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        raise _tampered(path, number, f"is no entry: {error.errors()[0]['msg']}") from error


def _tampered(path: Path, number: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"{path}, line {number}: the entry {what}",
        cause="the log was edited; Modelport only appends to it",
        next_step="compare it with a copy, such as the one in version control or in the store",
        path=path,
        line=number,
    )


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
