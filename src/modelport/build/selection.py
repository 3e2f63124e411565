"""Which builder files are meant: by their names, or by the names of the models in them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from modelport.build import outline
from modelport.errors import BuilderError


def files(folder: Path) -> list[Path]:
    """List the builder files of a folder (or the one file that ``folder`` is).

    Raises:
        BuilderError: there is none.
    """
    found = [folder] if folder.is_file() else sorted(folder.glob("[!_]*.py"))
    if found:
        return found
    raise BuilderError(
        f"{folder}: there is no builder file",
        cause="the path is wrong, or the folder has no .py files",
        next_step="modelport build --builders FOLDER; see docs/your-own-model.md",
        path=folder,
    )


def by_name_only(folder: Path) -> list[Path]:
    """List the files that are left out where no name is given."""
    if not folder.is_dir():  # a file was named
        return []
    return [path for path in sorted(folder.glob("[!_]*.py")) if outline.read(path).by_name_only]


def chosen(builders: Path, names: Sequence[str]) -> list[Path]:
    """Find the files that are asked for.

    Args:
        builders: folder of builder files, or one of them.
        names: models, or stems of builder files; empty for all, as is ``all``, but for those
            that are built by name only.

    Raises:
        BuilderError: a name stands for nothing.
    """
    found = files(builders)
    asked = [name for name in names if name != "all"]
    wanted: set[Path] = set()
    if "all" in names or not names:
        wanted = set(found) - set(by_name_only(builders))
    stems = {path.stem: path for path in found}
    wanted |= {stems[name] for name in asked if name in stems}
    if models := [name for name in asked if name not in stems]:
        wanted |= _holders(models, found)
    return [path for path in found if path in wanted]


def _holders(names: Sequence[str], found: Sequence[Path]) -> set[Path]:
    """Find the files that declare models."""
    declared = {model: path for path in found for model in outline.read(path).models}
    if any(name not in declared for name in names):
        # A name may be computed: then only running the files tells. It imports torch.
        from modelport.build import loader

        declared = {model.name: path for path in found for model in loader.load(path).models}
    for name in names:
        if name not in declared:
            known = sorted({*(path.stem for path in found), *declared})
            near = difflib.get_close_matches(name, known, n=2)
            raise BuilderError(
                f"no builder file declares a model {name!r}",
                cause=f"did you mean {' or '.join(near)}?" if near else None,
                next_step=f"choose among: {', '.join(known)}",
                model=name,
            )
    return {declared[name] for name in names}
