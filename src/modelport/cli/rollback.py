"""``modelport rollback``: what served before serves again, at once."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output


@click.command("rollback")
@options.MODEL
@click.option("--to", type=click.IntRange(1), help="A version; default: what served before.")
@options.REPOSITORY
@click.option("--reason", default="", help="Why, for the log.")
@options.DRY_RUN
@options.AS_JSON
@pass_output
def command(
    out: Output,
    model: str,
    to: int | None,
    repository: Path,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have what served before serve again: NAME and all that changed with it.

    Digests are checked; nothing is tried or timed, for it served before.
    """
    from modelport.cli import promote
    from modelport.repository.layout import Repository
    from modelport.rollout import gates, intent, promotion

    place = Repository(repository)
    if not dry_run:
        intent.recover(place, out.note)
    target = promotion.previous(place, model, to)
    if not target.changes:
        out.text(f"{model} {target.versions[model]} serves already")
        return
    checked = promotion.Checked(target, gates.figures(target))
    outcome = None if dry_run else promotion.roll_back(place, target, model, reason=reason)
    if as_json:
        out.json(promote.as_json(checked, outcome))
    else:
        promote.show(out, checked, outcome)
