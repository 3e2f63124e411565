"""Which nodes of a model suffer most from fewer bits: what to name in a variant's `keep`.

    python perf/sensitivity.py image_classifier_network         of the variant as it is declared
    python perf/sensitivity.py digits_cnn --variant int8
    python perf/sensitivity.py image_classifier_network --tensor linear
    python perf/sensitivity.py digits_cnn --json                one line

Each node is quantized alone, on the calibration data of the model's builder, and the answers are
compared with those of FP32. A chain is no sum of its links: after naming the worst nodes in
`keep`, measure the whole. `--tensor` looks inside the graph, at the scores before a choice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import showing
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from modelport.build import loader, sources
from modelport.build.quantization import KINDS, calibration
from modelport.build.quantization import sensitivity as scan
from modelport.build.quantization.sensitivity import Damage
from modelport.repository.layout import Repository
from modelport.spec.model import TorchModel
from modelport.spec.precision import Variant

ROOT = Path(__file__).resolve().parents[1]


def declared(builders: Path, name: str) -> tuple[loader.Builder, TorchModel]:
    """Find the builder that declares a torch model."""
    for path in sorted(builders.glob("[!_]*.py")):
        builder = loader.load(path)
        for model in builder.models:
            if model.name == name and isinstance(model, TorchModel):
                return builder, model
    raise click.UsageError(f"no builder in {builders} declares a TorchModel {name!r}")


def batches(builder: loader.Builder, model: TorchModel, items: int) -> list[calibration.Item]:
    """Make the calibration data of a model as its build does."""
    if model.data is None:
        raise click.UsageError(f"{model.name} has no data to be calibrated on")
    paths = [sources.fetch(source, builder.path).path for source in model.sources]
    dataset = model.data(*paths)
    if model.calibration is not None:
        given, test = model.calibration(dataset.train), model.calibration(dataset.test)
    else:
        given = calibration.of_split(dataset.train.inputs, model.inputs)
        test = dataset.test.inputs
    chosen = calibration.items(given, model.inputs, most=items, test=test)
    return calibration.feeds(chosen, batched=bool(model.max_batch_size))


def variant_of(model: TorchModel, name: str) -> Variant:
    """Give the declared variant, or the plain one of that name."""
    kinds = {kind.precision: kind for kind in KINDS}
    return next((v for v in model.variants if v.name == name), kinds[name]())


def show(name: str, found: Sequence[Damage], most: int) -> None:
    """Print a table."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title=f"{name}: each node alone in fewer bits", title_justify="left")
    for column in ("node", "operator", "SQNR, dB", "noise, %", "least cosine"):
        table.add_column(column, justify="left" if column in {"node", "operator"} else "right")
    for damage in found[:most]:
        noise = f"{100 * damage.noise:.4f}"
        figures = (f"{damage.sqnr_db:.1f}", noise, f"{damage.cosine:.5f}")
        table.add_row(damage.node, damage.op_type, *figures)
    console.print(table)
    if len(found) > most:
        console.print(f"and {len(found) - most} nodes that suffer less")


@click.command(help=__doc__.split("\n")[0])
@click.argument("model")
@click.option(
    "--variant", type=click.Choice([kind.precision for kind in KINDS]), default="int8",
    show_default=True,
)  # fmt: skip
@click.option("--builders", type=click.Path(path_type=Path), default=ROOT / "builders")
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option("--tensor", help="A tensor inside the graph to look at instead of the outputs.")
@click.option("--items", type=click.IntRange(1), default=24, show_default=True)
@click.option("--most", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(model: str, variant: str, as_json: bool, most: int, **options: Any) -> None:
    """Scan and show."""
    with showing.failures():
        builder, found = declared(options["builders"], model)
        folder = Repository(options["repository"]).model(model)
        fp32 = [n for n in folder.proven_versions() if folder.manifest(n).derived_from is None]
        source = folder.version_dir(fp32[-1]) / "model.onnx"
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("calibration data")
            data = batches(builder, found, options["items"])
            damages = scan.sensitivity(
                source,
                data,
                variant_of(found, variant),
                tensor=options["tensor"],
                listener=lambda done, of, node: bar.update(
                    task, completed=done, total=of, description=node
                ),
            )
    if as_json:
        click.echo(json.dumps({"model": model, "variant": variant, "nodes": scan.table(damages)}))
    else:
        show(model, damages, most)


if __name__ == "__main__":
    main()
