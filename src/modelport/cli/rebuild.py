"""``modelport rebuild``: whether a version can be built again, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.build import rebuilding
from modelport.build.rebuilding import Compared, Rebuilt
from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import StepPrinter
from modelport.errors import ParityError
from modelport.repository.layout import Repository


@click.command(name="rebuild")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.option("--check", is_flag=True, required=True, help="Compare and publish nothing.")
@options.BUILDERS
@options.REPOSITORY
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Your file or folder, if the version was built with --data.",
)
@options.AS_JSON
@pass_output
def command(out: Output, /, **given: Any) -> None:
    """Build a version again, apart from the repository, and compare it with the published one.

    It trains anew, whatever the cache holds. The files are the same to the bit, or the rebuilt
    models answer the version's samples within its tolerance and you are told what the two builds
    did not have in common; anything else is an error. What the version runs is compared too.
    """
    found = rebuilding.rebuild(
        Repository(given["repository"]),
        given["name"],
        given["version"],
        builders=given["builders"],
        listener=StepPrinter(out),
        data=given["data"],
    )
    if given["as_json"]:
        out.json(_as_json(found))
    else:
        _show(out, found)
    if not found.equal:
        wrong = [model for model in found.models if not model.equal]
        first = wrong[0].parity.problems[0] if wrong[0].parity else ""
        raise ParityError(
            f"{given['name']} version {given['version']} cannot be rebuilt: answers differ by more"
            f" than its tolerance\n  {wrong[0].model}: {first}",
            cause="; ".join(found.reasons),
            next_step="build at the version's commit, with its packages, on such a machine:"
            f" modelport sbom {given['name']} {given['version']} lists them",
            models=[model.model for model in wrong],
        )


def _show(out: Output, found: Rebuilt) -> None:
    rows = [(m.model, m.version, _outcome(m), ", ".join(m.files)) for m in found.models]
    out.table("", ("model", "version", "rebuilt", "files that differ"), rows)
    if not found.same:
        out.text("not to the bit, because of:")
        for reason in found.reasons:
            out.text(f"  {reason}")


def _outcome(model: Compared) -> str:
    if model.parity is None:
        return "the same to the bit"
    worst = f"worst |Δ| {model.parity.worst_absolute:.2g} in {model.parity.requests} samples"
    kind = "equal within the tolerance" if model.equal else "differs"
    return f"{kind}, {worst}"


def _as_json(found: Rebuilt) -> dict[str, Any]:
    return {
        "same": found.same,
        "equal": found.equal,
        "reasons": list(found.reasons),
        "models": [
            {
                "model": model.model,
                "version": model.version,
                "equal": model.equal,
                "files": dict(model.files),
                "worst_absolute": model.parity.worst_absolute if model.parity else None,
            }
            for model in found.models
        ],
    }
