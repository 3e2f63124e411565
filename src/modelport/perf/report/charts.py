"""What is drawn of a result: each chart answers one question, or is left out without figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from modelport.errors import ProfileError
from modelport.perf import objectives
from modelport.perf.report import drawing
from modelport.perf.report.drawing import INK, MUTED, SERIES
from modelport.perf.result import Level, Part, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}
_STAGES = {
    "queue_ms": "queue",
    "compute_input_ms": "input",
    "compute_infer_ms": "inference",
    "compute_output_ms": "output",
}
_ROW_IN = 0.26
_LEAST_WRITTEN = 0.07

_PartsByModel: TypeAlias = "list[tuple[str, list[tuple[str, Part]]]]"


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        slug: names its file.
        title: what is seen.
        caption: how to read it.
        draw: gives it, or None where the result holds nothing for it.
    """

    slug: str
    title: str
    caption: str
    draw: Callable[[Result], Figure | None]


def latency(result: Result) -> Figure | None:
    """Draw percentiles of latency over the levels, and the objectives that bound them."""
    shown = [level for level in result.levels if level.latency_ms]
    if not shown:
        return None
    drawn = drawing.figure()
    axes = drawn.subplots()
    values: list[float] = []
    for place, (name, label) in enumerate(_PERCENTILES.items()):
        line = [getattr(level.latency_ms, name) for level in shown]
        _lines(axes, shown, range(len(shown)), line, SERIES[place], label)
        values += line + _bounds(axes, result, shown, label, SERIES[place])
    if any(level.first_response_ms for level in shown):
        first = [lv.first_response_ms.p50 if lv.first_response_ms else math.nan for lv in shown]
        axes.plot(first, "o--", color=SERIES[4], label="first reply, p50")
        values += [value for value in first if value == value]
    drawing.log(axes, values)
    _over_levels(axes, shown)
    axes.set_ylabel("latency, ms")
    axes.grid(axis="y")
    drawn.legend(loc="outside upper right", ncols=5)
    return drawn


def _lines(
    axes: Axes,
    shown: Sequence[Level],
    x: Sequence[float],
    y: Sequence[float],
    colour: str,
    label: str,
) -> None:
    """Draw points, and lines between levels of the same kind: others do not go on from them."""
    kinds = [level.kind for level in shown]
    starts = [i for i in range(len(kinds)) if i == 0 or kinds[i] != kinds[i - 1]]
    for start, end in itertools.pairwise([*starts, len(kinds)]):
        # matplotlib leaves names with this beginning out of the legend
        named = label if start == 0 else "_"
        axes.plot(x[start:end], y[start:end], "o-", color=colour, label=named)


def _bounds(
    axes: Axes, result: Result, shown: Sequence[Level], figure: str, colour: str
) -> list[float]:
    """Draw the bounds of objectives on a percentile, at the levels that they are about."""
    found = []
    for judged in result.objectives:
        try:
            objective = objectives.parse(judged.text)
        except ProfileError:
            continue  # of a newer Modelport, perhaps; its verdict stands in the table
        if objective.figure != figure or objective.first:
            continue
        for place, level in enumerate(shown):
            if objective.is_about(level):
                axes.hlines(objective.bound, place - 0.3, place + 0.3, color=colour, linestyle=":")
                found.append(objective.bound)
    return found


def _over_levels(axes: Axes, shown: Sequence[Level]) -> None:
    """Name the levels below the horizontal axis, by their number where all have one."""
    concurrencies = [level.concurrency for level in shown]
    rates = [level.offered_per_s for level in shown]
    if None not in concurrencies:
        names, label = [str(one) for one in concurrencies], "concurrency"
    elif None not in rates and len(set(rates)) == len(rates):
        names, label = [f"{one:,.6g}" for one in rates], "requests offered per second"
    else:
        names, label = [level.name for level in shown], ""
    slanted = sum(map(len, names)) > 50
    axes.set_xticks(range(len(shown)), names)
    if slanted:
        axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(label)
    axes.margins(x=0.08)


def throughput(result: Result) -> Figure | None:
    """Draw latency over throughput: where more load buys nothing but waiting."""
    shown = [level for level in result.levels if level.latency_ms]
    if not shown:
        return None
    drawn = drawing.figure()
    axes = drawn.subplots()
    rates = [level.replies_per_s for level in shown]
    values: list[float] = []
    for name, colour in (("p50", SERIES[0]), ("p99", SERIES[2])):
        line = [getattr(level.latency_ms, name) for level in shown]
        _lines(axes, shown, rates, line, colour, name)
        values += line
    for level in shown:
        assert level.latency_ms
        axes.annotate(
            str(level.concurrency or level.name),
            (level.replies_per_s, level.latency_ms.p99),
            xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8, color=MUTED,
        )  # fmt: skip
    drawing.log(axes, values)
    drawing.numbers(axes, x=True, y=False)
    axes.set_xlim(0, max(rates) * 1.12 or 1)
    return _latency_over("right replies per second", drawn, axes)


