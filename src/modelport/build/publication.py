"""From candidates to published versions: staged, proven and published together.

Models that belong together, those of a builder file or those that a user names, are
published as one, because an ensemble is right only with the parts that it was proven with.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelport.build import proof
from modelport.build.candidates import Candidate
from modelport.build.steps import Listener, Report
from modelport.errors import GateError, LoadError, PublishError
from modelport.repository import publish as publishing
from modelport.repository.layout import Repository
from modelport.repository.placing import place

Prover = Callable[[Path, Sequence[Candidate], Listener], Iterator[tuple[Candidate, proof.Proven]]]


def publish(
    candidates: Sequence[Candidate],
    published: Mapping[str, int | None],
    repository: Repository,
    listener: Listener,
    *,
    label: str,
    parts: Mapping[str, int] | None = None,
    dry_run: bool = False,
    prove: Prover | None = None,
) -> dict[str, int]:
    """Stage all candidates, prove the new ones together, and publish these.

    Args:
        candidates: of models that belong together, parts first.
        published: the version of each candidate that has its state already; None for a new one.
        repository: where.
        listener: hears of every step.
        label: names the staging folder.
        parts: versions in the repository that candidates run beside one another.
        dry_run: prove them, and leave the repository as it is.
        prove: serves what is staged and asks it; :func:`modelport.build.proof.prove` by default.

    Returns:
        The version of each candidate.

    Raises:
        ConfigError: a config.pbtxt was edited by hand and says something else.
        LoadError, ParityError: a new one is not what it should be; it stays staged.
        PublishError: the disk or another publisher is in the way.
    """
    new = [candidate for candidate in candidates if published[candidate.model.name] is None]
    versions = {name: version for name, version in published.items() if version is not None}
    with _staging(repository, label, apart=dry_run) as stage:
        versions |= {c.model.name: c.next_version(repository) for c in new}
        with publishing.explained(repository.path, "stage"):
            for candidate in candidates:
                candidate.stage(stage, versions[candidate.model.name], repository)
            for name, version in (parts or {}).items():
                place(repository.folder(name), version, stage / name)
        if new:
            _prove(stage, new, {**(parts or {}), **versions}, listener, prove or proof.prove)
        if not dry_run:
            _move(stage, candidates, new, versions, parts or {}, repository, listener)
    return {candidate.model.name: versions[candidate.model.name] for candidate in candidates}


def _move(
    stage: Path,
    candidates: Sequence[Candidate],
    new: Sequence[Candidate],
    versions: Mapping[str, int],
    parts: Mapping[str, int],
    repository: Repository,
    listener: Listener,
) -> None:
    """Publish what is staged, all of it or nothing."""
    start = time.monotonic()
    published = {**parts, **versions}
    for candidate in new:
        del published[candidate.model.name]
    with publishing.locked(repository.path):
        _refuse_removed(published, repository)
        moves = [
            move
            for candidate in candidates
            for move in candidate.moves(stage, versions[candidate.model.name], repository)
        ]
        if moves:
            publishing.apply(repository.path, moves)
    for candidate in new:
        name = candidate.model.name
        listener(Report(name, "publish", f"version {versions[name]}", time.monotonic() - start))


def _refuse_removed(published: Mapping[str, int], repository: Repository) -> None:
    """Refuse to publish what was proven with a version that somebody has removed since."""
    for name, version in published.items():
        version_dir = repository.folder(name).version_dir(version)
        if not version_dir.is_dir():
            raise PublishError(
                f"{version_dir} was removed meanwhile",
                cause="modelport gc ran while this was proven",
                next_step="run the same command again",
                path=version_dir,
            )


def _prove(
    stage: Path,
    new: Sequence[Candidate],
    versions: Mapping[str, int],
    listener: Listener,
    prove: Prover,
) -> None:
    for candidate, found in prove(stage, new, listener):
        name, server = candidate.model.name, proof.server_name()
        version_dir = stage / name / str(versions[name])
        # Bytecode that the private server's interpreter left there.
        shutil.rmtree(version_dir / "__pycache__", ignore_errors=True)
        candidate.manifest(
            version_dir,
            parts={part: versions[part] for part in candidate.model.runs},
            served=found.parity,
            how=proof.how(candidate),
            server=server,
            latency=found.latency,
        ).write(version_dir)
        parity = found.parity
        worst = f"{parity.requests} requests, worst |Δ| {parity.worst_absolute:.2g}"
        listener(Report(name, "prove", f"{worst}, through the server", found.duration_s))


@contextmanager
def _staging(repository: Repository, label: str, *, apart: bool) -> Iterator[Path]:
    """Make a staging folder; it is kept for inspection when the proof in it failed.

    One that is set apart does not touch the repository, and cannot be published from.
    """
    if apart:
        stage = Path(tempfile.mkdtemp(prefix=f"modelport-{label}-"))
    else:
        stage = publishing.new_stage(repository.path, label)
    try:
        yield stage
    except (GateError, LoadError):
        raise
    except BaseException:
        _discard(repository, stage, apart=apart)
        raise
    _discard(repository, stage, apart=apart)


def _discard(repository: Repository, stage: Path, *, apart: bool) -> None:
    if apart:
        shutil.rmtree(stage, ignore_errors=True)
    else:
        publishing.discard(repository.path, stage)
