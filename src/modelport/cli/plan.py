"""``modelport plan``: TensorRT plans of ONNX versions, compiled where the GPU is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import StepPrinter

_OF = ("fp16", "fp32", "bf16", "int8", "pruned")


@click.command("plan")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--version", type=click.IntRange(1), help="It stands in for this one; default: what serves."
)
@click.option("--of", type=click.Choice(_OF), help="Precision of the graph; default: fp16.")
@click.option("--batch", type=click.IntRange(1), help="The batch that it is tuned for; default: 8.")
@click.option(
    "--length",
    "lengths",
    multiple=True,
    metavar="INPUT=MIN,OPT,MAX",
    help="Of a dimension that varies, in the order of the input's dimensions.",
)
@click.option("--workspace", type=click.IntRange(1), help="MiB beside the weights; default: 1024.")
@click.option("--version-compatible", is_flag=True, help="Later versions of TensorRT run it too.")
@click.option("--hardware-compatible", is_flag=True, help="Other GPUs since Ampere run it too.")
@click.option("--image", metavar="TAG", help="Of NVIDIA's tritonserver; default: that of here.")
@options.REPOSITORY
@click.option("--dry-run", is_flag=True, help="Compile and prove; publish nothing.")
@options.AS_JSON
@pass_output
def command(out: Output, /, names: tuple[str, ...], repository: Path, **given: Any) -> None:
    """Compile NAME for the GPU of this machine, and publish it as a version beside the ONNX one.

    What is not given is as the builder declares it with `spec.Plan`. The plan is proven through
    a private server with the samples of the version that it comes from. Which version serves by
    config.pbtxt does not change: `modelport serve` takes the plan where it fits the machine,
    and `modelport promote` has every Triton take it.

    It needs a GPU and TensorRT; elsewhere the message says how to run it where they are.
    """
    from modelport.build import plans
    from modelport.repository.layout import Repository

    order = plans.Order(names, given["version"], _wish(given), _flags(given))
    built = plans.build(
        Repository(repository),
        order,
        plans.Workshop.here(given["image"]),
        StepPrinter(out),
        dry_run=given["dry_run"],
    )
    if given["as_json"]:
        models = [{"model": b.model, "version": b.version, "new": b.new} for b in built]
        out.json({"models": models, "dry_run": given["dry_run"]})
        return
    word = "would be published" if given["dry_run"] else "published"
    for one in built:
        out.text(f"{one.model} version {one.version} {word if one.new else 'unchanged'}")
    if any(one.new for one in built) and not given["dry_run"]:
        out.note("`modelport serve` takes it here; config.pbtxt names the same versions as before")


def _wish(given: dict[str, Any]) -> dict[str, object]:
    """Gather what differs from the builder's declaration."""
    wish: dict[str, object] = {
        "of": given["of"],
        "batch": given["batch"],
        "workspace_mib": given["workspace"],
        "lengths": _lengths(given["lengths"]) or None,
        "version_compatible": given["version_compatible"] or None,
        "hardware_compatible": given["hardware_compatible"] or None,
    }
    return {name: value for name, value in wish.items() if value is not None}


def _lengths(arguments: tuple[str, ...]) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for argument in arguments:
        name, _, text = argument.rpartition("=")
        numbers = tuple(int(n) for n in text.split(",") if n.isdecimal() and n.isascii())
        ordered = min(numbers, default=0) > 0 and list(numbers) == sorted(numbers)
        if not name or len(numbers) != 3 or text.count(",") != 2 or not ordered:
            raise click.UsageError(
                f"--length {argument!r}: expected INPUT=MIN,OPT,MAX, such as tokens=1,64,512"
            )
        found.setdefault(name, []).append(numbers)
    return found


def _flags(given: dict[str, Any]) -> str:
    """Write the options again, for a command that runs elsewhere."""
    valued = {"--version": given["version"], "--of": given["of"], "--batch": given["batch"],
              "--workspace": given["workspace"]}  # fmt: skip
    words = [f"{flag} {value}" for flag, value in valued.items() if value is not None]
    words += [f"--length {length}" for length in given["lengths"]]
    words += [
        flag
        for flag in ("--version-compatible", "--hardware-compatible", "--dry-run")
        if given[flag[2:].replace("-", "_")]
    ]
    return " ".join(words)
