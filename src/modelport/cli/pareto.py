"""``modelport pareto``: what the variants of a model lose and cost, in a plot and a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from modelport.build import judgement as judging
from modelport.build import pareto
from modelport.cli import judged, options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError, RepositoryError
from modelport.repository import judgements
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import JudgementEntry


@click.command(name="pareto")
@click.argument("name")
@options.REPOSITORY
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The plot: a .svg, .png or .html file.  [default: MODEL.pareto.svg]",
)
@options.AS_JSON
@pass_output
def command(out: Output, name: str, repository: Path, output: Path | None, as_json: bool) -> None:
    """Draw what the variants of a model lose against what they cost, as they were judged last.

    NAME is a model with variants, or one that runs such. The table stands in the model's card
    too, of the version that was chosen by it: `modelport card NAME`.
    """
    if output is not None and output.suffix not in pareto.FORMATS:
        raise click.UsageError(f"--output {output}: a plot is one of {', '.join(pareto.FORMATS)}")
    found = dict(_judged(Repository(repository), name))
    if not found:
        raise RepositoryError(
            f"{repository / name}: its variants have not been judged",
            cause="its builder declares none, or it was built without --choose",
            next_step=f"modelport build {name} --choose latency; docs/precision.md",
            model=name,
        )
    if output is not None and len(found) > 1:
        raise click.UsageError(f"--output is for one model, and there are {', '.join(found)}")
    if as_json:
        out.json({model: entry.model_dump(mode="json") for model, entry in found.items()})
        if output is None:
            return
    for model, entry in found.items():
        path = output or Path(f"{model}.pareto.svg")
        pareto.write(path, model, entry)
        if not as_json:
            judged.show(out, model, entry)
        out.note(f"written: {path}")


def _judged(repository: Repository, name: str) -> Iterator[tuple[str, JudgementEntry]]:
    """Find the judgements of a model and of those that it runs."""
    waiting, seen = [name], {name}
    while waiting:
        folder = repository.model(waiting.pop(0))
        entry = judging.kept(folder) or judgements.newest(folder)
        if entry is not None:
            yield folder.name, entry
        new = [part for part in _runs(folder) if part not in seen]
        waiting += new
        seen |= set(new)


def _runs(folder: ModelFolder) -> list[str]:
    proven = folder.proven_versions()
    try:
        return folder.manifest(proven[-1]).runs if proven else []
    except IntegrityError:
        return []
