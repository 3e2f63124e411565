"""Building a published version again, apart from everything, and comparing the two.

The rebuilding happens in a repository and a cache of steps of its own, so that a network is
trained again and nothing published is touched. Where the files are not the same to the bit, the
rebuilt models are served and asked the samples that the published version keeps, and what the
two builds did not have in common is named.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelport.build import selection, steps
from modelport.build.model_files import CODE
from modelport.build.steps import Listener, Progress, Report
from modelport.errors import BuilderError, GateError, LoadError, RepositoryError
from modelport.repository.build_environment import FILE_NAME as ENVIRONMENT
from modelport.repository.build_environment import BuildEnvironment
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import Manifest
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Samples
from modelport.runtime.server import Server
from modelport.spec.parts import Tolerance
from modelport.verify import through_server
from modelport.verify.parity import Parity

# How many packages of other versions are named.
_NAMED = 5


@dataclass(frozen=True)
class Compared:
    """One model, published and rebuilt.

    Attributes:
        version: the published one.
        files: path to how the rebuilt file differs; empty when all are the same to the bit.
        parity: the rebuilt model's answers against those that the published version keeps; None
            when it was not asked, because nothing differs.
    """

    model: str
    version: int
    files: Mapping[str, str]
    parity: Parity | None = None

    @property
    def equal(self) -> bool:
        """Say whether it is the same, to the bit or within its tolerance."""
        return self.parity is None or not self.parity.problems


@dataclass(frozen=True)
class Rebuilt:
    """What came of it.

    Attributes:
        models: the version asked for, and those that it runs.
        reasons: what the two builds did not have in common.
    """

    models: Sequence[Compared]
    reasons: Sequence[str]

    @property
    def same(self) -> bool:
        """Say whether every file is the same to the bit."""
        return not any(model.files for model in self.models)

    @property
    def equal(self) -> bool:
        """Say whether all is the same to the bit, or equal within the tolerance."""
        return all(model.equal for model in self.models)


def rebuild(
    repository: Repository,
    name: str,
    version: int,
    *,
    builders: Path,
    listener: Listener = lambda _: None,
    data: Path | None = None,
) -> Rebuilt:
    """Build a version and what it runs again, and compare.

    Args:
        repository: holds the version; it is only read.
        name: of the model.
        version: which one.
        builders: folder of builder files, or the one that built it.
        listener: hears of every step.
        data: the data that it was built on, if it was built with ``--data``.

    Raises:
        RepositoryError: there is no such version.
        BuildError: the builder is not there, or cannot build it any more.
        RuntimeFault: tritonserver cannot be had or does not load what was rebuilt.
    """
    published = dict(_with_parts(repository, name, version))
    builder = _builder(builders, published[name])
    with _apart() as place:
        target = Repository(place / "repository")
        _copy_code(repository, target, published)
        # Imports torch, which takes seconds: only when there is something to do.
        from modelport.build.builder_file import build_file
        from modelport.build.work import Choice

        choices = {name: Choice(manifest.precision) for name, manifest in published.items()}
        quiet = _unpublished(listener)
        with steps.kept_in(place / "steps"):
            build_file(builder, target, quiet, keep_edits=False, data=data, choices=choices)
        found = [_compared(target, manifest) for manifest in published.values()]
        if any(model.files for model in found):
            found = _asked(repository, target, published, found)
        return Rebuilt(found, list(_reasons(repository, target, published[name], found)))


def _unpublished(listener: Listener) -> Listener:
    """Keep quiet of the publication, which nobody will see."""

    def heard(event: Report | Progress) -> None:
        if event.step != "publish":
            listener(event)

    return heard


@contextmanager
def _apart() -> Iterator[Path]:
    """Make a folder to build in; it is kept for inspection when the proof in it failed."""
    place = Path(tempfile.mkdtemp(prefix="modelport-rebuild-"))
    try:
        yield place
    except (GateError, LoadError):
        raise
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)


def _with_parts(repository: Repository, name: str, version: int) -> Iterator[tuple[str, Manifest]]:
    """Give the manifests of a version and of all that it runs, as it was proven with them."""
    waiting = [(name, version)]
    seen: set[str] = set()
    while waiting:
        model, number = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        manifest = _manifest(repository.model(model), number)
        yield model, manifest
        for part in manifest.runs:
            known = manifest.parts.get(part)
            waiting.append((part, known or _then(repository.model(part), manifest)))


def _manifest(folder: ModelFolder, version: int) -> Manifest:
    if version in folder.proven_versions():
        return folder.manifest(version)
    raise RepositoryError(
        f"{folder.path}: there is no proven version {version}",
        cause=f"it has {', '.join(map(str, folder.proven_versions())) or 'none'}",
        next_step=f"modelport models --repository {folder.path.parent}",
        model=folder.name,
        version=version,
    )


def _then(folder: ModelFolder, whole: Manifest) -> int:
    """Find the version of a part that was the newest when the whole was built.

    Manifests of before the parts' versions stood in them lack it.
    """
    proven = folder.proven_versions()
    older = [v for v in proven if folder.manifest(v).created <= whole.created]
    return (older or proven or [1])[-1]


def _builder(builders: Path, manifest: Manifest) -> Path:
    """Find the builder file by the name that the manifest knows."""
    name = Path(manifest.builder.path).name
    if manifest.plan is not None:
        raise BuilderError(
            f"{manifest.model} version {manifest.version} is a TensorRT plan, compiled from version"
            f" {manifest.derived_from}",
            next_step=f"modelport rebuild {manifest.model} {manifest.derived_from}",
            model=manifest.model,
        )
    if name == CONFIG:
        raise BuilderError(
            f"{manifest.model} version {manifest.version} was published from a model folder, as it"
            " was, so there is nothing to build",
            next_step="modelport publish FOLDER --dry-run proves the folder again, and says whether"
            " it is the same",
            model=manifest.model,
        )
    if not name.endswith(".py"):
        raise BuilderError(
            f"{manifest.model} version {manifest.version} was imported from {name}, so there is"
            " nothing to train",
            next_step=f"compare the digest of {name} with {manifest.builder.sha256[:12]}…",
            model=manifest.model,
        )
    found = [path for path in selection.files(builders) if path.name == name]
    if found or builders.is_file():
        return found[0] if found else builders
    raise BuilderError(
        f"{builders}: there is no {name}, which built {manifest.model} version {manifest.version}",
        cause=f"it was built from {manifest.builder.path}"
        + (f" at commit {manifest.git_commit}" if manifest.git_commit else ""),
        next_step="--builders FOLDER, with the builder files of that commit",
        path=builders,
    )


def _copy_code(
    repository: Repository, target: Repository, published: Mapping[str, Manifest]
) -> None:
    """Put the code of Python models where a build looks for it: that of their versions."""
    for folder in repository.models():
        manifest = published.get(folder.name)
        place = folder.version_dir(manifest.version) if manifest else folder.path
        if (place / CODE).is_file():
            copy = target.folder(folder.name).path / CODE
            copy.parent.mkdir(parents=True)
            shutil.copyfile(place / CODE, copy)


def _compared(target: Repository, published: Manifest) -> Compared:
    """Compare digests; files that say only where the build was are left out."""
    folder = target.folder(published.model)
    if not folder.path.is_dir() or not folder.proven_versions():
        raise BuilderError(
            f"the builder declares no model {published.model!r} any more",
            next_step="--builders FOLDER, with the builder files of the version's commit",
            model=published.model,
        )
    rebuilt = folder.manifest(folder.proven_versions()[-1])
    new = {entry.path: entry for entry in rebuilt.files}
    files = {}
    for old in published.files:
        if old.path == ENVIRONMENT:
            continue
        if old.path not in new:
            files[old.path] = "the rebuilt version has none"
        elif new[old.path].sha256 != old.sha256:
            files[old.path] = f"{old.sha256[:12]}… published, {new[old.path].sha256[:12]}… rebuilt"
    return Compared(published.model, published.version, files)


def _asked(
    repository: Repository,
    target: Repository,
    published: Mapping[str, Manifest],
    found: Sequence[Compared],
) -> list[Compared]:
    """Serve the rebuilt models and ask those that differ, and the one that runs them."""
    whole = found[0].model
    ask = {model.model for model in found if model.files} | {whole}
    names = list(published)
    with Server.start(target.path, models=names, listed=False, response_cache=False) as server:
        return [
            Compared(one.model, one.version, one.files, _parity(server, repository, published, one))
            if one.model in ask
            else one
            for one in found
        ]


def _parity(
    server: Server, repository: Repository, published: Mapping[str, Manifest], one: Compared
) -> Parity:
    bound = published[one.model].proof.tolerance
    samples = Samples.read(repository.folder(one.model).version_dir(one.version) / SAMPLES)
    tolerance = Tolerance(bound.absolute, bound.relative)
    urls = [server.endpoints.grpc]
    return through_server.parity(urls, one.model, samples, tolerance, concurrencies=(1,))


def _reasons(
    repository: Repository, target: Repository, published: Manifest, found: Sequence[Compared]
) -> Iterator[str]:
    """Name what differs between the two builds, if a file does."""
    if not any(model.files for model in found):
        return
    folder = target.folder(published.model)
    rebuilt = folder.manifest(folder.proven_versions()[-1])
    facts = [*_origins(published, rebuilt)]
    old = BuildEnvironment.read(repository.folder(published.model).version_dir(published.version))
    new = BuildEnvironment.read(folder.version_dir(rebuilt.version))
    if old is not None and new is not None:
        facts += _surroundings(old, new)
    facts += _packages(published.dependencies, rebuilt.dependencies, "a package of the build")
    if old is not None and new is not None:
        others = {n: v for n, v in old.packages.items() if n not in published.dependencies}
        facts += _packages(others, new.packages, "another package")
    yield from facts or ["nothing that is recorded: the build itself is not repeatable here"]


def _origins(old: Manifest, new: Manifest) -> Iterator[str]:
    if old.builder.sha256 != new.builder.sha256:
        yield f"{old.builder.path} has changed since"
    if old.git_commit != new.git_commit:
        then, now = old.git_commit or "no commit", new.git_commit or "none"
        yield f"built at {then}, rebuilt at {now}"
    elif old.git_commit and old.git_commit.endswith("-dirty"):
        yield f"the builder file had changes that are in no commit ({old.git_commit})"
    now_read = {(entry.source, entry.sha256) for entry in new.data}
    for entry in old.data:
        if (entry.source, entry.sha256) not in now_read:
            yield f"other data in place of {entry.source} ({entry.sha256[:12]}…)"
    if old.seed != new.seed:
        yield f"seed {old.seed}, rebuilt with {new.seed}"


def _surroundings(old: BuildEnvironment, new: BuildEnvironment) -> Iterator[str]:
    for name in ("cpu", "cores", "python", "platform"):
        then, now = getattr(old, name), getattr(new, name)
        if then != now:
            yield f"{name}: {then}, rebuilt on {now}"


def _packages(old: Mapping[str, str], new: Mapping[str, str], title: str) -> list[str]:
    other = [name for name, version in old.items() if new.get(name) != version]
    shown = [f"{title}: {n} {old[n]}, rebuilt with {new.get(n, 'none')}" for n in other[:_NAMED]]
    more = len(other) - _NAMED
    return [*shown, f"{title}: {more} more"] if more > 0 else shown
