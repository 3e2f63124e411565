"""Service-level objectives in words: ``p99 <= 20 ms at 200/s``, and whether they are met.

The grammar::

    objective = figure bound ["at" place] | "no error" ["at" place] | "no wrong reply" ["at" place]
    figure    = ["first"] ("mean" | "p50" | "p90" | "p95" | "p99" | "p99.9" | "max")
              | "throughput" | "cpu" | "memory"
    bound     = ("<=" | "<" | ">=" | ">") number unit
    unit      = "us" | "ms" | "s"      of latencies, and of cpu: the server's CPU time per reply
              | "/s"                   of throughput: right replies a second
              | "KiB" | "MiB" | "GiB"  of memory: the server's process tree
    place     = "concurrency" number | rate "/s" | the name of a level

A rate means the ``open`` level of that rate, no burst, ramp or model of a mix; these go by name.
``first`` is about a stream's first reply. Without a place an objective is about every level.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelport.errors import ProfileError
from modelport.perf.result import Judged, Latency, Level

_SHARES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_LATENCIES = ("mean", *_SHARES, "max")
# How many of the unit that figures have in a Result, with the words for that unit.
_UNITS: Mapping[str, Mapping[str, float]] = {
    "ms": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
    "/s": {"/s": 1.0},
    "MiB": {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0},
}
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda got, bound: got <= bound,
    "<": lambda got, bound: got < bound,
    ">=": lambda got, bound: got >= bound,
    ">": lambda got, bound: got > bound,
}
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_COMPARISON = re.compile(
    rf"(?P<first>first\s+)?(?P<figure>[a-z]\w*(?:\.\d+)?)\s*(?P<operator><=|>=|<|>|≤|≥)\s*"
    rf"(?P<number>{_NUMBER})\s*(?P<unit>\S*?)(?:\s+at\s+(?P<place>.+))?"
)
_COUNT = re.compile(
    r"no\s+(?P<figure>errors?|wrong\s+repl(?:y|ies))(?:\s+at\s+(?P<place>.+))?",
)
_RATE = re.compile(rf"({_NUMBER})\s*/\s*s")
_CONCURRENCY = re.compile(r"concurrency\s+(\d+)")


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        figure: ``p99``, ``throughput``, ``cpu``, ``memory``, ``errors``, ``wrong`` …
        operator: ``<=``, ``<``, ``>=`` or ``>``.
        bound: in ``unit``.
        unit: ``ms``, ``/s``, ``MiB``, or empty for a count.
        first: it is about a stream's first reply.
        at: ``concurrency 8``, ``200/s``, the name of a level; empty for every level.
        text: as it was written.
    """

    figure: str
    operator: str
    bound: float
    unit: str = ""
    first: bool = False
    at: str = ""
    text: str = ""

    def __str__(self) -> str:
        """Give the text that parses to this objective."""
        at = f" at {self.at}" if self.at else ""
        if self.figure in ("errors", "wrong"):
            return ("no error" if self.figure == "errors" else "no wrong reply") + at
        first = "first " if self.first else ""
        space = "" if self.unit == "/s" else " "
        return f"{first}{self.figure} {self.operator} {self.bound!r}{space}{self.unit}{at}"

    @property
    def concurrency(self) -> int | None:
        """The callers of its place, where it names such."""
        found = _CONCURRENCY.fullmatch(self.at)
        return int(found[1]) if found else None

    @property
    def rate_per_s(self) -> float | None:
        """The rate of its place, where it names one."""
        found = _RATE.fullmatch(self.at)
        return float(found[1]) if found else None

    def is_about(self, level: Level) -> bool:
        """Tell whether a level is where this is to hold."""
        if not self.at or self.at == level.name:
            return True
        if self.concurrency is not None:
            return level.concurrency == self.concurrency
        if self.rate_per_s is not None and level.kind == "open":
            # By the rate that was asked for: the mean of a random schedule lies beside it. What
            # has another name, such as a model of a mix, a burst or a ramp, is no level of a rate.
            named = _RATE.fullmatch(level.name)
            return named is not None and math.isclose(
                float(named[1]), self.rate_per_s, rel_tol=1e-5
            )
        return False


def parse(text: str) -> Objective:
    """Read one objective.

    Raises:
        ProfileError: it is none; the message names the grammar.
    """
    words = " ".join(text.split())
    if found := _COUNT.fullmatch(words):
        figure = "errors" if found["figure"].startswith("error") else "wrong"
        return Objective(figure, "<=", 0.0, at=found["place"] or "", text=text)
    found = _COMPARISON.fullmatch(words)
    if not found:
        raise _unreadable(text, "it does not read as FIGURE <= NUMBER UNIT [at PLACE]")
    figure = "p99.9" if found["figure"] == "p999" else found["figure"]
    first = bool(found["first"])
    unit, factor = _unit(text, figure, found["unit"], first=first)
    operator = {"≤": "<=", "≥": ">="}.get(found["operator"], found["operator"])
    bound = float(found["number"]) * factor
    return Objective(figure, operator, bound, unit, first, found["place"] or "", text)


