"""Which versions a command means: NAME and VERSION, NAME alone, or all there are."""

from __future__ import annotations

import click

from modelport.errors import RepositoryError
from modelport.repository import edits
from modelport.repository.layout import ModelFolder, Repository

NAME = click.argument("name", required=False)
VERSION = click.argument("version", type=click.IntRange(1), required=False)


def named(
    repository: Repository, name: str | None, version: int | None
) -> list[tuple[ModelFolder, int]]:
    """List versions; models that were never built here have none.

    Raises:
        RepositoryError: there is no such model or version.
    """
    folders = [repository.model(name)] if name else repository.models()
    found = [(f, v) for f in folders if not edits.not_built(f) for v in f.versions()]
    if version is None:
        if found:
            return found
        raise RepositoryError(
            f"{repository.path}: {name or 'no model'} has {'no' if name else 'any'} version",
            next_step=f"modelport build {name or 'all'}",
            path=repository.path,
        )
    chosen = [(folder, number) for folder, number in found if number == version]
    if chosen:
        return chosen
    known = ", ".join(str(number) for _, number in found) or "none"
    raise RepositoryError(
        f"{repository.path}: there is no version {version} of {name}",
        cause=f"it has {known}",
        next_step=f"modelport models --repository {repository.path}",
        model=name,
        version=version,
    )
