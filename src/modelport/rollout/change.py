"""What must change together: a model, its parts as they were proven, and who else runs these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest
from modelport.rollout.serving import Serving


@dataclass(frozen=True)
class Change:
    """The version of one model that is to serve, and those that serve now."""

    model: str
    before: tuple[int, ...]
    after: int


@dataclass(frozen=True)
class Target:
    """The versions that are to serve: of the model that was named, and of all that go with it.

    Attributes:
        versions: model to version; also of those that need not change.
        before: model to the versions that serve now, of the same models.
        changes: those that do.
    """

    repository: Repository
    versions: Mapping[str, int]
    before: Mapping[str, tuple[int, ...]]
    changes: tuple[Change, ...]


def target(repository: Repository, model: str, version: int) -> Target:
    """Find what is to serve so that ``model`` answers as this version of it was proven.

    Raises:
        RepositoryError: there is no such model or version, or another model runs a part that
            would change and has no version that was proven with the new one.
        IntegrityError: a version has no manifest, or one that is not what the schema says.
    """
    folder = repository.model(model)
    if version not in folder.versions():
        known = ", ".join(map(str, folder.versions())) or "none"
        raise RepositoryError(
            f"{folder.path}: there is no version {version}; there are {known}",
            next_step=f"modelport versions {model}",
            model=model,
            version=version,
        )
    now = Serving.now(repository)
    wanted = closure(repository, model, version)
    while (other := _another_user(now, wanted)) is not None:
        wanted |= _fitting(now, other, wanted)
    return _target(now, wanted)


def back(repository: Repository, versions: Mapping[str, int]) -> Target:
    """Make a target of versions that served together before."""
    return _target(Serving.now(repository), versions)


def closure(repository: Repository, model: str, version: int) -> dict[str, int]:
    """Give a version with those of all parts that it was proven with."""
    found = {model: version}
    for part, of_part in repository.folder(model).manifest(version).parts.items():
        found |= closure(repository, part, of_part)
    return found


def _target(now: Serving, versions: Mapping[str, int]) -> Target:
    before = {name: now.versions(name) for name in versions}
    changes = [
        Change(name, before[name], version)
        for name, version in sorted(versions.items())
        # A model that serves the newest would serve another one after the next build.
        if before[name] != (version,) or not now.repository.folder(name).promoted
    ]
    return Target(now.repository, versions, before, tuple(changes))


def _another_user(now: Serving, wanted: Mapping[str, int]) -> str | None:
    """Name a model that runs a part of these too, and must go with it now and later."""
    for folder in now.repository.models():
        if folder.name in wanted:
            continue
        manifest = _served_manifest(now, folder)
        if manifest and manifest.parts.keys() & wanted.keys():
            return folder.name
    return None


def _fitting(now: Serving, model: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Find a version that was proven with the parts that are to serve: best what serves, or new."""
    folder = now.repository.folder(model)
    for version in (*now.versions(model), *reversed(folder.proven_versions())):
        try:
            whole = closure(now.repository, model, version)
        except IntegrityError:
            continue
        agrees = all(wanted.get(name, of) == of for name, of in whole.items())
        if agrees and whole.keys() & wanted.keys():
            return whole
    manifest = _served_manifest(now, folder)
    parts = sorted(manifest.parts.keys() & wanted.keys()) if manifest else []
    named = " and ".join(f"{part} {wanted[part]}" for part in parts)
    raise RepositoryError(
        f"{model} runs {named} too, and has no version that was proven with it",
        cause="it would answer with parts that nobody has tried together",
        next_step=f"modelport build {model}, then promote again",
        model=model,
        parts=parts,
    )


def _served_manifest(now: Serving, folder: ModelFolder) -> Manifest | None:
    served = now.versions(folder.name)
    try:
        return folder.manifest(served[-1]) if served else None
    except IntegrityError:
        return None