def percentiles(result: Result) -> Figure | None:
    """Draw each level's latency at every percentile, the rare ones as wide as the common."""
    shown = [level for level in result.levels if len(level.quantiles) > 1]
    if not shown:
        return None
    drawn = drawing.figure(3.4)
    axes = drawn.subplots()
    values, farthest = [], 1.0
    for place, level in enumerate(shown):
        points = [(-math.log10(1 - share), ms) for share, ms in level.quantiles if share < 1]
        colour, dashes = drawing.line_of(place)
        axes.plot(*zip(*points, strict=True), dashes, color=colour, label=level.name)
        values += [ms for _, ms in points]
        farthest = max(farthest, points[-1][0])
    ticks = {0.0: "0 %", -math.log10(0.5): "50 %", 1.0: "90 %", 2.0: "99 %"}
    ticks |= {float(nines): f"99.{'9' * (nines - 2)} %" for nines in range(3, 7)}
    within = {x: text for x, text in ticks.items() if x <= farthest + 0.05}
    axes.set_xticks(list(within), list(within.values()))
    drawing.log(axes, values)
    return _latency_over("share of replies that are faster", drawn, axes)


def _latency_over(label: str, drawn: Figure, axes: Axes) -> Figure:
    axes.set_xlabel(label)
    axes.set_ylabel("latency, ms")
    axes.grid()
    drawn.legend(loc="outside upper right", ncols=3)
    return drawn


def timeline(result: Result) -> Figure | None:
    """Draw replies a second and p99 of each level from its begin to its end."""
    shown = [level for level in result.levels if len(level.timeline) > 1]
    if not shown:
        return None
    drawn = drawing.figure(3.9)
    upper, lower = drawn.subplots(2, 1, sharex=True)
    values = []
    for place, level in enumerate(shown):
        colour, dashes = drawing.line_of(place)
        ends = [0.0, *(step.at_s for step in level.timeline)]
        rates = [
            step.replies / max(step.at_s - begin, 1e-9)
            for begin, step in zip(ends, level.timeline, strict=False)
        ]
        upper.plot(ends[1:], rates, dashes, color=colour, label=level.name)
        timed = [(one.at_s, one.p99_ms) for one in level.timeline if one.p99_ms is not None]
        if timed:
            lower.plot(*zip(*timed, strict=True), dashes, color=colour)
        values += [ms for _, ms in timed]
    drawing.log(lower, values)
    drawing.numbers(upper)
    upper.set_ylim(bottom=0)
    upper.set_xlim(left=0)
    upper.set_ylabel("replies per second")
    lower.set_ylabel("p99 latency, ms")
    lower.set_xlabel("seconds since the level began")
    for axes in (upper, lower):
        axes.grid(axis="y")
    drawn.legend(loc="outside upper right", ncols=3)
    return drawn


