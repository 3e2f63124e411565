"""``modelport pull``: versions from a store to a repository, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.cli import options, transfers
from modelport.cli.output import Output, pass_output


@click.command("pull")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@transfers.options("--from")
@click.option("--served", is_flag=True, help="Only the versions that serve.")
@click.option("--allow-empty", is_flag=True, help="A store without any model is no error.")
@options.PUBLIC_KEYS
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, /, names: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Fetch versions from a store, and let serve here what serves there.

    Without names, all models; the parts of an ensemble come along. Every byte is digested
    and held against the manifests before anything becomes visible; then all of it does.
    A server that runs here on the repository is told.
    """
    from modelport.repository.stores.pull import pull

    with transfers.opened(given["url"]) as store:
        outcome = pull(
            Path(given["repository"]),
            store,
            names,
            served=given["served"],
            overwrite=given["overwrite"],
            trusted=given["trusted"],
            allow_empty=given["allow_empty"],
            dry_run=given["dry_run"],
            jobs=given["jobs"],
            on_progress=transfers.Bar(out, "pull"),
        )
    transfers.show(out, outcome, "from", as_json=as_json)
    if not outcome.dry_run:
        transfers.align(out, Path(given["repository"]))
