"""``modelport models``: what a repository holds and what was proven of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError, NotReadyError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest
from modelport.spec.config import ModelConfig


@click.command(name="models")
@options.REPOSITORY
@options.BUILDERS
@click.option("--memory", is_flag=True, help="What each model takes on the server that runs here.")
@options.AS_JSON
@pass_output
def command(out: Output, repository: Path, builders: Path, memory: bool, as_json: bool) -> None:
    """List models: public ones and parts, versions, which serve, figures, precision, size."""
    if memory:
        _show_memory(out, repository, as_json=as_json)
        return
    folders = Repository(repository).models()
    configs = [folder.config() if folder.config_path.is_file() else None for folder in folders]
    parts = {name for config in configs for name in _steps(config)}
    listed = [
        _describe(folder, config, folder.name in parts)
        for folder, config in zip(folders, configs, strict=True)
    ]
    # People look for what they can call first.
    listed.sort(key=lambda model: (not model["public"], model["name"]))
    if as_json:
        out.json(listed)
        return
    columns = ("model", "", "versions", "serves", "figures", "parity", "precision", "size")
    out.table("", columns, [_row(model) for model in listed])
    _note_by_name(out, builders, {model["name"] for model in listed if model["proven_versions"]})


def _note_by_name(out: Output, builders: Path, proven: set[str]) -> None:
    """Say how to get the models that `all` leaves out; needs no package of the build side."""
    from modelport.build import outline, selection

    for path in selection.by_name_only(builders):
        if not proven & set(outline.read(path).models):
            out.note(f"{path.stem} is built by name: modelport build {path.stem}")


def _show_memory(out: Output, repository: Path, *, as_json: bool) -> None:
    """Show the memory of the server that was started last on the repository."""
    from modelport.runtime import memory, servers

    running = servers.running(repository)
    if not running:
        raise NotReadyError(
            f"no server runs on {repository} here",
            cause="memory is measured on a server that this user started with Modelport",
            next_step=f"modelport serve --repository {repository}, then this again",
        )
    uses = memory.measure(running[0].pid, [Path(path) for path in running[0].repositories])
    if as_json:
        out.json([{**vars(use), "beyond_bytes": use.beyond_bytes} for use in uses])
        return
    rows = [
        (use.name, use.processes, *map(_mebibytes, (use.pss_bytes, use.weights_bytes)),
         _mebibytes(use.beyond_bytes))
        for use in uses
    ]  # fmt: skip
    rows.append(("all", "", _mebibytes(sum(use.pss_bytes for use in uses)), "", ""))
    out.table("", ("", "processes", "memory (PSS)", "weights", "beyond the weights"), rows)


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


def _steps(config: ModelConfig | None) -> list[str]:
    scheduling = config.ensemble_scheduling if config else None
    return [step.model_name for step in scheduling.step] if scheduling else []


def _describe(folder: ModelFolder, config: ModelConfig | None, is_part: bool) -> dict[str, Any]:
    versions = folder.versions()
    served = folder.served_versions(config) if config else []
    manifest = _manifest(folder, served)
    return {
        "name": folder.name,
        "public": manifest.public if manifest else not is_part,
        "versions": versions,
        "proven_versions": [v for v in versions if folder.is_proven(v)],
        "served_versions": served,
        "metrics": manifest.metrics.values if manifest and manifest.metrics else {},
        "gates": manifest.metrics.gates if manifest and manifest.metrics else {},
        "worst_parity": manifest.proof.through_server.worst_absolute if manifest else None,
        "precision": manifest.precision if manifest else None,
        "derived_from": manifest.derived_from if manifest else None,
        "size_bytes": _size_bytes(folder.path),
        "doc": manifest.doc if manifest else "",
    }


def _size_bytes(folder: str | Path) -> int:
    """Add up what the files of a folder take, by their sizes alone."""
    with os.scandir(folder) as entries:
        return sum(
            _size_bytes(entry.path) if entry.is_dir(follow_symlinks=False) else _file_bytes(entry)
            for entry in entries
        )


def _file_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:  # gone meanwhile
        return 0


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
        model["precision"] + (f" of {model['derived_from']}" if model["derived_from"] else "")
        if model["precision"]
        else None,
        f"{model['size_bytes'] / 1e6:.1f} MB",
    )
