"""Which model folders are published together, and with which parts of the repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from modelport.build import model_source
from modelport.build.model_source import ModelSource
from modelport.errors import ConfigError, IntegrityError, RepositoryError
from modelport.repository import edits
from modelport.repository.build_environment import FILE_NAME as ENVIRONMENT
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.signature import FILE_NAME as SIGNATURE

# What a version holds beside the files of its model.
_OURS = (MANIFEST, CONFIG, ENVIRONMENT, SAMPLES, SIGNATURE)


@dataclass(frozen=True)
class Selected:
    """What a user named, and what that needs.

    Attributes:
        names: of all models that were named.
        new: those without a proof, parts before what runs them.
        proven: those that lie in the repository with their proof.
        parts: versions of the repository that the new ones run.
    """

    names: Sequence[str]
    new: Sequence[ModelSource]
    proven: Sequence[ModelSource]
    parts: Sequence[ModelSource]

    @property
    def public(self) -> list[str]:
        """Names of the new ones that no other of them runs: what people call."""
        run = {name for source in self.new for name in source.runs}
        return [source.name for source in self.new if source.name not in run]


def select(sources: Sequence[str], repository: Repository, versions: Mapping[str, int]) -> Selected:
    """Find what the user names, and the parts that it runs.

    Args:
        sources: paths or names.
        repository: where they are to be published.
        versions: model to version; under an empty name, of the only source.

    Raises:
        RepositoryError: a folder, version or part is missing, or cannot be published.
        IntegrityError: a version with a proof is not what was proven.
        ConfigError: a config.pbtxt is missing, or is none.
    """
    alone = versions.get("")
    if alone is not None and len(sources) > 1:
        raise RepositoryError(
            f"--version {alone} is given for {len(sources)} models",
            next_step=f"--version NAME={alone}, for the one that is meant",
        )
    found: dict[str, ModelSource] = {}
    for text in sources:
        source = model_source.find(text, repository, versions, default=alone)
        if source.name in found and source != found[source.name]:
            raise RepositoryError(
                f"{found[source.name].folder.path} and {source.folder.path} have one name",
                next_step="publish them one after the other: they are versions of one model",
                model=source.name,
            )
        found[source.name] = source
    if unknown := sorted(versions.keys() - {"", *found}):
        raise RepositoryError(
            f"--version names {unknown[0]!r}, which is not among {', '.join(found)}",
            model=unknown[0],
        )
    new = {name: source for name, source in found.items() if not source.proven}
    for source in found.values():
        _check(source, repository)
    parts = _parts(new, found, repository)
    return Selected(list(found), _parts_first(new), [found[n] for n in found if n not in new],
                    list(parts.values()))  # fmt: skip


@contextmanager
def readable(source: ModelSource) -> Iterator[None]:
    """Name the folder that cannot be read, and why."""
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or source.path}: cannot be read: {error.strerror or error}",
            next_step="check that the file is there, and who may read it",
            path=source.path,
        ) from error


def _check(source: ModelSource, repository: Repository) -> None:
    """Refuse what has another owner, or no place."""
    if source.proven:
        _check_proof(source)
        return
    _refuse_builders(repository.folder(source.name))
    with readable(source):
        names = {entry.name for entry in source.path.iterdir()}
    if MANIFEST in names:
        raise RepositoryError(
            f"{source.path}: it has a proof already ({MANIFEST})",
            cause="Modelport published it, in another repository",
            next_step=f"modelport pull {source.folder.path.parent} {source.name}",
            path=source.path,
        )
    if taken := [name for name in _OURS if name in names]:
        raise RepositoryError(
            f"{source.path / taken[0]}: a version keeps a file of Modelport's own there",
            next_step=f"give {taken[0]} another name, and change what reads it",
            path=source.path / taken[0],
        )
    if source.name.startswith("."):
        raise RepositoryError(f"{source.folder.path}: no model can be named {source.name!r}")


def _check_proof(source: ModelSource) -> None:
    changed = source.folder.manifest(source.version).changed_files(source.path)
    if changed:
        name, how = min(changed.items())
        raise IntegrityError(
            f"{source.path / name}: {how}, so it is not what was proven",
            cause="somebody changed the version after it was published",
            next_step="put the file back; to publish what it is now, copy the folder elsewhere and"
            f" take {', '.join(_OURS[:-1])} out of {source.version}/",
            path=source.path / name,
        )


def _refuse_builders(current: ModelFolder) -> None:
    """Refuse a model that a builder file makes: its next build would answer with its own."""
    if not current.path.is_dir():
        return
    proven = current.proven_versions()
    by = current.manifest(proven[-1]).builder.path if proven else edits.not_built(current)
    if by and by.endswith(".py"):
        raise RepositoryError(
            f"{current.path}: {current.name!r} is built from {by}",
            cause="its next build would publish another version over this one, and the newest"
            " serves",
            next_step="rename the folder, publish into another --repository, or build"
            f" {current.name}",
            model=current.name,
        )


def _parts(
    new: Mapping[str, ModelSource], found: Mapping[str, ModelSource], repository: Repository
) -> dict[str, ModelSource]:
    """Find what the new ones run and nobody publishes with them, and what that runs."""
    parts: dict[str, ModelSource] = {}
    waiting = [(source, name) for source in new.values() for name in sorted(source.runs)]
    while waiting:
        user, name = waiting.pop()
        if name in new or name in parts:
            continue
        parts[name] = found[name] if name in found else _served(user, name, repository)
        manifest = parts[name].folder.manifest(parts[name].version)
        waiting += [(parts[name], part) for part in manifest.runs]
    return parts


def _served(user: ModelSource, name: str, repository: Repository) -> ModelSource:
    """Find the version of a part that serves in the repository."""
    folder = repository.folder(name)
    served = folder.served_versions() if folder.path.is_dir() else []
    if served and folder.is_proven(served[-1]):
        return model_source.of_repository(folder, served[-1])
    beside = user.folder.path.parent / name
    there = f"version {served[-1]}, which serves there, has no proof" if served else "it is none of"
    raise RepositoryError(
        f"{user.folder.config_path}: {user.name!r} runs {name!r}, and "
        + (f"{there}" if served else f"{repository.path} has no such model"),
        cause="a model is proven together with all that it runs",
        next_step="name that folder too: modelport publish "
        + f"{beside if beside.is_dir() else name} {user.folder.path}",
        model=user.name,
        part=name,
    )


def _parts_first(new: Mapping[str, ModelSource]) -> list[ModelSource]:
    graph = {name: source.runs & new.keys() for name, source in new.items()}
    try:
        return [new[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise ConfigError(
            f"models run each other in a circle: {circle}",
            next_step="take one of them out of the circle",
        ) from error
