"""``modelport push``: proven versions from a repository to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.cli import options, transfers
from modelport.cli.output import Output, pass_output


@click.command("push")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@transfers.options("--to")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, /, names: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Send proven versions to a store, and let serve there what serves here.

    Without names, all models; the parts of an ensemble come along. What the store has is
    compared by digest and not sent again. A version in the store is never replaced.
    """
    from modelport.repository.stores.push import push

    with transfers.opened(given["url"]) as store:
        outcome = push(
            Path(given["repository"]),
            store,
            names,
            overwrite=given["overwrite"],
            dry_run=given["dry_run"],
            jobs=given["jobs"],
            on_progress=transfers.Bar(out, "push"),
        )
    transfers.show(out, outcome, "to", as_json=as_json)
