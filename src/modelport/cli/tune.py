"""``modelport tune``: the cheapest settings of a model that meet its objectives, found and kept."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import ModelportError, ObjectiveError

if TYPE_CHECKING:
    from modelport.perf.series import Tell
    from modelport.perf.trials import Confirmed
    from modelport.perf.tuning import Outcome
    from modelport.repository.layout import Repository
    from modelport.spec.tuned import Evidence

SLO = click.option(
    "--slo",
    multiple=True,
    required=True,
    help='What must hold, like "p99 <= 20 ms at 200/s"; may be repeated.',
)
_COLUMNS = ("", "instances", "threads", "max batch", "preferred", "delay", "at", "replies/s")
_FIGURES = ("p50 ms", "p99 ms", "CPU ms", "memory MiB")


@click.command("tune")
@options.MODEL
@SLO
@options.REPOSITORY
@options.BUILDERS
@click.option("--confirm", "count", type=click.IntRange(1, 50), default=3, show_default=True,
              help="How many of the best are tried for real.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0.2, 600), default=1.0, show_default=True,
              help="Seconds of each of six tries, at least.")  # fmt: skip
@click.option("--lower-batch", is_flag=True, help="Let max_batch_size become less, too.")
@click.option("--exhaustive", is_flag=True, help="Try every configuration for real: hours.")
@options.DRY_RUN
@options.AS_JSON
@pass_output
def command(out: Output, /, model: str, repository: Path, **given: Any) -> None:
    """Find the cheapest settings of NAME that meet objectives, on this machine.

    Executions are measured once, all settings are simulated, and the best few tried for real
    beside those that serve now: instances, threads, preferred batch sizes, queue delay. The
    cheapest has the least CPU time of the server for a reply, then the least memory. What is found
    is written beside the builder file, with the evidence, and holds from the next build on.

    Of an ensemble the part that computes most is tuned. docs/tuning.md says what to believe.
    """
    from modelport.build import keeping
    from modelport.perf import analyzer, objectives, series, tuning
    from modelport.repository.layout import Repository

    wanted = [objectives.parse(text) for text in given["slo"]]
    tool = analyzer.ensure(lambda event: out.note(event.text))
    wish = series.Wish(
        count=given["count"],
        duration_s=given["duration"],
        lower_batch=given["lower_batch"],
        exhaustive=given["exhaustive"],
    )
    place = Repository(repository)
    names = tuning.subject(place, model)[1]
    keeping.refuse_unreadable(place, list(names), given["builders"])
    found = tuning.tune(place, model, wanted, tool, progress(out), wish)
    out.end_bar()
    if not given["as_json"]:
        _show(out, found)
    kept, problem = None, None
    if found.changes and not given["dry_run"]:
        try:
            kept = _keep(place, found, given["builders"])
        except ModelportError as error:
            problem = error
    if given["as_json"]:
        out.json(as_json(found, kept))
    if problem is not None:
        _fragment(out, found, as_json=given["as_json"])
        raise problem
    if found.chosen is None:
        raise _unmet(found)
    if not given["as_json"]:
        _next(out, found, kept, dry_run=given["dry_run"])


def progress(out: Output) -> Tell:
    """Give what shows the steps of measuring, simulating and trying."""
    words_of = {"measure": "measuring", "simulate": "simulating", "confirm": "trying"}

    def tell(step: str, done: int, of: int, words: str) -> None:
        if step != "simulate" or done % 20 == 0:
            out.bar(words_of[step], words or f"{done} of {of}", done, of)

    return tell


def _keep(repository: Repository, found: Outcome, builders: Path) -> Path | None:
    """Write the settings beside the builder file; None where there is none.

    Raises:
        BuildError: they would not hold there, or the file cannot be read or written.
    """
    from modelport.build import keeping
    from modelport.perf.settings import Settings

    assert found.chosen is not None
    path = keeping.builder_of(repository, found.tuned, builders)
    if path is None:
        return None
    evidence, wanted = _evidence(repository, found, found.chosen), found.chosen.settings.table()
    return keeping.keep(
        path, found.tuned, wanted, evidence, lambda config: Settings.of(config).table()
    )


def _evidence(repository: Repository, found: Outcome, chosen: Confirmed) -> Evidence:
    from modelport import __version__
    from modelport.perf import target
    from modelport.spec.tuned import Evidence
    from modelport.verify import latency

    manifest = repository.folder(found.tuned).manifest(found.versions[found.tuned])
    return Evidence(
        objectives=tuple(one.text for one in found.objectives),
        asked=found.model,
        tuned_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=latency.machine(),
        measured=chosen.figures,
        before=found.before.figures,
        simulator_error=chosen.errors,
        versions={"modelport": __version__, **target.packages()},
        files={one.path: one.sha256 for one in manifest.files},
        note=found.disturbance.note,
    )


def _show(out: Output, found: Outcome) -> None:
    if found.shares:
        shares = ", ".join(f"{n} {s:.0%}" for n, s in sorted(found.shares.items(), key=_share))
        out.text(f"time of executions: {shares}; {found.tuned} is tuned")
    out.table("simulated, the best first", (*_COLUMNS, *_FIGURES), list(_simulated(found)))
    rows = [row for one in found.confirmed for row in _measured(found, one)]
    for note in found.times.notes:
        out.note(note)
    out.table("tried for real", (*_COLUMNS, *_FIGURES), rows)
    errors = [
        f"{load}: p50 {e.get('p50_ms', 0):+.0%}, p99 {e.get('p99_ms', 0):+.0%}, throughput"
        f" {e.get('replies_per_s', 0):+.0%}"
        for load, e in (found.chosen or found.nearest).errors.items()
    ]
    for one in found.confirmed:
        if not one.holds:
            out.text(f"{one.settings}: {'; '.join(one.reasons)}")
    out.text(f"{found.searched} configurations simulated; the simulation was off by")
    for line in errors or ["  nobody knows how much: nothing was measured"]:
        out.text(f"  {line}")
    if found.disturbance.note:
        out.note(found.disturbance.note)


def _share(item: tuple[str, float]) -> float:
    return -item[1]


def _simulated(found: Outcome) -> list[tuple[object, ...]]:
    from modelport.perf import search
    from modelport.perf.trials import figures

    return [
        (
            ("holds" if one.holds else "breaks"),
            *cells(one.settings),
            level.name,
            *_cells(figures(level)),
        )
        for one in search.distinct(found.ranked, 8)
        for level in one.levels
    ]


def _measured(found: Outcome, one: Confirmed) -> list[tuple[object, ...]]:
    word = "holds" if one.holds else "too few replies" if one.untold else "breaks"
    if one is found.chosen:
        word += ", chosen"
    if one is found.before:
        word += ", as now"
    return [
        (word, *cells(one.settings), load, *_cells(figures))
        for load, figures in (one.figures or {"": {}}).items()
    ]


def cells(settings: Any) -> tuple[object, ...]:
    """Give settings as cells of a table."""
    batching = settings.batching
    return (
        batching.instances,
        settings.threads or None,
        batching.max_batch_size,
        (" ".join(map(str, batching.preferred)) or None) if batching.dynamic else "no batching",
        f"{batching.delay_s * 1e6:g} µs" if batching.dynamic else None,
    )


def _cells(figures: dict[str, float]) -> tuple[object, ...]:
    names = ("replies_per_s", "p50_ms", "p99_ms", "cpu_ms", "memory_mib")
    return tuple(f"{figures[name]:.3g}" if name in figures else None for name in names)


def _next(out: Output, found: Outcome, kept: Path | None, *, dry_run: bool) -> None:
    if not found.changes:
        out.note("nothing tried is beyond doubt 3 % cheaper than what serves now: nothing changes")
        return
    if kept is not None:
        out.note(f"written: {kept}")
        out.note(f"next: modelport build {found.model}, which publishes it as a new version")
        return
    _fragment(out, found)
    if not dry_run:
        out.note(f"no builder file of {found.tuned} is here: put this into its config.pbtxt")


def _fragment(out: Output, found: Outcome, *, as_json: bool = False) -> None:
    """Print the lines of config.pbtxt that say what was found."""
    from modelport.perf.settings import THREADS
    from modelport.repository import pbtxt
    from modelport.spec.config import ModelConfig

    if found.chosen is None or as_json:
        return
    settings = found.chosen.settings
    bare = ModelConfig(parameters={THREADS: "1"} if settings.threads else {})
    out.text(pbtxt.render(settings.applied(bare)).rstrip())


def _unmet(found: Outcome) -> ObjectiveError:
    nearest = found.nearest
    reasons = nearest.reasons
    if nearest.untold:
        return ObjectiveError(
            f"{found.model}: too few replies to tell whether {nearest.settings} meets the"
            f" objectives: {'; '.join(reasons)}",
            cause="the model is slow, or asked seldom, for the share that an objective is about",
            next_step=f"--duration {math.ceil(nearest.needs_s)}, or ask for a mean or a p90",
            reasons=reasons,
        )
    return ObjectiveError(
        f"{found.model}: none of {found.searched} configurations meets the objectives; the nearest"
        f" is {nearest.settings}: {'; '.join(reasons)}",
        cause=_limit(found),
        next_step="allow more, offer less, or spread it: modelport capacity " + found.model,
        reasons=reasons,
    )


def _limit(found: Outcome) -> str:
    """Say what binds: the cores, the time of one execution, or neither."""
    times, nearest = found.times, found.nearest
    if not nearest.levels:
        return "the load is more than this machine can take"
    busy = max(
        (level.replies_per_s * ((level.server_cpu_ms or 0) + (level.load_cpu_ms or 0)) / 1e3)
        for level in nearest.levels
    )
    alone = min(p.latency_s[0] for p in times.points if p.size == 1 and p.instances == 1) * 1e3
    if busy > 0.85 * times.cores:
        return f"the machine's {times.cores} cores are busy ({busy:.1f} on average)"
    return f"a lone request takes {alone:.3g} ms, and {busy:.1f} of {times.cores} cores are busy"


def as_json(found: Outcome, kept: Path | None) -> dict[str, Any]:
    """Give the outcome for programs."""

    def one(confirmed: Confirmed) -> dict[str, Any]:
        return {
            "settings": confirmed.settings.table().model_dump(),
            "holds": False if confirmed.problem else None if confirmed.untold else confirmed.holds,
            "problem": confirmed.problem or None,
            "measured": confirmed.figures,
            "simulator_error": confirmed.errors,
            "objectives": [judged.model_dump() for judged in confirmed.judged],
        }

    return {
        "model": found.model,
        "tuned": found.tuned,
        "shares": dict(found.shares),
        "searched": found.searched,
        "confirmed": [one(each) for each in found.confirmed],
        "before": one(found.before),
        "chosen": one(found.chosen) if found.chosen else None,
        "changes": found.changes,
        "written": str(kept) if kept else None,
        "notes": found.times.notes,
        "service_times": found.times.model_dump(),
        "disturbance": found.disturbance.model_dump(),
    }
