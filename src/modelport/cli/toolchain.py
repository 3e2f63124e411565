"""``modelport toolchain``: which tritonserver is used, with what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from modelport.cli.output import Output, pass_output
from modelport.errors import ToolchainError

if TYPE_CHECKING:
    from modelport.perf.analyzer import Analyzer
    from modelport.runtime.toolchain import Candidate, Toolchain

_SHOWN_PACKAGES = ("numpy", "onnxruntime", "pillow", "ml_dtypes")


@click.command("toolchain")
@click.option("--fetch", is_flag=True, help="Fetch and make now what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@pass_output
def command(out: Output, fetch: bool, as_json: bool) -> None:
    """Show the tritonserver and the perf_analyzer in use, their versions, and why these."""
    from modelport.perf import analyzer
    from modelport.runtime import toolchain

    found = toolchain.ensure(lambda event: out.note(event.text)) if fetch else toolchain.find()
    candidates = toolchain.candidates()
    loads = _loads(out, fetch=fetch)
    tools = analyzer.candidates()
    if as_json:
        out.json(
            {
                "candidates": [_candidate(c) for c in candidates],
                "toolchain": _facts(found),
                "perf_analyzer": {
                    "candidates": [_candidate(c) for c in tools],
                    "found": _analyzer(loads),
                },
            }
        )
        return
    _show_places(out, "tritonserver", candidates)
    _show_places(out, "perf_analyzer, which makes loads", tools)
    facts = _facts(found)
    if facts is None:
        out.text("Not complete yet: `modelport toolchain --fetch`, or the first `serve`, makes it.")
        return
    out.table("In use", ["what", "value"], [[k, _text(v)] for k, v in facts.items()])
    if used := _analyzer(loads):
        out.table("", ["what", "value"], [[k, _text(v)] for k, v in used.items()])


def _loads(out: Output, *, fetch: bool) -> Analyzer | None:
    """Find perf_analyzer; a machine that serves and makes no loads does without."""
    from modelport.perf import analyzer

    try:
        return analyzer.ensure(lambda event: out.note(event.text)) if fetch else analyzer.find()
    except ToolchainError as error:
        out.error(error)
        return None


def _show_places(out: Output, what: str, places: Sequence[Candidate]) -> None:
    rows = [[c.place, c.binary, c.why] for c in places]
    out.table(f"Looked for {what}, in", ["place", "found", "why"], rows)


def _analyzer(found: Analyzer | None) -> dict[str, Any] | None:
    if found is None:
        return None
    library_path = [str(folder) for folder in found.library_path]
    return {
        "perf_analyzer": str(found.binary),
        "version": found.version,
        "library path": library_path,
    }


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
