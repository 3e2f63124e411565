"""``modelport publish``: model folders that people wrote, proven and published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import StepPrinter

_Value = TypeVar("_Value")


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--version",
    "versions",
    multiple=True,
    metavar="[NAME=]N",
    help="The version folder that is taken; default: what Triton would serve.",
)
@click.option(
    "--samples",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Inputs, and expected answers by the names of the outputs: .npz with items along the "
    "first dimension, or what perf_analyzer takes as --input-data. Without NAME they are of the "
    "one model that no other SOURCE runs.",
)
@click.option(
    "--tolerance",
    nargs=2,
    type=click.FloatRange(0),
    default=(1e-5, 1e-4),
    show_default=True,
    metavar="ABSOLUTE RELATIVE",
    help="How far answers may lie from what is expected.",
)
@options.REPOSITORY
@click.option("--dry-run", is_flag=True, help="Check and prove everything; publish nothing.")
@options.AS_JSON
@pass_output
def command(
    out: Output,
    sources: tuple[str, ...],
    versions: tuple[str, ...],
    samples: tuple[str, ...],
    tolerance: tuple[float, float],
    repository: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish models as Triton has them, proven through a server.

    SOURCE is a model folder (config.pbtxt with version folders beside it), or the name of a
    model of the repository whose version has no proof. Several are proven and published
    together: an ensemble with its parts. config.pbtxt is kept as it is.

    Models on ONNX Runtime are compared with ONNX Runtime in this process. Every other model
    needs samples with expected answers.
    """
    from modelport.build import folder_publish
    from modelport.spec import Tolerance

    done = folder_publish.publish(
        sources,
        repository=repository,
        versions=_by_name("--version", versions, _version),
        samples=_by_name("--samples", samples, Path),
        tolerance=Tolerance(*tolerance),
        dry_run=dry_run,
        listener=StepPrinter(out),
    )
    for finding in done.warnings:
        out.note(f"{finding.severity}: {finding.brief}")
    for user, part in done.outdated.items():
        out.note(
            f"warning: {user} runs {part}, and was proven with an older version of it; publish"
            f" {user} too, or have the older one serve: modelport rollback {part} --to VERSION"
        )
    if as_json:
        models = [{"model": b.model, "version": b.version, "new": b.new} for b in done.built]
        out.json({"models": models, "dry_run": dry_run})
        return
    word = "would be published" if dry_run else "published"
    for built in done.built:
        out.text(f"{built.model} version {built.version} {word if built.new else 'unchanged'}")
    if not any(built.new for built in done.built):
        out.note("nothing to do: all of it is published, with its proof")
    elif not dry_run:
        out.note(f"next: modelport serve --repository {repository}")


def _by_name(
    option: str, given: tuple[str, ...], read: Callable[[str], _Value]
) -> Mapping[str, _Value]:
    """Read ``[NAME=]VALUE`` arguments; one without a name stands under an empty one."""
    values: dict[str, _Value] = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals or "/" in name:  # a path may hold an equals sign
            name, value = "", argument
        elif not name or not value:
            raise click.UsageError(f"{option} {argument!r} is not NAME=VALUE")
        if name in values:
            of = f" for {name}" if name else "; write NAME=… for all but one"
            raise click.UsageError(f"{option} is given twice{of}")
        values[name] = read(value)
    return values


def _version(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 19 and int(text) > 0:
        return int(text)
    raise click.UsageError(f"--version {text[:40]!r} is no number of a version")
