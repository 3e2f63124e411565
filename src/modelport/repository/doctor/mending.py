"""`modelport doctor --fix`: mends what has one right answer, and shows it first.

A config.pbtxt that a builder wrote is left to the builder; in one that people
write, only the characters concerned change. Nothing that holds data is removed,
and no file of a published version is touched.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ConfigError
from modelport.repository import edits, pbtxt, publish
from modelport.repository.doctor import repair as repairs
from modelport.repository.doctor.finding import Finding
from modelport.repository.doctor.repair import DropBytecode, MakeFolder, TextRepair
from modelport.repository.doctor.site import is_bytecode


@dataclass(frozen=True)
class Change:
    """One file or folder that would change."""

    path: Path
    findings: tuple[Finding, ...]
    """What it mends."""
    before: str | None = None
    after: str | None = None
    """Texts of a file; None for a folder that is made or removed."""
    removes: bool = False

    @property
    def diff(self) -> str:
        """What changes, as a unified diff or in a line."""
        if self.before is None or self.after is None:
            return f"{'remove' if self.removes else 'make'} {self.path}\n"
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            fromfile=str(self.path),
            tofile=f"{self.path} (mended)",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def as_json(self) -> dict[str, object]:
        """Give the change as values that JSON can hold."""
        rules = sorted({finding.rule for finding in self.findings})
        return {"path": str(self.path), "rules": rules, "diff": self.diff}


@dataclass(frozen=True)
class Plan:
    """What can be mended, and what is left to a builder."""

    changes: tuple[Change, ...]
    left: tuple[tuple[Finding, str], ...]
    """Findings that could be mended but are not, each with the reason."""


def plan(findings: Sequence[Finding]) -> Plan:
    """Decide what to change; reads, and changes nothing.

    Raises:
        ConfigError: a config.pbtxt cannot be read any more.
    """
    texts: dict[Path, list[Finding]] = {}
    changes: list[Change] = []
    left: list[tuple[Finding, str]] = []
    for finding in findings:
        if any(isinstance(repair, TextRepair) for repair in finding.repairs):
            texts.setdefault(finding.path, []).append(finding)
        for repair in finding.repairs:
            if isinstance(repair, MakeFolder | DropBytecode):
                removes = isinstance(repair, DropBytecode)
                changes.append(Change(repair.path, (finding,), removes=removes))
    for path, concerned in texts.items():
        change = _edit(path, concerned)
        if isinstance(change, str):
            left += [(finding, change) for finding in concerned]
        else:
            changes.append(change)
    return Plan(tuple(changes), tuple(left))


def _edit(path: Path, findings: Sequence[Finding]) -> Change | str:
    """Make the change of one config.pbtxt, or say why not."""
    builder = edits.builder_of(path)
    if builder is not None and not edits.hand_edited(path):
        return f"{path} is written from {builder}: mend it there"
    before = pbtxt.read_text(path)
    after = repairs.apply(before, [repair for f in findings for repair in f.repairs])
    try:
        pbtxt.parse(after, path=path)
    except ConfigError as error:
        return f"the text cannot be changed by itself: {error.what}"
    return Change(path, tuple(findings), before, after)


def carry_out(repository: Path, changes: Sequence[Change]) -> None:
    """Make the changes, under the publishing lock.

    Raises:
        ConfigError: a file changed since it was planned; it is as its writer left it.
        PublishError: the disk refused, or another publisher holds the lock.
    """
    with publish.locked(repository), publish.explained(repository, "mend", next_step="mend that"):
        for change in changes:
            _carry_out(change)


def _carry_out(change: Change) -> None:
    if change.after is not None:
        if pbtxt.read_text(change.path) != change.before:
            raise ConfigError(
                f"{change.path} was changed meanwhile",
                next_step="run the same command again",
                path=change.path,
            )
        edits.replace(change.path, change.after)
    elif not change.removes:
        change.path.mkdir(exist_ok=True)
    elif is_bytecode(change.path):
        for file in change.path.iterdir():
            file.unlink()
        change.path.rmdir()
