"""The log of promotions as a file: ``promotions.jsonl``, one JSON object a line.

Each entry holds the digest of the one before and its own, so that an entry which was
edited, left out or put between others is found. What an attacker cannot forge without
notice is the past of an entry that somebody else has seen; whoever may write the whole
file can write another history, so keep a copy of the last digest elsewhere (``history``
shows it).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelport.errors import IntegrityError
from modelport.repository import digests

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

    def line(self) -> bytes:
        """Give the entry as it stands in the log, without the line's end."""
        return self.model_dump_json().encode()

    def sealed(self) -> Entry:
        """Give the entry with its digest."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def computed_digest(self) -> str:
        """Digest everything but the digest."""
        return digests.of_value(self.model_dump(mode="json", exclude={"digest"}))


def read(repository: Path) -> list[Entry]:
    """Read the log of a repository; empty where there is none.

    Raises:
        IntegrityError: an entry was altered, left out or added; the message names its line.
    """
    path = repository / FILE_NAME
    return parse(path.read_bytes(), str(path)) if path.is_file() else []


def parse(content: bytes, where: str) -> list[Entry]:
    """Read a log, and hold each entry against the one before.

    Args:
        content: of the file.
        where: it lies, for messages.

    Raises:
        IntegrityError: an entry was altered, left out or added; the message names its line.
    """
    entries: list[Entry] = []
    for number, line in enumerate(content.splitlines(), 1):
        entry = _parsed(where, number, line)
        previous = entries[-1].digest if entries else NOTHING
        # Another spelling of the same values, too, is not what was written.
        if entry.digest != entry.computed_digest() or line != entry.line():
            raise _tampered(where, number, "does not fit its digest: it was altered")
        if entry.previous != previous or entry.number != number:
            raise _tampered(where, number, "does not follow the line before: one is missing or new")
        entries.append(entry)
    return entries


def _parsed(where: str, number: int, line: bytes) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        raise _tampered(where, number, f"is no entry: {error.errors()[0]['msg']}") from error


def _tampered(where: str, number: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"{where}, line {number}: the entry {what}",
        cause="the log was edited; Modelport only appends to it",
        next_step="compare it with a copy, such as the one in version control or in the store",
        path=where,
        line=number,
    )
