"""Which models a generator is meant for: all public ones, some by name, or a builder's."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from modelport.errors import RepositoryError
from modelport.repository import interface
from modelport.repository.interface import Interface
from modelport.repository.layout import Repository

NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
BUILDERS = click.option(
    "--builders",
    type=click.Path(path_type=Path, exists=True),
    help="Take what builder files declare instead of what was built (needs [build]).",
)
CHECK = click.option("--check", is_flag=True, help="Write nothing; fail if a file would change.")


def chosen(repository: Path, names: Sequence[str], builders: Path | None) -> list[Interface]:
    """Read the interfaces of public models, or of those that are named.

    Args:
        repository: where the models lie.
        names: of models, also of parts; all public ones without any.
        builders: folder of builder files, or one of them, to ask instead.

    Raises:
        RepositoryError: there is no such model.
        ConfigError, IntegrityError: it cannot be read.
    """
    place = Repository(repository)
    if builders is None:
        if names:
            return [interface.read(place, name) for name in names]
        return _some(interface.public(place), repository)
    every = _declared(builders)
    public = [one for one, is_public in every if is_public]
    return [_named(every, name) for name in names] if names else _some(public, builders)


def _some(found: list[Interface], path: Path) -> list[Interface]:
    if not found:
        raise RepositoryError(
            f"{path}: holds no model that people call",
            cause="nothing was built yet, or the path is wrong",
            next_step="modelport build; modelport models lists what there is",
            path=path,
        )
    return found


def _declared(builders: Path) -> list[tuple[Interface, bool]]:
    from modelport.build import loader

    paths = sorted(builders.glob("[!_]*.py")) if builders.is_dir() else [builders]
    found = []
    for path in paths:
        builder = loader.load(path)
        found += [(interface.declared(m), builder.is_public(m)) for m in builder.models]
    return sorted(found, key=lambda one: one[0].model)


def _named(every: list[tuple[Interface, bool]], name: str) -> Interface:
    by_name = {one.model: one for one, _ in every}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=3)
    raise RepositoryError(
        f"no builder declares a model {name!r}",
        cause=f"did you mean {' or '.join(near)}?" if near else None,
        model=name,
    )
