"""What the variants of the zoo's networks cost against FP32, through the server.

    python perf/precision.py                    every network that declares variants, and ResNet-18
    python perf/precision.py embedder resnet18  only these
    python perf/precision.py --rounds 15        more turns, for narrower intervals

Each network is judged as `modelport build NAME --choose throughput` judges it, and nothing is
published; perf/README.md says how to read the result. ResNet-18 has random weights, so that of its
figures the cosine alone says something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from modelport.build import judgement, loader, selection
from modelport.build.work import Choice, Work
from modelport.repository import judgements
from modelport.repository.layout import Repository
from modelport.repository.manifest import JudgementEntry, VariantEntry
from modelport.spec.model import TorchModel
from modelport.spec.precision import FULL
from modelport.verify import side_by_side

ROOT = Path(__file__).parents[1]
RESNET18 = ROOT / "perf" / "_resnet18.py"


def judged(
    builder: Path, repository: Path, console: Console
) -> Iterator[tuple[str, JudgementEntry]]:
    """Judge every network of a builder file that declares variants."""
    loaded = loader.load(builder)
    networks = [m for m in loaded.models if isinstance(m, TorchModel) and m.variants]
    if not networks:
        return
    work = Work(loaded, Repository(repository), lambda _: None, keep_edits=True)
    work.decide({model.name: Choice(FULL) for model in networks})
    work.candidates()
    for model in networks:
        with console.status(f"judging {model.name}"):
            yield model.name, judgement.judge(work.variants(model), "throughput", lambda _: None)


def row(model: str, one: VariantEntry, full: VariantEntry, metric: str | None) -> tuple[str, ...]:
    """Show one variant against FP32."""

    def ratio(name: str) -> str:
        found = one.ratios.get(name)
        return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})" if found else ""

    loss = f"{full.figures[metric] - one.figures[metric]:+.4f} {metric}" if metric else ""
    cpu = next((f"{r.cpu_ms_per_reply:.2f}" for r in one.rates.values()), "")
    return (
        model,
        one.precision,
        cpu,
        ratio("cpu"),
        ratio("latency"),
        ratio("throughput"),
        f"{one.size_bytes / full.size_bytes:.2f}",
        f"{1 - one.least_cosine:.4f}",
        loss,
        "" if one.within_budget else one.verdict,
    )


@click.command()
@click.argument("names", nargs=-1)
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option(
    "--rounds",
    type=click.IntRange(6),
    default=side_by_side.ROUNDS,
    show_default=True,
    help="Turns of each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(names: tuple[str, ...], repository: Path, rounds: int, as_json: bool) -> None:
    """Judge variants and print what each costs against FP32."""
    side_by_side.ROUNDS = rounds
    wanted = [name for name in names if name != "resnet18"]
    files = selection.chosen(ROOT / "builders", wanted) if wanted or not names else []
    if not names or "resnet18" in names:
        files.append(RESNET18)
    console = Console(stderr=True)
    found = {name: one for file in files for name, one in judged(file, repository, console)}
    if as_json:
        click.echo(json.dumps({n: one.model_dump(mode="json") for n, one in found.items()}))
        return
    table = Table(title="against FP32, asked in turn; below 1 is less", title_justify="left")
    for column in ("model", "variant", "CPU a reply, ms", "CPU", "latency", "throughput", "file",
                   "1 - cosine", "loses", "over budget"):  # fmt: skip
        table.add_column(column)
    for name, entry in found.items():
        metric = next(iter(judgements.figures(entry)), None)
        for one in entry.variants:
            table.add_row(*row(name, one, entry.variants[0], metric))
    Console(width=None if Console().is_terminal else 180).print(table)
    console.print(judgements.about(entry))


if __name__ == "__main__":
    main()
