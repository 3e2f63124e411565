"""``modelport promote``: have a version serve, once it has shown that it may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output

if TYPE_CHECKING:
    from modelport.rollout.gates import Figures
    from modelport.rollout.promotion import Checked, Outcome, UnderLoad


@click.command("promote")
@options.MODEL
@click.argument("version", type=click.IntRange(1))
@options.REPOSITORY
@click.option("--reason", default="", help="Why, for the log.")
@click.option("--force", is_flag=True, help="Overrule what stands against it; needs --reason.")
@click.option(
    "--allow-breaking", is_flag=True, help="Let callers of what serves break; needs --reason."
)
@click.option("--keep-config", is_flag=True, help="Leave hand edits of config.pbtxt as they are.")
@click.option(
    "--bound",
    multiple=True,
    metavar="FIGURE=RATIO",
    help="Load both versions in turn, too, as `perf compare` does, and hold to this, such as"
    " p99=1.1; may be repeated. Figures that are not named keep their bounds, see `perf compare`.",
)
@options.DRY_RUN
@options.AS_JSON
@pass_output
def command(out: Output, /, model: str, version: int, repository: Path, **given: Any) -> None:
    """Have VERSION of NAME serve, with the parts that it was proven with.

    It is tried on a private server first: digests, answers to its own samples, figures and
    speed against the version that serves. It must not break those who call what serves, as
    `modelport schema check` tells. A server that runs here switches without losing
    a request. Bounds stand in modelport.toml.
    """
    from modelport.repository.layout import Repository
    from modelport.rollout import intent, promotion

    overruling = "--force" if given["force"] else "--allow-breaking"
    if (given["force"] or given["allow_breaking"]) and not given["reason"].strip():
        raise click.UsageError(f'{overruling} needs --reason "why it shall serve all the same"')
    place = Repository(repository)
    if not given["dry_run"]:
        intent.recover(place, out.note)
    try:
        checked = promotion.check(
            place, model, version, out.note, under_load=_under_load(out, given["bound"])
        )
    finally:
        out.end_bar()
    if not checked.target.changes:
        _nothing_to_do(out, model, version, as_json=given["as_json"])
        return
    if checked.not_loaded:
        out.note(f"not loaded beside what serves: {checked.not_loaded}")
    outcome = None
    if not given["dry_run"]:
        outcome = promotion.promote(
            place,
            checked,
            model,
            version,
            reason=given["reason"],
            force=given["force"],
            allow_breaking=given["allow_breaking"],
            keep_config=given["keep_config"],
        )
    if given["as_json"]:
        out.json(as_json(checked, outcome))
        return
    show(out, checked, outcome)
    for objection in (*checked.objections, *checked.breaking):
        out.note(f"{'stands against it' if outcome is None else 'overruled'}: {objection}")
    if outcome is not None:
        out.note(f"next: modelport rollback {model}, if it does worse for you")


def show(out: Output, checked: Checked, outcome: Outcome | None) -> None:
    """Show what changes, and what servers did."""
    changed = [
        (c.model, ", ".join(map(str, c.before)) or None, c.after) for c in checked.target.changes
    ]
    title = "serves now" if outcome else "would serve (dry run)"
    out.table("", ("model", "served", title), changed)
    rows = [*_figures(checked.figures), *_speeds(checked)]
    if rows:
        out.table("", ("model", "figure", "before", "after"), rows)
    if checked.under_load:
        from modelport.cli import perf_compare

        for one in checked.under_load.values():
            perf_compare.show(out, one)
    if outcome is None:
        return
    for endpoint, took in outcome.servers.items():
        out.text(f"{endpoint} switched in {took * 1e3:.0f} ms")
    if not outcome.servers:
        out.note("no server runs here on this repository: the next one serves it so")


def as_json(checked: Checked, outcome: Outcome | None) -> dict[str, Any]:
    """Give the same for programs."""
    from modelport.rollout import history

    return {
        "changes": {
            c.model: {"before": list(c.before), "after": c.after} for c in checked.target.changes
        },
        "figures": {
            model: {name: figure.model_dump() for name, figure in found.items()}
            for model, found in checked.figures.items()
        },
        "speed": {name: vars(ratio) for name, ratio in checked.speed.items()},
        "load": {name: one.model_dump(mode="json") for name, one in checked.under_load.items()},
        "not_loaded": checked.not_loaded,
        "objections": list(checked.objections),
        "breaking": list(checked.breaking),
        "entry": history.dump(outcome.entry) if outcome else None,
        "switched_s": dict(outcome.servers) if outcome else {},
    }


def _under_load(out: Output, texts: Sequence[str]) -> UnderLoad | None:
    if not texts:
        return None
    from modelport.perf import compare
    from modelport.rollout.promotion import UnderLoad

    return UnderLoad(
        compare.bounds_of(texts),
        compare.named(texts),
        lambda load, done, of: out.bar("rounds", load, done, of),
    )


def _nothing_to_do(out: Output, model: str, version: int, *, as_json: bool) -> None:
    if as_json:
        out.json({"changes": {}, "entry": None})
    else:
        out.text(f"{model} {version} serves already")


def _figures(figures: Figures) -> list[tuple[object, ...]]:
    return [
        (model, name, _number(figure.before), _number(figure.after))
        for model, found in figures.items()
        for name, figure in found.items()
        if figure.before != figure.after
    ]


def _speeds(checked: Checked) -> list[tuple[object, ...]]:
    return [
        (
            name,
            "median latency",
            f"{r.before_ms:.3g} ms",
            f"{r.after_ms:.3g} ms ({r.ratio:.2f}×, 95 %: {r.low:.2f} to {r.high:.2f})",
        )
        for name, r in checked.speed.items()
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
