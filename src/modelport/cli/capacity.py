"""``modelport capacity``: how many servers a rate takes, and what a million replies cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.cli.tune import SLO, progress
from modelport.errors import ObjectiveError

if TYPE_CHECKING:
    from modelport.perf.capacity import Capacity
    from modelport.perf.result import Level

_WORDS = {False: "breaks", True: "too few replies"}


@click.command("capacity")
@options.MODEL
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), required=True,
              help="Requests a second, in all.")  # fmt: skip
@SLO
@options.REPOSITORY
@click.option("--spare", type=click.IntRange(0), default=0, show_default=True,
              help="Servers beyond those that the rate takes.")  # fmt: skip
@click.option("--price-per-core-hour", type=click.FloatRange(0), help="In any currency.")
@click.option("--watts-per-core", type=click.FloatRange(0), default=5.0, show_default=True,
              help="Of a busy core, where no meter can be read: an assumption.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0.2, 600), default=2.0, show_default=True,
              help="Seconds of each try, at least; each rate has two.")  # fmt: skip
@options.AS_JSON
@pass_output
def command(out: Output, /, model: str, rate: float, repository: Path, **given: Any) -> None:
    """Say how many servers like this machine it takes to answer NAME at a rate.

    The highest rate that one server sustains within the objectives is simulated from measured
    executions and then tried for real, at random times. The objectives name no load: "p99 <= 50
    ms". The load generator runs on the same machine, so a server alone can do more.
    """
    from modelport.perf import analyzer, capacity, objectives, series
    from modelport.repository.layout import Repository

    found = capacity.estimate(
        Repository(repository),
        model,
        rate,
        [objectives.parse(text) for text in given["slo"]],
        analyzer.ensure(lambda event: out.note(event.text)),
        progress(out),
        capacity.Prices(given["price_per_core_hour"], given["watts_per_core"], given["spare"]),
        series.Wish(rounds=2, duration_s=given["duration"]),
    )
    out.end_bar()
    if given["as_json"]:
        out.json(as_json(found))
    else:
        _show(out, found)
    if not found.servers:
        slowest = found.tried[0]
        if slowest.untold:
            raise ObjectiveError(
                f"{model}: too few replies to tell what one server sustains: {slowest.why}",
                cause="the model is slow for the share that an objective is about",
                next_step="--duration 60, or ask for a mean or a p90",
                reasons=[slowest.why],
            )
        raise ObjectiveError(
            f"{model}: one server does not sustain even {slowest.rate_per_s:.4g}/s within the"
            f" objectives: {slowest.why}",
            cause="more servers do not make one request quicker",
            next_step=f'modelport tune {model} --slo "{given["slo"][0]} at'
            f' {slowest.rate_per_s:.3g}/s", or allow more',
            reasons=[slowest.why],
        )


def _show(out: Output, found: Capacity) -> None:
    rows = [
        (
            f"{one.rate_per_s:.4g}/s",
            "holds" if one.holds else f"{_WORDS[one.untold]}: {one.why}",
            *_figures(one.level),
        )
        for one in found.tried
    ]
    columns = ("rate", "objectives", "replies/s", "p50 ms", "p99 ms", "CPU ms")
    out.table(f"one server ({found.cores} cores), tried for real", columns, rows)
    out.text(f"simulated: {found.simulated_per_s:.4g}/s; {found.settings}")
    if found.servers:
        spare = f", {found.spare} of them spare" if found.spare else ""
        out.text(
            f"{found.rate_per_s:g}/s takes {found.servers} server{'s' * (found.servers > 1)}"
            f"{spare}:"
            f" each can do {found.sustained_per_s:.4g}/s and does {found.load:.0%} of that"
        )
        if found.price is not None:
            out.text(f"a million replies cost {found.price:.3g} (all cores, all the time)")
        out.text(f"a million replies take {found.energy_wh:.3g} Wh: {found.energy_method}")
    if found.disturbance.note:
        out.note(found.disturbance.note)


def _figures(level: Level | None) -> tuple[str | None, ...]:
    if level is None or level.latency_ms is None:
        return (None, None, None, None)
    values = (level.replies_per_s, level.latency_ms.p50, level.latency_ms.p99, level.server_cpu_ms)
    return tuple(f"{value or 0:.4g}" for value in values)


def as_json(found: Capacity) -> dict[str, Any]:
    """Give what was found for programs."""
    return {
        "model": found.model,
        "settings": found.settings.table().model_dump(),
        "rate_per_s": found.rate_per_s,
        "objectives": [one.text for one in found.objectives],
        "cores": found.cores,
        "simulated_per_s": found.simulated_per_s,
        "sustained_per_s": found.sustained_per_s,
        "servers": found.servers,
        "spare": found.spare,
        "load": found.load,
        "price_per_million": found.price,
        "energy_wh_per_million": found.energy_wh,
        "energy_method": found.energy_method,
        "tried": [
            {
                "rate_per_s": one.rate_per_s,
                "holds": None if one.untold else one.holds,
                "why": one.why,
                "level": one.level.model_dump(mode="json") if one.level else None,
            }
            for one in found.tried
        ],
        "disturbance": found.disturbance.model_dump(),
    }
