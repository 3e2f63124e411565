"""The report: a page that stands alone, without script and network, by day and by night."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from modelport import __version__
from modelport.errors import MissingExtraError
from modelport.perf.report import charts, drawing, rows
from modelport.perf.result import Result

if TYPE_CHECKING:
    from jinja2 import Environment

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Picture:
    """A chart as the page holds it."""

    title: str
    caption: str
    svg: str


def check() -> None:
    """See whether a report can be made: asked before the load, it costs no run.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise _missing(" and ".join(missing))


def _missing(names: str) -> MissingExtraError:
    return MissingExtraError(
        f"the report needs {names}: not installed",
        next_step="pip install 'modelport[perf]', or --json for the figures",
    )


def render(results: Sequence[Result]) -> str:
    """Write a page about results, each in a section of its own.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    template = _environment().get_template("report.html.j2")
    pictures = [_pictures(result, f"r{place}") for place, result in enumerate(results)]
    return template.render(
        results=results,
        pictures=pictures,
        rows=rows,
        css=(_DATA / "report.css").read_text(encoding="utf-8"),
        version=__version__,
    )


def _pictures(result: Result, salt: str) -> list[Picture]:
    return [
        Picture(chart.title, chart.caption, drawing.svg(drawn, f"{result.model}: {chart.title}"))
        for chart, drawn in charts.drawn(result, salt)
    ]


def pictures(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write each chart as a PNG named like ``MODEL-latency.png``.

    Returns:
        The files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, result in enumerate(results):
        again = sum(other.model == result.model for other in results[:place])
        for chart, drawn in charts.drawn(result):
            number = f"-{again + 1}" if again else ""
            path = folder / f"{_file_name(result.model)}{number}-{chart.slug}.png"
            drawing.png(drawn, path)
            written.append(path)
    return written


def _file_name(model: str) -> str:
    """Name a file after a model, whose name comes from a file and may lead anywhere."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in model).lstrip(".") or "model"


def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = Environment(
        loader=FileSystemLoader(_DATA),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["readable"] = _readable
    environment.filters["number"] = lambda value: rows.number(value) or "–"
    return environment


def _readable(value: object) -> str:
    """Write a profile as it was, for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
