"""``modelport models``: what a repository holds and what was proven of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest


@click.command(name="models")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, repository: Path, as_json: bool) -> None:
    """List models: public ones and parts, versions, which serve, figures, precision, size."""
    folders = Repository(repository).models()
    parts = {name for folder in folders for name in _steps(folder)}
    listed = [_describe(folder, folder.name in parts) for folder in folders]
    # People look for what they can call first.
    listed.sort(key=lambda model: (not model["public"], model["name"]))
    if as_json:
        out.json(listed)
        return
    columns = ("model", "", "versions", "serves", "figures", "parity", "precision", "size")
    out.table("", columns, [_row(model) for model in listed])


def _steps(folder: ModelFolder) -> list[str]:
    scheduling = folder.config().ensemble_scheduling if folder.config_path.is_file() else None
    return [step.model_name for step in scheduling.step] if scheduling else []


def _describe(folder: ModelFolder, is_part: bool) -> dict[str, Any]:
    served = folder.served_versions() if folder.config_path.is_file() else []
    manifest = _manifest(folder, served)
    size = sum(f.stat().st_size for f in folder.path.rglob("*") if f.is_file())
    return {
        "name": folder.name,
        "public": manifest.public if manifest else not is_part,
        "versions": folder.versions(),
        "proven_versions": folder.proven_versions(),
        "served_versions": served,
        "metrics": manifest.metrics.values if manifest and manifest.metrics else {},
        "gates": manifest.metrics.gates if manifest and manifest.metrics else {},
        "worst_parity": manifest.proof.through_server.worst_absolute if manifest else None,
        "precision": manifest.precision if manifest else None,
        "size_bytes": size,
        "doc": manifest.doc if manifest else "",
    }


def _manifest(folder: ModelFolder, served: list[int]) -> Manifest | None:
    try:
        return folder.manifest(served[-1]) if served else None
    except IntegrityError:
        return None


def _row(model: dict[str, Any]) -> tuple[object, ...]:
    metrics: dict[str, float] = model["metrics"]
    shown = [name for name in model["gates"] if name in metrics] or list(metrics)[:1]
    parity = model["worst_parity"]
    return (
        model["name"],
        "public" if model["public"] else "part",
        ", ".join(map(str, model["versions"])) or None,
        ", ".join(map(str, model["served_versions"])) or None,
        ", ".join(f"{name} {metrics[name]:.4g}" for name in shown) or None,
        "not proven" if parity is None else f"|Δ| ≤ {parity:.1g}",
        model["precision"],
        f"{model['size_bytes'] / 1e6:.1f} MB",
    )
