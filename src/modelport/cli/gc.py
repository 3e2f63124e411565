"""``modelport gc``: remove versions that nothing serves, needs, or may want back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelport.rollout.cleaning import Removable


@click.command("gc")
@options.REPOSITORY
@click.option("--keep", type=click.IntRange(0), help="Newest versions of each model that stay.")
@options.DRY_RUN
@options.AS_JSON
@pass_output
def command(out: Output, repository: Path, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove versions that no configuration and no running server serves.

    What a kept version was proven with stays, what a roll back would bring, what is pinned in
    modelport.toml, and the newest of each model. Versions without a manifest are left alone.
    """
    from modelport.repository.layout import Repository
    from modelport.rollout import cleaning

    place = Repository(repository)
    place.models()  # raises where there is no repository
    removed = (
        cleaning.look(place, keep=keep).removable if dry_run else cleaning.remove(place, keep=keep)
    )
    if as_json:
        out.json({"removed": [vars(one) for one in removed], "dry_run": dry_run})
        return
    _show(out, removed, dry_run=dry_run)


def _show(out: Output, removed: Sequence[Removable], *, dry_run: bool) -> None:
    if not removed:
        out.text("nothing to remove")
        return
    out.table(
        "",
        ("model", "version", "size"),
        [(one.model, one.version, f"{one.size_bytes / 1e6:.1f} MB") for one in removed],
    )
    freed = sum(one.size_bytes for one in removed) / 1e6
    versions = "1 version" if len(removed) == 1 else f"{len(removed)} versions"
    words = "would free" if dry_run else "removed, freeing"
    out.text(f"{versions} {words} {freed:.1f} MB")
