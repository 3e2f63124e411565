"""``modelport diff``: two versions of a model side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import RepositoryError


@click.command("diff")
@options.MODEL
@click.argument("one", metavar="V1", type=click.IntRange(1))
@click.argument("other", metavar="V2", type=click.IntRange(1))
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, model: str, one: int, other: int, repository: Path, as_json: bool) -> None:
    """Show what distinguishes versions V1 and V2 of NAME."""
    from modelport.repository import difference
    from modelport.repository.layout import Repository

    folder = Repository(repository).model(model)
    for version in (one, other):
        if version not in folder.versions():
            raise RepositoryError(
                f"{folder.path}: there is no version {version}",
                next_step=f"modelport versions {model}",
                model=model,
                version=version,
            )
    found = difference.between(folder, one, other)
    if as_json:
        out.json(asdict(found))
        return
    columns = ("", f"version {one}", f"version {other}")
    for title, pairs in (("figures", found.figures), ("facts", found.facts)):
        if pairs:
            rows = [(name, *map(_shown, pair)) for name, pair in pairs.items()]
            out.table(title, columns, rows)
    if found.files:
        rows = [(path, *map(_size, pair)) for path, pair in found.files.items()]
        out.table("files of other content", columns, rows)
    for line in found.config:
        out.text(line)
    if not (found.figures or found.facts or found.files or found.config):
        out.text(f"versions {one} and {other} of {model} are the same")


def _shown(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _size(value: object) -> str | None:
    return None if value is None else f"{value:,} bytes"
