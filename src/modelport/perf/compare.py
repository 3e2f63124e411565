"""Two things measured in turn: ratios with their doubt, and whether one is worse past a bound.

What is kept are ratios: a machine that is faster or busier changes times, and both sides alike.
A baseline is a comparison without times, of something with a reference that is measured anew
each time, such as the version promoted before, or a bare onnxruntime loop in the same run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, NoReturn

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from modelport.errors import ProfileError, ResultError
from modelport.perf.result import Disturbance, Machine, problems
from modelport.verify import intervals

Verdict = Literal["better", "same", "unclear", "regression"]
# What each figure may become, B over A, unless something else is asked for.
BOUNDS: Mapping[str, float] = {
    "throughput": 0.9,
    "p50": 1.1,
    "p99": 1.25,
    "cpu": 1.1,
    "memory": 1.1,
}
UNITS: Mapping[str, str] = {
    "throughput": "/s",
    "p50": "ms",
    "p99": "ms",
    "cpu": "ms",
    "memory": "MiB",
}
DEFAULTS = ", ".join(f"{figure}={bound:g}" for figure, bound in BOUNDS.items())
_MORE_IS_BETTER = frozenset({"throughput"})
LEAST_ROUNDS = intervals.LEAST
# Of nine, one that is far off moves neither end of the interval.
ROUNDS = 9


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ratio(_Part):
    """One figure of B over that of A.

    Attributes:
        figure: ``throughput``, ``p50``, ``p99``, ``cpu`` (of the server, per reply), ``memory``.
        level: of the load.
        rounds: in which both were measured.
        ratio: median of the rounds' ratios.
        low: of its 95 % interval, one of the rounds' ratios; see
            :func:`modelport.verify.intervals.paired`.
        high: of that interval.
        a: median of A, in the figure's unit; None in a baseline.
        b: median of B.
        bound: that the ratio was held against; None before it is judged.
        verdict: ``regression`` when the whole interval lies past the bound, ``unclear`` when a
            part of it does, ``better`` when all of it is on the good side of 1.
    """

    figure: str
    level: str
    rounds: int
    ratio: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat
    a: PositiveFloat | None = None
    b: PositiveFloat | None = None
    bound: PositiveFloat | None = None
    verdict: Verdict | None = None

    @property
    def words(self) -> str:
        """Say what was found, and what was allowed."""
        allowed = "" if self.bound is None else f", allowed is {self.bound:.3g}"
        return (
            f"{self.figure} at {self.level} is {self.ratio:.3f} times that of A"
            f" (95 %: {self.low:.3f} to {self.high:.3f}){allowed}"
        )


class LeftOut(_Part):
    """A figure that was to be compared, and was not.

    Attributes:
        figure: its name.
        level: of the load.
        why: in words.
    """

    figure: str
    level: str
    why: str

    @property
    def words(self) -> str:
        """Say what is missing and why."""
        return f"{self.figure} at {self.level} is not compared: {self.why}"


class Comparison(_Part):
    """What came of measuring two things in turn.

    Attributes:
        schema_version: of this file.
        model: that both sides serve.
        a: the reference, in words.
        b: what is held against it.
        started: UTC.
        machine: where.
        ratios: of every figure at every level, but of what was left out.
        left_out: figures that were not compared.
        disturbance: what others did to the machine.
        notes: what a reader has to know.
    """

    schema_version: Literal[1] = 1
    model: str
    a: str
    b: str
    started: AwareDatetime = Field(default_factory=lambda: datetime.now(timezone.utc))
    machine: Machine
    ratios: list[Ratio]
    left_out: list[LeftOut] = Field(default_factory=list)
    disturbance: Disturbance = Disturbance()
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Comparison:
        """Read a comparison or a baseline.

        Raises:
            ResultError: it is not there, or none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ResultError(
                f"{path}: cannot be read: {error.strerror}",
                next_step="modelport perf compare A B --save FILE writes one",
                path=path,
            ) from error
        except ValidationError as error:
            raise ResultError(
                f"{path}: {problems(error)}",
                cause="it is no comparison, or of a newer Modelport",
                next_step="modelport perf compare A B --save FILE writes one",
                path=path,
            ) from error

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def as_baseline(self) -> Comparison:
        """Leave ratios alone: times of one machine are no measure for another."""
        bare = {"a": None, "b": None, "bound": None, "verdict": None}
        return self.model_copy(
            update={"ratios": [one.model_copy(update=bare) for one in self.ratios]}
        )

    def named(self, verdict: Verdict) -> list[Ratio]:
        """Give the ratios of one verdict."""
        return [one for one in self.ratios if one.verdict == verdict]