def breakdown(result: Result) -> Figure | None:
    """Draw where a request's time went in each model that took part, by Triton's statistics."""
    found = _by_model(result)
    if not found:
        return None
    drawn, stack = _stacked(found, 0.75)
    for axes, (_, rows) in zip(stack, found, strict=True):
        left = [0.0] * len(rows)
        for colour, (stage, label) in zip(SERIES, _STAGES.items(), strict=False):
            widths = [getattr(part, stage) for _, part in rows]
            axes.barh(range(len(rows)), widths, left=left, color=colour, height=0.7, label=label)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        _rows(axes, [level for level, _ in rows])
        axes.grid(axis="x")
    stack[-1].set_xlabel("mean of a request, ms")
    drawing.numbers(stack[-1], x=True, y=False)
    handles, labels = stack[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper right", ncols=4)
    return drawn


def _by_model(result: Result) -> _PartsByModel:
    """Give each model that took part with its figures by level, the one that was asked first."""
    names = dict.fromkeys(name for level in result.levels for name in level.parts)
    return [
        (name, [(level.name, level.parts[name]) for level in result.levels if name in level.parts])
        for name in sorted(names, key=lambda name: name != result.model)
    ]


def _stacked(found: _PartsByModel, margin_in: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with a field for each model, as high as it has levels."""
    drawn = drawing.figure(margin_in + sum(_ROW_IN * len(rows) + 0.42 for _, rows in found))
    grid = drawn.subplots(
        len(found),
        1,
        squeeze=False,
        sharex=True,
        height_ratios=[len(rows) + 1 for _, rows in found],
    )
    for axes, (name, _) in zip(grid[:, 0], found, strict=True):
        axes.set_title(name, color=INK)
    return drawn, list(grid[:, 0])


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name rows from the top down."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def batches(result: Result) -> Figure | None:
    """Draw in batches of which size the requests of each level were answered."""
    found = [
        (name, rows)
        for name, rows in _by_model(result)
        if any(size > 1 for _, part in rows for size in part.batches)
    ]
    if not found:
        return None
    drawn, stack = _stacked(found, 0.7)
    for axes, (_, rows) in zip(stack, found, strict=True):
        largest = max(size for _, part in rows for size in [1, *part.batches])
        for place, (_, part) in enumerate(rows):
            _sizes(axes, place, part, largest)
        _rows(axes, [level for level, _ in rows])
        axes.set_xlim(0, 1)
    stack[-1].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    stack[-1].set_xlabel("of the requests, answered in batches of the size written")
    return drawn


def _sizes(axes: Axes, place: int, part: Part, largest: int) -> None:
    """Draw one bar: a stretch for each batch size, the darker the larger the batch."""
    total = sum(size * times for size, times in part.batches.items())
    left = 0.0
    for size, times in sorted(part.batches.items()):
        width = size * times / total if total else 0.0
        depth = math.log2(size) / math.log2(largest) if largest > 1 and size > 0 else 0.0
        axes.barh(
            place, width, left=left, color=SERIES[0], alpha=0.12 + 0.75 * depth, height=0.78,
            linewidth=0,
        )  # fmt: skip
        if width >= _LEAST_WRITTEN:
            axes.text(
                left + width / 2, place, str(size), ha="center", va="center", fontsize=8, color=INK
            )
        left += width


def resources(result: Result) -> Figure | None:
    """Draw what a reply cost the server and the load generator, and the server's memory."""
    shown = [level for level in result.levels if level.server_cpu_ms is not None]
    if not shown:
        return None
    drawn = drawing.figure(2.2 + 0.1 * len(shown))
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for offset, colour, name, label in (
        (-0.19, SERIES[0], "server_cpu_ms", "server"),
        (0.19, SERIES[7], "load_cpu_ms", "load generator"),
    ):
        costs = [getattr(level, name) or 0.0 for level in shown]
        places = [place + offset for place in range(len(shown))]
        left.barh(places, costs, color=colour, height=0.36, label=label)
    memory = [(level.memory_bytes or 0) / 2**20 for level in shown]
    right.barh(range(len(shown)), memory, color=SERIES[2], height=0.6)
    _rows(left, [level.name for level in shown])
    left.set_xlabel("CPU time per reply, ms")
    right.set_xlabel("server's memory, MiB")
    for axes in (left, right):
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=5)
        drawing.numbers(axes, x=True, y=False)
    drawn.legend(loc="outside upper right", ncols=2)
    return drawn


CHARTS = (
    Chart(
        "latency",
        "Latency over load",
        "Percentiles of every reply; dotted marks are bounds that objectives set.",
        latency,
    ),
    Chart(
        "throughput",
        "Latency over throughput",
        "Where the line turns upwards, more load buys waiting, not replies.",
        throughput,
    ),
    Chart(
        "percentiles",
        "Percentiles",
        "Each step to the right is ten times rarer.",
        percentiles,
    ),
    Chart("timeline", "Timeline", "A level that is stable is flat.", timeline),
    Chart(
        "breakdown",
        "Queue and compute",
        "Triton's own statistics: means of a request in each model that took part. The model that"
        " was asked comes first; an ensemble contains the compute of its parts, not their queues.",
        breakdown,
    ),
    Chart(
        "batches",
        "Batches formed",
        "What the dynamic batcher made of the load: the darker, the larger the batch.",
        batches,
    ),
    Chart(
        "resources",
        "CPU and memory",
        "Of the server with all its processes. Server and load generator share the machine.",
        resources,
    ),
)


def drawn(result: Result, salt: str = "") -> Iterator[tuple[Chart, Figure]]:
    """Give the charts that the result holds figures for, each to be saved before the next.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    for chart in CHARTS:
        with drawing.style(f"{salt}{chart.slug}"):
            found = chart.draw(result)
            if found is not None:
                yield chart, found
