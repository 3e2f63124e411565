"""``modelport import``: an ONNX file as a published model."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import StepPrinter


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name to serve it under.")
@options.REPOSITORY
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=0),
    help="Default: 64 where the graph's first dimensions vary, else 0.",
)
@click.option(
    "--samples",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Inputs to prove it with, .npz or perf_analyzer's JSON; default: random ones.",
)
@options.AS_JSON
@pass_output
def command(
    out: Output,
    file: Path,
    name: str,
    repository: Path,
    max_batch_size: int | None,
    samples: Path | None,
    as_json: bool,
) -> None:
    """Publish an ONNX file; its config.pbtxt is written from the graph.

    The proof compares the served model with ONNX Runtime in this process.
    """
    from modelport.build import onnx_import

    built = onnx_import.publish(
        file,
        name,
        repository=repository,
        max_batch_size=max_batch_size,
        samples=samples,
        listener=StepPrinter(out),
    )
    if as_json:
        out.json({"model": built.model, "version": built.version, "new": built.new})
        return
    out.text(f"{built.model} version {built.version} {'published' if built.new else 'unchanged'}")
    out.note(f"next: modelport serve --repository {repository}")
