"""``modelport perf report``: what load tests found, as tables, a page and pictures."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.cli import options, perf_table
from modelport.cli.output import Output, pass_output
from modelport.perf.report import page
from modelport.perf.result import Result


@click.command(name="report")
@click.argument(
    "results", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path)
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page that stands alone, with all the charts.",
)
@click.option(
    "--png",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each chart as a PNG into this folder.",
)
@options.AS_JSON
@pass_output
def report(
    out: Output, results: tuple[Path, ...], html: Path | None, png: Path | None, as_json: bool
) -> None:
    """Show what load tests found: RESULT is a result.json, or the folder of one.

    Several results make one page, with a table of all on top.
    """
    found = [Result.read(path) for path in results]
    if as_json:
        plain = [one.model_dump(mode="json") for one in found]
        out.json(plain[0] if len(plain) == 1 else plain)
    else:
        for one in found:
            perf_table.show(out, one)
    if html is not None:
        rendered = page.render(found)
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(rendered, encoding="utf-8")
        out.note(f"written: {html}")
    if png is not None:
        for path in page.pictures(found, png):
            out.note(f"written: {path}")
