"""How charts are drawn: one drawing for a page by day and by night, and for a PNG.

In the SVG every colour becomes a CSS variable of the page, and text stays text in the page's
font, so that the page's style decides how both look.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Each is a colour by day; the style sheet has the one by night under the same name.
INK, MUTED, GRID = "#1b1f24", "#68717d", "#dfe3e8"
SERIES = (
    "#2563b0", "#c8501a", "#17876d", "#8a4fbf", "#b5831a", "#c23b78", "#3a8fc7", "#6f7780",
)  # fmt: skip
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid"} | {
    colour: f"s{place}" for place, colour in enumerate(SERIES)
}
# Points, which a page of 1280 px shows 1.5 times as large and a phone as they are.
WIDTH_IN = 5.2
_STYLES = ("-", "--", ":", "-.")


@contextmanager
def style(salt: str) -> Iterator[None]:
    """Draw in the house's style; ``salt`` makes the ids of a page's drawings differ.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingExtraError(
            "the report needs matplotlib, which is not installed",
            next_step="pip install 'modelport[perf]', or --json for the figures",
        ) from error
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,  # a name may hold dollar signs
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "path.simplify": True,
    }
    with rc_context(settings):  # type: ignore[arg-type]  # its keys are literals of each release
        yield


def figure(height_in: float = 3.1) -> Figure:
    """Give an empty drawing of the width that all have."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def line_of(place: int) -> tuple[str, str]:
    """Give colour and dashes of the n-th of several lines."""
    return SERIES[place % len(SERIES)], _STYLES[place // len(SERIES) % len(_STYLES)]


def numbers(axes: Axes, *, x: bool = False, y: bool = True) -> None:
    """Write the numbers of axes as people do: 0.5, 20, 1,500."""
    from matplotlib.ticker import FuncFormatter

    written = FuncFormatter(lambda value, _: f"{value:,.6g}")
    for axis in [axes.xaxis] * x + [axes.yaxis] * y:
        axis.set_major_formatter(written)


def log(axes: Axes, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic, with as few numbers as can be read."""
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = [value for value in values if value > 0]
    if not shown:
        return
    axes.set_yscale("log")
    wide = max(shown) / min(shown) > 200
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    numbers(axes)


def svg(drawn: Figure, label: str) -> str:
    """Give a drawing as an element of a page, without a size of its own.

    Args:
        drawn: under :func:`style`.
        label: what a reader who does not see it is told.
    """
    content = io.BytesIO()
    drawn.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[\d. ]+"', text)
    assert box, "matplotlib writes one"
    head = f'<svg {box[0]} role="img" aria-label="{escape(label)}">'
    text = head + text[text.index(">") + 1 :]
    text = text.replace("xlink:href", "href")
    # Nothing refers to groups, whose ids are the same in each drawing of a page.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return re.sub(r"(?<=: )#[0-9a-f]{6}\b", _variable, text)


def _variable(found: re.Match[str]) -> str:
    name = VARIABLES.get(found[0])
    return f"var(--{name})" if name else found[0]


def png(drawn: Figure, path: Path) -> None:
    """Write a drawing as a PNG that a README can show, 1,040 pixels wide."""
    drawn.savefig(path, format="png", dpi=200, facecolor="white", metadata={"Software": None})
