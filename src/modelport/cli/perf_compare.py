"""``modelport perf compare``: two versions or two settings, measured in turn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import RegressionError
from modelport.perf import compare as comparing

if TYPE_CHECKING:
    from modelport.perf.compare import Comparison, Ratio
    from modelport.perf.paired import Plan, Side

_WORDS = {
    "better": "✓ better",
    "same": "✓ within",
    "unclear": "? unclear",
    "regression": "✗ regression",
    None: None,
}


@click.command(name="compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@options.REPOSITORY
@click.option("--set-a", multiple=True, metavar="KEY=VALUE", help="A setting of A; see above.")
@click.option("--set-b", multiple=True, metavar="KEY=VALUE", help="A setting of B.")
@click.option(
    "--concurrency",
    multiple=True,
    type=click.IntRange(1, 1024),
    default=(1, 8),
    show_default=True,
    help="Callers who wait for their replies; may be repeated.",
)
@click.option("--rate", multiple=True, type=click.FloatRange(0.1), help="Poisson, per second.")
@click.option(
    "--rounds",
    type=click.IntRange(comparing.LEAST_ROUNDS, 1000),
    default=comparing.ROUNDS,
    show_default=True,
    help="Turns of each at each load.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0.2, 600),
    default=1.5,
    show_default=True,
    help="Seconds of each turn.",
)
@click.option(
    "--bound",
    multiple=True,
    metavar="FIGURE=RATIO",
    help="What B may be of A, such as p99=1.1 or throughput=0.95; may be repeated. Without: "
    + comparing.DEFAULTS,
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Ratios of before: bounds are then relative to these.",
)
@click.option("--save", type=click.Path(path_type=Path), help="Write the comparison as JSON.")
@click.option(
    "--save-baseline", type=click.Path(path_type=Path), help="Write the ratios alone as JSON."
)
@options.AS_JSON
@pass_output
def compare(out: Output, /, a: str, b: str | None, repository: Path, **given: Any) -> None:
    """Compare two versions or two settings of a model, and fail on a regression.

    A and B are NAME@VERSION, or NAME for the version that serves. Without B it is A with other
    settings. Each is served on a server of its own; both are loaded in turn, A B B A, and every
    reply is checked. Settings are instances, intra_op_threads, max_batch_size,
    preferred_batch_size and max_queue_delay_us, as in `--set-b instances=2`; of a part of an
    ensemble `--set-b PART.instances=2`.

    It is a regression only where the whole 95 % interval of a ratio, the median of the rounds',
    lies past its bound. A figure that cannot be told, such as p99 of turns with fewer than 100
    replies, is named; one that --bound or --baseline is about ends the command with an error.
    """
    from modelport.perf import analyzer, paired
    from modelport.repository.layout import Repository

    bounds = comparing.bounds_of(given["bound"])
    before = comparing.Comparison.read(given["baseline"]) if given["baseline"] else None
    sides = _sides(a, b or a, repository, given)
    plan = _plan(given, before)
    if before:
        comparing.refuse_misfit(before, sides[0].model, list(plan.loads))
    tool = analyzer.ensure(lambda event: out.note(event.text))
    out.note(f"A is {sides[0].name}, B is {sides[1].name}")
    try:
        found = paired.run(
            Repository(repository), *sides, plan, tool,
            lambda name, done, of: out.bar("rounds", name, done, of),
        )  # fmt: skip
    finally:
        out.end_bar()
    judged = comparing.judge(found, bounds, before, comparing.named(given["bound"]))
    if given["save"]:
        judged.write(given["save"])
    if given["save_baseline"]:
        judged.as_baseline().write(given["save_baseline"])
    if given["as_json"]:
        out.json(judged.model_dump(mode="json"))
    else:
        show(out, judged)
    fail_on(judged)


def show(out: Output, found: Comparison) -> None:
    """Show the ratios, and what to bear in mind."""
    columns = ("level", "figure", "A", "B", "B / A", "95 % interval", "bound", "")
    out.table("", columns, [_row(one) for one in found.ratios])
    if found.disturbance.busy:
        out.note(f"the machine was busy: {found.disturbance.note}")
    for note in (*(one.words for one in found.left_out), *found.notes):
        out.note(note)
    if found.named("unclear"):
        out.note("unclear: the interval reaches past the bound; more --rounds narrow it")


def _row(one: Ratio) -> tuple[object, ...]:
    from modelport.perf.report import rows

    unit = comparing.UNITS.get(one.figure, "")
    a, b = (number and f"{number} {unit}" for number in (rows.number(one.a), rows.number(one.b)))
    return (
        one.level,
        one.figure,
        a,
        b,
        f"{one.ratio:.3f}",
        f"{one.low:.3f} to {one.high:.3f}",
        None if one.bound is None else f"{one.bound:.3g}",
        _WORDS[one.verdict],
    )


def _sides(a: str, b: str, repository: Path, given: dict[str, Any]) -> tuple[Side, Side]:
    from modelport.perf import paired
    from modelport.repository.layout import Repository

    place = Repository(repository)
    (model, one), (other_model, other) = _operand(a), _operand(b)
    if model != other_model:
        raise click.UsageError(f"{model} and {other_model} are two models: give two versions")
    sides = (
        paired.side(place, model, one, given["set_a"]),
        paired.side(place, model, other, given["set_b"]),
    )
    if sides[0] == sides[1]:
        raise click.UsageError(
            f"A and B are the same, {sides[0].name}: name two versions, or give --set-b KEY=VALUE"
        )
    return sides


def _operand(text: str) -> tuple[str, int | None]:
    name, at, version = text.partition("@")
    if at and not (version.isdecimal() and int(version)):
        raise click.UsageError(f"{text!r} is not NAME@VERSION, such as digits@3")
    return name, int(version) if at else None


def _plan(given: dict[str, Any], before: Comparison | None) -> Plan:
    from modelport.perf import arrivals, load, paired

    seconds = given["duration"]
    loads: dict[str, load.Load] = {
        f"concurrency {callers}": load.Closed(callers, seconds) for callers in given["concurrency"]
    }
    for rate in given["rate"]:
        loads[f"{rate:g}/s"] = load.Open(arrivals.poisson(rate, seconds), seconds)
    needed = {(figure, name) for figure in comparing.named(given["bound"]) for name in loads}
    if before:
        needed |= {(one.figure, one.level) for one in before.ratios}
    return paired.Plan(loads, given["rounds"], needed)


def fail_on(found: Comparison) -> None:
    """Raise RegressionError where anything regressed."""
    worse = found.named("regression")
    if not worse:
        return
    texts = [one.words for one in worse]
    raise RegressionError(
        f"{found.b} is worse than {found.a}\n" + "\n".join(f"  {text}" for text in texts),
        cause=found.disturbance.note or None,
        next_step="--bound FIGURE=RATIO for what you accept, more --rounds for less doubt",
        regressions=texts,
    )
