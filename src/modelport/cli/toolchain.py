"""``modelport toolchain``: which tritonserver is used, with what, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelport.cli.output import Output, pass_output

if TYPE_CHECKING:
    from modelport.runtime.toolchain import Candidate, Toolchain

_SHOWN_PACKAGES = ("numpy", "onnxruntime", "pillow", "ml_dtypes")


@click.command("toolchain")
@click.option("--fetch", is_flag=True, help="Fetch and make now what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@pass_output
def command(out: Output, fetch: bool, as_json: bool) -> None:
    """Show the tritonserver in use, its versions, its paths, and why it was chosen."""
    from modelport.runtime import toolchain

    found = toolchain.ensure(lambda event: out.note(event.text)) if fetch else toolchain.find()
    candidates = toolchain.candidates()
    if as_json:
        out.json({"candidates": [_candidate(c) for c in candidates], "toolchain": _facts(found)})
        return
    rows = [[c.place, c.binary, c.why] for c in candidates]
    out.table("Looked for tritonserver in", ["place", "found", "why"], rows)
    facts = _facts(found)
    if facts is None:
        out.text("Not complete yet: `modelport toolchain --fetch`, or the first `serve`, makes it.")
        return
    out.table("In use", ["what", "value"], [[k, _text(v)] for k, v in facts.items()])


def _candidate(candidate: Candidate) -> dict[str, str | None]:
    binary = str(candidate.binary) if candidate.binary else None
    return {"place": candidate.place, "binary": binary, "why": candidate.why}


def _facts(found: Toolchain | None) -> dict[str, Any] | None:
    if found is None:
        return None
    environment = found.environment
    packages = environment.packages() if environment else {}
    return {
        "tritonserver": str(found.binary),
        "version": found.version,
        "container": found.container,
        "backends": sorted(p.name for p in found.backends.iterdir()),
        "backend folder": str(found.backends),
        "python": str(environment.python) if environment else "python3 on PATH",
        "packages": {name: packages[name] for name in _SHOWN_PACKAGES if name in packages},
        "library path": [str(folder) for folder in found.library_path],
    }


def _text(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value
