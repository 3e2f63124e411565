"""From builder files to published versions, one builder file at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelport.build import index, selection
from modelport.build.steps import Built, Listener
from modelport.errors import BuilderError
from modelport.repository.layout import Repository


def build(
    names: Sequence[str],
    *,
    builders: Path,
    repository: Path,
    listener: Listener = lambda _: None,
    keep_edits: bool = False,
    data: Path | None = None,
    choose: str | None = None,
) -> list[Built]:
    """Build, prove and publish models; what is unchanged is skipped.

    It does so in this process, one file after the other; :mod:`modelport.build.workers` builds
    several side by side.

    Args:
        names: models, or stems of builder files; empty for all but those built by name only.
        builders: folder of builder files, or one of them.
        repository: the model repository; made when missing.
        listener: hears of every step.
        keep_edits: leave config.pbtxt files that were edited by hand as they are.
        data: the user's own file or folder, in place of the first source of the one builder
            file that is built.
        choose: ``throughput``, ``latency`` or ``size``, or the name of a variant: the variants of
            the networks that are named are judged, and the best is published.

    Raises:
        BuildError: a builder file, its data, its network or its figures are wrong.
        RepositoryError: config.pbtxt or the disk stands in the way.
        RuntimeFault: tritonserver cannot be had or does not load a staged model.
    """
    target = Repository(repository)
    chosen = selection.chosen(builders, names)
    check_data(data, chosen)
    built = []
    for path in chosen:
        kept = None if data or choose else unchanged(path, target)
        built += kept or build_file(
            path, target, listener, keep_edits=keep_edits, data=data, choose=choose, names=names
        )
    return built


def check_data(data: Path | None, chosen: Sequence[Path]) -> None:
    """Refuse one file of data for several builder files; raises :class:`BuilderError`."""
    if data and len(chosen) != 1:
        raise BuilderError(
            f"{data} cannot be the data of {len(chosen)} builder files",
            next_step="name one model: modelport build NAME --data PATH",
        )


def unchanged(path: Path, repository: Repository) -> list[Built]:
    """Give what a builder file gave before if nothing has changed since; torch stays out of it."""
    versions = index.lookup(path, repository) or {}
    return [Built(name, version, new=False) for name, version in versions.items()]


def build_file(
    path: Path,
    repository: Repository,
    listener: Listener,
    *,
    keep_edits: bool = False,
    data: Path | None = None,
    choose: str | None = None,
    names: Sequence[str] = (),
) -> list[Built]:
    """Build one file, whether it has changed or not; arguments and errors as :func:`build`."""
    # Imports torch, which takes seconds: only when there is something to do.
    from modelport.build import builder_file

    return builder_file.build_file(
        path, repository, listener, keep_edits, data=data, choose=choose, names=names
    )