def _unit(text: str, figure: str, written: str, *, first: bool) -> tuple[str, float]:
    """Give the unit of a figure, and how many of it the written one is."""
    if figure in _LATENCIES or (figure == "cpu" and not first):
        unit = "ms"
    elif figure in ("throughput", "memory") and not first:
        unit = "/s" if figure == "throughput" else "MiB"
    else:
        known = ", ".join([*_LATENCIES, *([] if first else ["throughput", "cpu", "memory"])])
        raise _unreadable(text, f"{figure!r} is no figure{' of a first reply' * first}: {known}")
    if written not in _UNITS[unit]:
        units = ", ".join(_UNITS[unit])
        raise _unreadable(text, f"{written!r} is no unit of {figure}: one of {units}")
    return unit, _UNITS[unit][written]


def _unreadable(text: str, cause: str) -> ProfileError:
    return ProfileError(
        f"objective {text!r} is not understood",
        cause=cause,
        next_step="write it like one of: 'p99 <= 20 ms at 200/s', 'p50 <= 5 ms at concurrency 8',"
        " 'throughput >= 500/s', 'cpu <= 0.5 ms', 'memory <= 800 MiB', 'first p95 <= 100 ms',"
        " 'no error', 'no wrong reply'",
        objective=text,
    )


def judge(objectives: Sequence[Objective | str], levels: Sequence[Level]) -> list[Judged]:
    """Say of each objective whether the levels meet it.

    Raises:
        ProfileError: a text is no objective.
    """
    read = [parse(one) if isinstance(one, str) else one for one in objectives]
    return [_judged(one, levels) for one in read]


def _judged(objective: Objective, levels: Sequence[Level]) -> Judged:
    text = objective.text or str(objective)
    about = [level for level in levels if objective.is_about(level)]
    if not about:
        names = ", ".join(level.name for level in levels) or "none"
        why = f"no level {objective.at} was measured; there are {names}" if objective.at else ""
        return Judged(text=text, holds=None, why=why or "nothing was measured")
    found = [_of_level(objective, text, level) for level in about]
    # A level that breaks it is worse than one that does not tell, and that than any that meet it.
    rank = {False: 0, None: 1, True: 2}
    return min(found, key=lambda one: (rank[one.holds], _margin(objective, one)))


def _margin(objective: Objective, one: Judged) -> float:
    """Rank figures: the smaller, the nearer to breaking the bound, or the further beyond it."""
    if one.got is None:
        return -math.inf
    return one.got if objective.operator.startswith(">") else -one.got


def _of_level(objective: Objective, text: str, level: Level) -> Judged:
    got, missing = _figure(objective, level)
    if got is None:
        return Judged(text=text, holds=None, unit=objective.unit, at=level.name, why=missing)
    holds: bool | None = _OPERATORS[objective.operator](got, objective.bound)
    why = _words(objective, got, level, holds=bool(holds))
    if missing and holds:
        # too few replies to tell that it holds; they may well tell that it does not
        holds, why = None, missing
    elif holds and objective.unit and not level.stable:
        why += "; the level was not stable"
    return Judged(text=text, holds=holds, got=got, unit=objective.unit, at=level.name, why=why)


def _words(objective: Objective, got: float, level: Level, *, holds: bool) -> str:
    if objective.figure in ("errors", "wrong"):
        noun = "requests without a reply" if objective.figure == "errors" else "wrong replies"
        return f"no {noun}" if holds else f"{got:.0f} {noun} at {level.name}"
    unit = objective.unit if objective.unit == "/s" else f" {objective.unit}"
    word = "keeps" if holds else "breaks"
    return f"{got:.4g}{unit} at {level.name} {word} {objective.operator} {objective.bound:g}{unit}"


def _figure(objective: Objective, level: Level) -> tuple[float | None, str]:
    """Give the figure in the objective's unit, and what speaks against relying on it."""
    figure = objective.figure
    if figure in ("errors", "wrong"):
        return float(level.errors if figure == "errors" else level.wrong), ""
    if figure == "throughput":
        return level.replies_per_s, ""
    if figure in ("cpu", "memory"):
        taken = level.server_cpu_ms if figure == "cpu" else level.memory_bytes
        if taken is None:
            return None, f"{figure} of the server was not measured at {level.name}"
        return taken / (2**20 if figure == "memory" else 1), ""
    return _latency(objective, level)


def _latency(objective: Objective, level: Level) -> tuple[float | None, str]:
    found: Latency | None = level.first_response_ms if objective.first else level.latency_ms
    if found is None:
        return None, f"no {'first ' * objective.first}reply was timed at {level.name}"
    share = _SHARES.get(objective.figure, 0.0)
    needed = math.ceil(1 / (1 - share) - 1e-6)
    few = ""
    if level.replies < needed:
        few = f"{level.replies} replies at {level.name} do not tell {objective.figure}: {needed} do"
    value: float = getattr(found, objective.figure.replace(".", ""))
    return value, few