def ratio(figure: str, level: str, a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Compare a figure that was taken of A and of B in each round.

    Args:
        figure: its name.
        level: of the load.
        a: one value for each round, above 0.
        b: one value for each of the same rounds.

    Raises:
        ResultError: there are too few rounds to tell how sure a ratio is.
    """
    if not len(a) == len(b) >= LEAST_ROUNDS:
        raise ResultError(
            f"{figure} at {level}: {len(a)} rounds of A and {len(b)} of B cannot be compared",
            cause=f"a 95 % interval needs {LEAST_ROUNDS} rounds of both at least",
            next_step=f"--rounds {ROUNDS}",
        )
    found = intervals.paired(b, a)
    middle = len(a) // 2
    return Ratio(
        figure=figure,
        level=level,
        rounds=len(a),
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        a=sorted(a)[middle],
        b=sorted(b)[middle],
    )


def judge(
    comparison: Comparison,
    bounds: Mapping[str, float] = BOUNDS,
    baseline: Comparison | None = None,
    named: Collection[str] = (),
) -> Comparison:
    """Hold ratios against bounds.

    Args:
        comparison: what was found.
        bounds: by figure, what B may be of A: at most, or of throughput at least. A figure
            without one is held against 1.
        baseline: what B was of A before; then bounds are what the ratio may be of that one,
            its own doubt in favour of B.
        named: figures that have to be there, at every level.

    Returns:
        The same with bounds and verdicts.

    Raises:
        ResultError: the baseline is of other things, or a figure that it holds or that is named
            was left out: what was not measured cannot have held.
    """
    before = _before(comparison, baseline) if baseline else {}
    # What the baseline left out has nothing to be held against.
    loose = {(one.figure, one.level): one for one in baseline.left_out} if baseline else {}
    for gone in [*comparison.left_out, *loose.values()]:
        if gone.figure in named:
            refuse(gone)
    judged = [
        one
        if (one.figure, one.level) in loose
        else _judged(one, bounds.get(one.figure, 1.0), before)
        for one in comparison.ratios
    ]
    return comparison.model_copy(update={"ratios": judged})


def _before(comparison: Comparison, baseline: Comparison) -> Mapping[tuple[str, str], Ratio]:
    known = {(one.figure, one.level): one for one in baseline.ratios}
    found = {(one.figure, one.level) for one in comparison.ratios}
    loose = {(one.figure, one.level) for one in baseline.left_out}
    lacks = [o for o in comparison.ratios if (o.figure, o.level) not in (known.keys() | loose)]
    if baseline.model != comparison.model or lacks:
        what = f"{lacks[0].figure} at {lacks[0].level}" if lacks else comparison.model
        raise _misfit(baseline, f"has no {what}")
    for one in comparison.left_out:
        if (one.figure, one.level) in known:
            refuse(one)
    if beyond := [key for key in known if key not in found]:
        figure, level = beyond[0]
        raise _misfit(baseline, f"holds {figure} at {level}, which was not measured")
    return known


def refuse_misfit(
    baseline: Comparison,
    model: str,
    levels: Collection[str],
    figures: Collection[str] = tuple(BOUNDS),
) -> None:
    """Refuse a baseline of another model or of other loads, before anything is measured.

    Args:
        baseline: what was before.
        model: that is to be measured.
        levels: the same.
        figures: of each level.

    Raises:
        ResultError: it is.
    """
    known = {(one.figure, one.level) for one in baseline.ratios}
    known |= {(one.figure, one.level) for one in baseline.left_out}
    wanted = {(figure, level) for level in levels for figure in figures}
    if baseline.model != model:
        raise _misfit(baseline, f"has no {model}")
    for figure, level in sorted(wanted - known):
        raise _misfit(baseline, f"has no {figure} at {level}")
    for figure, level in sorted(known - wanted):
        raise _misfit(baseline, f"holds {figure} at {level}, which is not to be measured")


def _misfit(baseline: Comparison, what: str) -> ResultError:
    return ResultError(
        f"the baseline of {baseline.model} ({baseline.b} against {baseline.a}) {what}",
        cause="it is of another model, or of another load",
        next_step="give the loads of the baseline (--concurrency, --rate), or write it anew:"
        " modelport perf compare A B --save-baseline FILE",
    )


def refuse(one: LeftOut) -> NoReturn:
    """Refuse to go on without a figure that a bound or a baseline is about.

    Raises:
        ResultError: always.
    """
    raise ResultError(
        one.words,
        cause="a bound or the baseline is about it, and what was not measured cannot hold",
        next_step="--duration with more seconds of each turn, or leave that bound out",
        figure=one.figure,
        level=one.level,
    )


def _judged(one: Ratio, bound: float, before: Mapping[tuple[str, str], Ratio]) -> Ratio:
    more = one.figure in _MORE_IS_BETTER
    if old := before.get((one.figure, one.level)):
        bound *= old.low if more else old.high
    # Turned round where more is better, so that less is better for all that follows.
    low, high, limit = (
        (1 / one.high, 1 / one.low, 1 / bound) if more else (one.low, one.high, bound)
    )
    verdict: Verdict
    if low > limit:
        verdict = "regression"
    elif high > limit:
        verdict = "unclear"
    else:
        verdict = "better" if high < 1 else "same"
    return one.model_copy(update={"bound": bound, "verdict": verdict})


def bounds_of(texts: Sequence[str]) -> dict[str, float]:
    """Read bounds such as ``p99=1.1``; those that are not named keep their defaults.

    See also :func:`named`.

    Raises:
        ProfileError: one is none.
    """
    found = dict(BOUNDS)
    for text in texts:
        figure, _, number = text.partition("=")
        try:
            bound = float(number)
        except ValueError:
            bound = 0.0
        if figure not in BOUNDS or not 0 < bound < float("inf"):
            raise ProfileError(
                f"bound {text!r} is not understood",
                cause=f"it is FIGURE=RATIO, B over A, of one of {', '.join(BOUNDS)}",
                next_step="write it like p99=1.1 (at most 1.1 times as long) or throughput=0.95"
                " (at least 0.95 times as many)",
                bound=text,
            )
        found[figure] = bound
    return found


def named(texts: Sequence[str]) -> frozenset[str]:
    """Give the figures that bounds name: those that have to be measured."""
    return frozenset(text.partition("=")[0] for text in texts)
