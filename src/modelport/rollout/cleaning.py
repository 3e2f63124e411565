"""What may be removed: versions that nothing serves, needs, or may want back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import plans, publish
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.publish import Move
from modelport.repository.settings import Settings
from modelport.rollout import change, history
from modelport.rollout.serving import by_config, served_by
from modelport.runtime import servers

Reasons = dict[tuple[str, int], str]


@dataclass(frozen=True)
class Removable:
    """A version that nobody needs.

    Attributes:
        size_bytes: what its removal frees.
    """

    model: str
    version: int
    size_bytes: int


@dataclass(frozen=True)
class Found:
    """What stays, with the reason, and what may go."""

    kept: Mapping[tuple[str, int], str]
    removable: Sequence[Removable]


def look(repository: Repository, *, keep: int | None = None) -> Found:
    """Find what may be removed.

    Args:
        repository: where.
        keep: how many of the newest versions of each model stay; by default what
            ``modelport.toml`` says.

    Raises:
        IntegrityError: the log of promotions was tampered with.
        OSError: a running server does not answer, so that nobody knows what it serves.
    """
    settings = Settings.read(repository.path)
    newest = settings.keep.versions if keep is None else keep
    kept: Reasons = {}
    for folder in repository.models():
        _keep_of(folder, settings, newest, kept)
    for server in servers.running(repository.path):
        for model, versions in served_by(server).items():
            _add(kept, model, versions, f"serves at {server.endpoints.http}")
    seen: set[str] = set()
    for entry in reversed(history.read(repository.path)):
        if not seen & entry.changes.keys():
            for model, switched in entry.changes.items():
                _add(kept, model, switched.before, "what a roll back would bring")
        seen |= entry.changes.keys()
    _keep_parts(repository, kept)
    for folder in repository.models():
        _keep_ancestors(folder, kept)
        _keep_with_plans(folder, kept)
    removable = [
        Removable(folder.name, version, _size_bytes(folder.version_dir(version)))
        for folder in repository.models()
        for version in folder.proven_versions()
        if (folder.name, version) not in kept
    ]
    return Found(kept, removable)


def remove(repository: Repository, *, keep: int | None = None) -> Sequence[Removable]:
    """Remove what may be removed: all of it or nothing, each version by one rename.

    Raises:
        IntegrityError: the log of promotions was tampered with.
        OSError: a running server does not answer.
        PublishError: the disk refuses, or another process holds the lock.
    """
    with publish.locked(repository.path):
        # Looked at again: something may have been promoted since it was shown.
        removable = look(repository, keep=keep).removable
        if not removable:
            return ()
        stage = publish.new_stage_locked(repository.path, "gc")
        try:
            moves = [
                Move(
                    stage / one.model / str(one.version),
                    repository.folder(one.model).version_dir(one.version),
                    out=True,
                )
                for one in removable
            ]
            publish.apply(repository.path, moves)
        finally:
            publish.discard(repository.path, stage)
    return removable


def _keep_of(folder: ModelFolder, settings: Settings, newest: int, kept: Reasons) -> None:
    _add(kept, folder.name, by_config(folder), "serves")
    _add(kept, folder.name, settings.pinned(folder.name), "pinned in modelport.toml")
    versions = [v for v in plans.others(folder) if folder.is_proven(v)]
    _add(kept, folder.name, versions[-newest:] if newest else (), f"one of the {newest} newest")


def _keep_ancestors(folder: ModelFolder, kept: Reasons) -> None:
    """Keep what a kept variant was derived from: a build tells by it that the network is the same.

    Plans have a rule of their own.
    """
    for version in [v for v in folder.proven_versions() if (folder.name, v) in kept]:
        with suppress(IntegrityError):
            manifest = folder.manifest(version)
            if manifest.derived_from and manifest.plan is None:
                reason = f"what version {version} in {manifest.precision} was derived from"
                _add(kept, folder.name, [manifest.derived_from], reason)


def _keep_with_plans(folder: ModelFolder, kept: Reasons) -> None:
    """Keep what a kept plan falls back to, and the plans of whatever is kept."""
    found = [(version, manifest.derived_from) for version, manifest, _ in plans.versions(folder)]
    for version, source in found:
        if source and (folder.name, version) in kept:
            _add(kept, folder.name, [source], f"what serves where plan {version} does not fit")
    for version, source in found:
        if (folder.name, source) in kept:
            _add(kept, folder.name, [version], f"a plan of version {source}")


def _keep_parts(repository: Repository, kept: Reasons) -> None:
    """Keep the parts that kept versions were proven with."""
    for model, version in list(kept):
        folder = repository.folder(model)
        if not folder.path.is_dir() or version not in folder.proven_versions():
            continue
        try:
            whole = change.closure(repository, model, version)
        except IntegrityError:
            continue  # it lacks a part already; doctor says so
        for part, of_part in whole.items():
            kept.setdefault((part, of_part), f"a part of {model} {version}")


def _add(kept: Reasons, model: str, versions: Sequence[int], reason: str) -> None:
    for version in versions:
        kept.setdefault((model, version), reason)


def _size_bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another gc takes it meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total
