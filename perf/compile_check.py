"""Whether every graph of a model repository is for TensorRT: a compile check, not an execution.

    python perf/compile_check.py            a table
    python perf/compile_check.py --json     one line

The real builder and ONNX parser of TensorRT-RTX (`modelport[dev]`, from PyPI) take each graph,
variants and old versions included, without a GPU. Nothing is run, and the engines are thrown away:
they are no plans, and Triton's tensorrt backend would not load them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import showing
from rich.console import Console
from rich.table import Table

from modelport.build import tensorrt
from modelport.repository.layout import Repository

SAID = "compile check, not an execution"
COLUMNS = ("model", "versions", "precision", "outcome", "seconds", "engine, MB", "why not")


def row(verdict: tensorrt.Verdict) -> tuple[str, ...]:
    """Show a verdict."""
    why = verdict.reason.splitlines()[-1].strip() if verdict.reason else ""
    if verdict.operators:
        why = f"operators of another runtime: {', '.join(verdict.operators)}"
    return (
        verdict.model,
        ", ".join(map(str, verdict.versions)),
        verdict.precision,
        verdict.outcome,
        f"{verdict.seconds:.2f}",
        f"{verdict.engine_bytes / 1e6:.1f}" if verdict.engine_bytes else "",
        why,
    )


def show(verdicts: Sequence[tensorrt.Verdict], found: tensorrt.Library) -> None:
    """Print the table, and what it means."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(title=f"{found.name} {found.version}: {SAID}", title_justify="left")
    for title in COLUMNS:
        table.add_column(title)
    for verdict in verdicts:
        table.add_row(*row(verdict))
    console.print(table)
    counts = Counter(verdict.outcome for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    console.print(
        ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        + f" in {seconds:.0f} s; {SAID}: no GPU has run any of them"
    )


@click.command(help=__doc__.split("\n")[0])
@click.option(
    "--repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("model_repository"),
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(repository: Path, as_json: bool) -> None:
    """Check and show; ends with 1 when a graph failed."""
    with showing.failures():
        found = tensorrt.library(only="tensorrt_rtx")
        verdicts = list(tensorrt.check(Repository(repository), found))
    if as_json:
        rows = [verdict.as_dict() for verdict in verdicts]
        about = {"what": SAID, "library": found.name, "version": found.version, "graphs": rows}
        click.echo(json.dumps(about, ensure_ascii=False))
    else:
        show(verdicts, found)
    sys.exit(any(verdict.outcome == "failed" for verdict in verdicts))


if __name__ == "__main__":
    main()
