"""``modelport versions``: the versions of a model, and which serve, on disk and here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError
from modelport.repository import figures
from modelport.repository.layout import ModelFolder, Repository


@click.command("versions")
@options.MODEL
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, model: str, repository: Path, as_json: bool) -> None:
    """List the versions of NAME: when proven, from what, figures, parts, and which serve."""
    from modelport.rollout.serving import by_config, served_by
    from modelport.runtime import servers

    folder = Repository(repository).model(model)
    served = list(by_config(folder))
    running = {
        server.endpoints.http: served_by(server).get(model, [])
        for server in servers.running(repository)
    }
    listed = [_described(folder, v, v in served) for v in reversed(folder.versions())]
    if as_json:
        out.json({"versions": listed, "serving": served, "servers": running})
        return
    rows = [
        (
            version["version"],
            "serves" if version["serves"] else "",
            version["created"],
            _precision(version),
            ", ".join(f"{name} {value:.4g}" for name, value in version["figures"].items()) or None,
            ", ".join(f"{name} {part}" for name, part in version["parts"].items()) or None,
            version["git_commit"],
            version["problem"],
        )
        for version in listed
    ]
    columns = ("version", "", "proven (UTC)", "precision", "figures", "parts", "commit", "")
    out.table("", columns, rows)
    for endpoint, versions in running.items():
        if versions != served:
            words = ", ".join(map(str, versions)) or "no version"
            out.note(
                f"{endpoint} serves {words}; config.pbtxt says"
                f" {', '.join(map(str, served)) or 'none'}: modelport promote {model} VERSION"
            )


def _precision(version: dict[str, Any]) -> str | None:
    """Say how a version computes, and from which it comes."""
    words = [version["precision"] or ""]
    if plan := version["plan"]:
        words.append(f"({plan['options']['of']}, TensorRT {plan['tensorrt']}, {plan['gpu']})")
    if version["derived_from"]:
        words.append(f"of {version['derived_from']}")
    return " ".join(words).strip() or None


def _described(folder: ModelFolder, version: int, serves: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "version": version, "serves": serves, "created": None, "precision": None,
        "derived_from": None, "plan": None, "figures": {}, "parts": {}, "git_commit": None,
        "problem": "",
    }  # fmt: skip
    try:
        manifest = folder.manifest(version)
    except IntegrityError as error:
        return described | {"problem": error.what.partition(": ")[2]}
    commit = manifest.git_commit or ""
    return described | {
        "created": f"{manifest.created:%Y-%m-%d %H:%M:%S}",
        "precision": manifest.precision,
        "derived_from": manifest.derived_from,
        "plan": manifest.plan and manifest.plan.model_dump(mode="json"),
        "figures": figures.of(folder, manifest, gated=True),
        "parts": manifest.parts,
        "git_commit": commit[:10] + ("-dirty" if commit.endswith("-dirty") else "") or None,
    }
