"""From builder files to published versions, one builder file at a time."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from modelport.build import index
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
) -> list[Built]:
    """Build, prove and publish models; what is unchanged is skipped.

    Args:
        names: models, or stems of builder files; empty for all.
        builders: folder of builder files, or one of them.
        repository: the model repository; made when missing.
        listener: hears of every step.
        keep_edits: leave config.pbtxt files that were edited by hand as they are.
        data: the user's own file or folder, in place of the first source of the one builder
            file that is built.

    Raises:
        BuildError: a builder file, its data, its network or its figures are wrong.
        RepositoryError: config.pbtxt or the disk stands in the way.
        RuntimeFault: tritonserver cannot be had or does not load a staged model.
    """
    target = Repository(repository)
    built = []
    chosen = _chosen(_files(builders), names)
    if data and len(chosen) != 1:
        raise BuilderError(
            f"{data} cannot be the data of {len(chosen)} builder files",
            next_step="name one model: modelport build NAME --data PATH",
        )
    for path in chosen:
        kept = None if data else _unchanged(path, target)
        built += kept or _build_file(path, target, listener, keep_edits, data)
    return built


def _build_file(
    path: Path, repository: Repository, listener: Listener, keep_edits: bool, data: Path | None
) -> list[Built]:
    # Imports torch, which takes seconds: only when there is something to do.
    from modelport.build.builder_file import build_file

    return build_file(path, repository, listener, keep_edits, data=data)


def _unchanged(path: Path, repository: Repository) -> list[Built]:
    versions = index.lookup(path, repository) or {}
    return [Built(name, version, new=False) for name, version in versions.items()]


def _chosen(found: list[Path], names: Sequence[str]) -> list[Path]:
    """Find the files of the models that were asked for."""
    stems = {path.stem: path for path in found}
    if not names or "all" in names:
        return found
    if all(name in stems for name in names):
        return [path for path in found if path.stem in names]
    from modelport.build import loader

    declared = {model.name: path for path in found for model in loader.load(path).models}
    for name in names:
        if name not in stems and name not in declared:
            known = sorted({*stems, *declared})
            near = difflib.get_close_matches(name, known, n=2)
            raise BuilderError(
                f"no builder file declares a model {name!r}",
                cause=f"did you mean {' or '.join(near)}?" if near else None,
                next_step=f"choose among: {', '.join(known)}",
                model=name,
            )
    wanted = {stems.get(name) or declared[name] for name in names}
    return [path for path in found if path in wanted]


def _files(folder: Path) -> list[Path]:
    """List the builder files of a folder (or the one file that ``folder`` is)."""
    files = [folder] if folder.is_file() else sorted(folder.glob("[!_]*.py"))
    if files:
        return files
    raise BuilderError(
        f"{folder}: there is no builder file",
        cause="the path is wrong, or the folder has no .py files",
        next_step="modelport build --builders FOLDER; see docs/your-own-model.md",
        path=folder,
    )
