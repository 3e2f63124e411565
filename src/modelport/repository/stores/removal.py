"""Removing from a repository what its store has no more, for ``sync --delete``.

Only what once lay in both is removed: what was never in the store is somebody's work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.repository.layout import ModelFolder
from modelport.repository.settings import Settings
from modelport.repository.stores import face
from modelport.repository.stores.ledger import Ledger
from modelport.repository.stores.work import Change

if TYPE_CHECKING:
    from modelport.repository.stores.incoming import Incoming


@dataclass(frozen=True)
class Removal:
    """What goes of one model.

    Attributes:
        versions: that go; with ``whole``, all that there are.
        whole: the model is gone from the store.
        stays: what this repository still has in common with the store.
    """

    folder: ModelFolder
    versions: tuple[int, ...]
    whole: bool
    stays: frozenset[int] = frozenset()

    def changes(self) -> Iterator[Change]:
        """Say what was removed."""
        for version in self.versions:
            yield Change(self.folder.name, version, "removed", 0, 0)
        if self.whole:
            yield Change(self.folder.name, None, "removed", 0, 0)

    def carry_out(self, stage: Path) -> None:
        """Rename it into a staging folder, so that nothing is ever half there; raises OSError."""
        if self.whole:
            self.folder.path.rename(stage / f"{self.folder.name}.removed")
            return
        for version in self.versions:
            self.folder.version_dir(version).rename(stage / f"{self.folder.name}.{version}.removed")

    def note(self, ledger: Ledger) -> None:
        """Forget what is in neither any more."""
        if self.whole:
            ledger.forget(self.folder.name)
        else:
            ledger.record(self.folder.name, face=None, versions=set(self.stays))


def plan(
    repository: Path, plans: Sequence[Incoming], ledger: Ledger, notes: list[str]
) -> list[Removal]:
    """Say what is to be removed after a pull of everything.

    Raises:
        RepositoryError: modelport.toml cannot be read.
    """
    settings = Settings.read(repository)
    removals = []
    for one in plans:
        known = ledger.versions(one.folder.name)
        known &= set(one.folder.proven_versions()) if one.folder.path.is_dir() else set()
        stays = {*one.wanted, *settings.pinned(one.folder.name), *_serving(one)}
        if versions := sorted(known - stays):
            common = (ledger.versions(one.folder.name) | set(one.wanted)) - set(versions)
            removals.append(Removal(one.folder, tuple(versions), False, frozenset(common)))
    there = {one.folder.name for one in plans}
    for name in ledger.models():
        folder = ModelFolder(repository / name)
        if name not in there and folder.path.is_dir():
            removals += _whole(folder, ledger, settings, notes)
    return removals


def _serving(one: Incoming) -> tuple[int, ...]:
    """Versions that will serve here when the pull is done."""
    if one.side == "theirs" and one.theirs is not None:
        return one.theirs.serves()
    return one.before.serves() if one.before else ()


def _whole(
    folder: ModelFolder, ledger: Ledger, settings: Settings, notes: list[str]
) -> list[Removal]:
    """Remove a model whose every file came from the store or went there."""
    known = face.of_folder(folder, folder.proven_versions())
    ours = {*(known.files if known else ()), *map(str, ledger.versions(folder.name))}
    ours |= {path.split("/")[0] for path in ours}
    others = sorted(path.name for path in folder.path.iterdir() if path.name not in ours)
    if others or settings.pinned(folder.name):
        why = f"it holds {', '.join(others)}" if others else "a version of it is pinned"
        notes.append(f"{folder.name}: not in the store any more, and stays: {why}")
        return []
    return [Removal(folder, tuple(folder.versions()), True)]
