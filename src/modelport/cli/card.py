"""``modelport card``: what is known of a model, for people who decide whether to use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError, PublishError, RepositoryError
from modelport.repository.card import Card, figure_text, figures, megabytes
from modelport.repository.layout import Repository


@click.command(name="card")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.REPOSITORY
@click.option("--version", type=int, help="Default: the newest one that serves.")
@click.option("--markdown", is_flag=True, help="Print Markdown, as a file would hold it.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a file for each model into this folder, and a table of all.",
)
@options.AS_JSON
@pass_output
def command(
    out: Output,
    names: tuple[str, ...],
    repository: Path,
    version: int | None,
    markdown: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show model cards: data and licence, figures beside baselines, limits, latency, parity.

    Without NAME all public models that are built. A card is made from the manifests at the
    moment it is asked for.
    """
    if version is not None and len(names) != 1:
        raise click.UsageError("--version goes with one NAME")
    place = Repository(repository)
    cards = [Card.of(place, name, version) for name in names] or _public(place)
    if as_json:
        listed = [card.as_dict() for card in cards]
        out.json(listed[0] if len(names) == 1 else listed)
    elif output is not None:
        _write(out, output, cards)
    else:
        for card in cards:
            _show(out, card.markdown(), plain=markdown)


def _public(repository: Repository) -> list[Card]:
    """Give the cards of all models that people may call."""
    cards = []
    for folder in repository.models():
        try:
            card = Card.of(repository, folder.name)
        except (IntegrityError, RepositoryError):  # not built, or not by Modelport
            continue
        if card.manifest.public:
            cards.append(card)
    if cards:
        return cards
    raise RepositoryError(
        f"{repository.path}: no public model is built",
        next_step="modelport build all --repository " + str(repository.path),
        path=repository.path,
    )


def _show(out: Output, text: str, *, plain: bool) -> None:
    if plain or not sys.stdout.isatty():
        out.text(text)
        return
    from rich.markdown import Markdown

    out.console(stderr=False).print(Markdown(text))


def _write(out: Output, folder: Path, cards: Sequence[Card]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for card in cards:
            path = folder / f"{card.manifest.model}.md"
            path.write_text(card.markdown(), encoding="utf-8")
        (folder / "README.md").write_text(_overview(cards), encoding="utf-8")
    except OSError as error:
        raise PublishError(
            f"{error.filename}: a card cannot be written ({error.strerror})",
            next_step="--output with a folder that you may write to",
            path=folder,
        ) from error
    out.note(f"{len(cards)} cards and README.md written to {folder}")


_COLUMNS = ("model", "what it does", "figures", "simple baselines", "size", "licence of the data")


def _overview(cards: Sequence[Card]) -> str:
    """Make a table of all models."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, cards)]
    lines = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(["# Models", "", *lines]) + "\n"


def _row(card: Card) -> tuple[str, ...]:
    shown, baselines = [], []
    for metrics in (model.metrics for model in card.models if model.metrics is not None):
        found = figures(metrics.values)
        chosen = [name for name in found if name in metrics.gates] or list(found)[:1]
        shown += [f"{name} {figure_text(*found[name])}" for name in chosen]
        for title, values in metrics.baselines.items():
            of = figures(values)
            baselines += [f"{title}: {figure_text(*of[n])}" for n in chosen if n in of]
    name = card.manifest.model
    return (
        f"[{name}]({name}.md)",
        card.manifest.doc,
        ", ".join(shown),
        ", ".join(baselines),
        megabytes(card.size_bytes),
        "; ".join(card.licences),
    )
