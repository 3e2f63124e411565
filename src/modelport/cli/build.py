"""``modelport build``: from builder files to published versions."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.build import pipeline
from modelport.build.steps import Progress, Report
from modelport.cli import options
from modelport.cli.output import Output, pass_output


class StepPrinter:
    """Shows the steps of a build as they are done, and a bar for those that take long."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._shown = ""

    def __call__(self, event: Report | Progress) -> None:
        """Show one event."""
        if isinstance(event, Progress):
            self._out.bar(f"{event.model}: {event.step}", event.text, event.done, event.total)
            return
        self._out.end_bar()
        outcome = event.outcome if event.duration_s is not None else f"{event.outcome} · kept"
        self._out.step(f"{event.model}: {event.step}", outcome, event.duration_s)


@click.command(name="build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.BUILDERS
@options.REPOSITORY
@click.option("--keep-config", is_flag=True, help="Keep config.pbtxt files edited by hand.")
@options.AS_JSON
@pass_output
def command(
    out: Output,
    names: tuple[str, ...],
    builders: Path,
    repository: Path,
    keep_config: bool,
    as_json: bool,
) -> None:
    """Train, export, prove and publish models; what is unchanged is skipped.

    NAME is a model or the stem of a builder file; without one, or with `all`,
    every builder file is built.
    """
    built = pipeline.build(
        names,
        builders=builders,
        repository=repository,
        listener=StepPrinter(out),
        keep_edits=keep_config,
    )
    if as_json:
        out.json([{"model": b.model, "version": b.version, "new": b.new} for b in built])
        return
    rows = [(b.model, b.version, "published" if b.new else "unchanged") for b in built]
    out.table("", ("model", "version", ""), rows)
    out.note(f"next: modelport serve --repository {repository}")
