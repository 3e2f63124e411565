"""The plot of a judgement: what each variant loses against what it costs, and the frontier."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.errors import MissingExtraError, PublishError
from modelport.repository import judgements
from modelport.repository.judgements import Table
from modelport.repository.manifest import JudgementEntry, VariantEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".html")
_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#8a8f98"
Cost = Callable[[VariantEntry], "float | None"]


def write(path: Path, model: str, judgement: JudgementEntry) -> None:
    """Draw a judgement into a file: ``.svg``, ``.png``, or ``.html`` with the tables below.

    Raises:
        MissingExtraError: matplotlib is not installed.
        PublishError: the file cannot be written.
    """
    drawn = figure(model, judgement)
    content = io.BytesIO()
    if path.suffix == ".html":
        drawn.savefig(content, format="svg", metadata={"Date": None})
        content = io.BytesIO(_page(model, judgement, content.getvalue().decode()).encode())
    else:
        drawn.savefig(content, format=path.suffix[1:], dpi=150)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise PublishError(
            f"{path}: cannot be written ({error.strerror})",
            next_step="--output with a file that you may write",
            path=path,
        ) from error


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give the points that no other beats: none is as cheap and better, or cheaper and as good.

    Args:
        points: cost, of which less is better, and value, of which more is.
    """
    found: list[tuple[float, float]] = []
    for cost, value in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not found or value > found[-1][1]:
            found.append((cost, value))
    return found


def figure(model: str, judgement: JudgementEntry) -> Figure:
    """Draw the value of each variant over its CPU time a reply, and over the size of its file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "the plot needs matplotlib, which is not installed",
            next_step="pip install 'modelport[build]', or --json for the figures",
        ) from error
    name = next(iter(judgements.figures(judgement)), None)
    drawn = Figure(figsize=(10, 4.2), layout="constrained")
    drawn.suptitle(f"{model}: {judgements.title(judgement)}", fontsize=12)
    left, right = drawn.subplots(1, 2, sharey=True)
    _panel(left, judgement, name, _cpu_ms, "CPU time a reply, ms")
    _panel(right, judgement, name, lambda one: one.size_bytes / 1e6, "file, MB")
    left.set_ylabel(name or "least cosine to fp32")
    return drawn


def _panel(axes: Axes, judgement: JudgementEntry, name: str | None, cost: Cost, label: str) -> None:
    shown = [(one, c) for one in judgement.variants if (c := cost(one)) is not None]
    for place, (one, x) in enumerate(shown):
        y = _value(one, name)
        colour = _GREY if one.within_budget else _RED
        colour = _BLUE if one.precision == judgement.chosen else colour
        filled = colour if one.within_budget else "white"
        within = judgements.bounds(one.figures, name) if name else None
        bars: Any = [[y - within[0]], [within[1] - y]] if within else None
        axes.errorbar(
            x, y, yerr=bars, fmt="o", color=colour, markerfacecolor=filled, markersize=8,
            elinewidth=1, capsize=3, alpha=0.9,
        )  # fmt: skip
        note = "" if one.within_budget else " (over budget)"
        axes.annotate(
            # Above and below in turn, so that names of neighbours stay apart.
            one.precision + note, (x, y), xytext=(9, 8 if place % 2 else -16),
            textcoords="offset points", color=colour, fontsize=9,
        )  # fmt: skip
    line = frontier([(x, _value(one, name)) for one, x in shown if one.within_budget])
    axes.plot(*zip(*line, strict=True), color=_BLUE, linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel(label)
    axes.set_xlim(0, 1.3 * max((x for _, x in shown), default=1))
    axes.margins(y=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def _value(one: VariantEntry, name: str | None) -> float:
    return one.figures[name] if name else one.least_cosine


def _cpu_ms(one: VariantEntry) -> float | None:
    return next((rates.cpu_ms_per_reply for rates in one.rates.values()), None)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;text-align:left;"
    "border-bottom:1px solid #ddd}svg{max-width:100%;height:auto}"
)


def _page(model: str, judgement: JudgementEntry, svg: str) -> str:
    """Make a page that needs nothing else: the plot and the tables."""
    drawing = svg[svg.index("<svg") :]
    tables = "".join(map(_table, (judgements.losses(judgement), judgements.gains(judgement))))
    title = html.escape(f"{model}: {judgements.title(judgement)}")
    budgets = html.escape("; ".join(judgement.budgets))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1>{drawing}{tables}"
        f"<p>Budgets: {budgets}.</p><p>{html.escape(judgements.about(judgement))}</p></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.columns)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"
