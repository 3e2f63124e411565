"""How much memory a server takes with all models, and each model beyond its weights.

    python perf/memory.py              serve the repository, ask every model, measure

The models are asked first, because much is allocated with the first request. A model that takes
over 60 MiB beyond its weights is marked; perf/README.md says how to read the result.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from modelport.cli import answers
from modelport.client import Client
from modelport.repository.layout import Repository
from modelport.runtime import memory
from modelport.runtime.memory import Use
from modelport.runtime.server import Server

ROOT = Path(__file__).resolve().parents[1]
MUCH_BYTES = 60 << 20


def measured(repository: Path) -> list[Use]:
    """Serve every proven model, ask the public ones their questions, and measure."""
    place = Repository(repository)
    names = [folder.name for folder in place.models() if folder.proven_versions()]
    with Server.start(repository, models=names, listed=False) as server:
        with Client(server.endpoints.http) as http, Client(server.endpoints.grpc) as grpc:
            for name in names:
                asked = answers.ask(place, name, {"HTTP": http, "gRPC": grpc})
                if asked is not None and asked.right < len(asked.answers):
                    raise SystemExit(f"{name}: a wrong answer: modelport up --once shows it")
        return memory.measure(server.pid, [repository])


def show(uses: list[Use]) -> None:
    """Print a table."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table(title="memory (PSS), MiB", title_justify="left")
    for column in ("model", "processes", "PSS", "weights", "beyond", ""):
        table.add_column(column, justify="left" if column in {"model", ""} else "right")
    for use in uses:
        figures = (use.pss_bytes, use.weights_bytes, use.beyond_bytes)
        mark = "over 60 beyond its weights" if is_much(use) else ""
        table.add_row(use.name, str(use.processes), *(f"{n / 2**20:.1f}" for n in figures), mark)
    table.add_row("all", "", f"{sum(use.pss_bytes for use in uses) / 2**20:.1f}", "", "", "")
    console.print(table)


def is_much(use: Use) -> bool:
    """Say whether a model takes more than it should."""
    return use.name != memory.SERVER and use.beyond_bytes > MUCH_BYTES * use.processes


@click.command(help=__doc__.split("\n")[0])
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(repository: Path, as_json: bool) -> None:
    """Measure and show."""
    uses = measured(repository)
    if as_json:
        found = [{**vars(u), "beyond_bytes": u.beyond_bytes, "much": is_much(u)} for u in uses]
        click.echo(json.dumps(found))
        return
    show(uses)


if __name__ == "__main__":
    main()
