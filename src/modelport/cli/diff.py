"""``modelport diff``: two versions side by side, or all that a promotion would change."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import RepositoryError

if TYPE_CHECKING:
    from modelport.repository.difference import Difference
    from modelport.repository.layout import ModelFolder, Repository
    from modelport.rollout.outlook import Comparison


@click.command("diff")
@click.argument("model", metavar="[NAME]", required=False, shell_complete=options.complete_model)
@click.argument("one", metavar="[V1]", type=click.IntRange(1), required=False)
@click.argument("other", metavar="[V2]", type=click.IntRange(1), required=False)
@options.REPOSITORY
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown", "list"]),
    default="text",
    show_default=True,
    help="How to print it; list: NAME VERSION of each that may be promoted, a line each.",
)
@options.AS_JSON
@pass_output
def command(out: Output, /, model: str | None, **given: Any) -> None:
    """Show what distinguishes versions V1 and V2 of NAME.

    Without versions: what serves, and the newest proven version. Without NAME: of every model
    for which these differ, figures with 95 % intervals, parity, latency and size, and whether a
    figure is worse than modelport.toml allows. That is what a promotion would change.

    Markdown is for a pull request, list for `modelport promote`.
    """
    from modelport.repository.layout import Repository

    one, other = given["one"], given["other"]
    if one is not None and other is None:
        raise click.UsageError("give two versions, or none: what serves, and the newest")
    form = "json" if given["as_json"] else given["form"]
    place = Repository(given["repository"])
    compared = _compared(place, model, one, other)
    if form == "list":
        if one is not None:
            raise click.UsageError("--format list goes without versions")
        _list(out, place, compared)
    elif form == "markdown":
        _markdown(out, compared, "What a promotion would change" if one is None else "Two versions")
    elif model is None:
        _overview(out, compared, form)
    else:
        _detail(out, place.model(model), compared, form)


def _compared(
    place: Repository, model: str | None, one: int | None, other: int | None
) -> list[Comparison]:
    from modelport.repository.settings import Settings
    from modelport.rollout import outlook

    if model is None or one is None or other is None:
        return outlook.pending(place, [model] if model else ())
    folder = place.model(model)
    for version in (one, other):
        if version not in folder.versions():
            raise RepositoryError(
                f"{folder.path}: there is no version {version}",
                next_step=f"modelport versions {model}",
                model=model,
                version=version,
            )
    folder.manifest(one)  # without a proof there is nothing to compare
    return [outlook.between(folder, (one,), other, Settings.read(place.path))]


def _list(out: Output, place: Repository, compared: list[Comparison]) -> None:
    from modelport.rollout import outlook

    for one in outlook.advice(place, compared):
        for objection in one.objections:
            out.note(f"{one.model} {one.version} is left out: {objection}")
        if not one.objections:
            out.text(f"{one.model} {one.version}")


def _markdown(out: Output, compared: list[Comparison], title: str) -> None:
    from modelport.cli import comparisons

    out.text(comparisons.as_markdown(compared, title).rstrip("\n"))


def _overview(out: Output, compared: list[Comparison], form: str) -> None:
    from modelport.cli import comparisons

    if form == "json":
        out.json({"models": [comparisons.as_json(one) for one in compared]})
    elif compared:
        out.table("", *comparisons.rows(compared))
    else:
        out.text(comparisons.NOTHING)


def _detail(out: Output, folder: ModelFolder, compared: list[Comparison], form: str) -> None:
    from modelport.repository import difference
    from modelport.repository.difference import Difference

    pair = next(((c.before.version, c.after.version) for c in compared if c.before), None)
    found = difference.between(folder, *pair) if pair else Difference()
    if form == "json":
        out.json({"before": pair and pair[0], "after": pair and pair[1], **asdict(found)})
    elif pair is not None:
        _show(out, folder.name, found, *pair)
    elif compared:
        out.text(f"{folder.name}: version {compared[0].after.version} has nothing to compare with")
    else:
        out.text(f"{folder.name}: the newest proven version serves")


def _show(out: Output, model: str, found: Difference, one: int, other: int) -> None:
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
