"""Loads on a bench: made by perf_analyzer, every reply compared, a wrong one ends the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modelport.errors import LoadTestError
from modelport.perf import load
from modelport.perf.analyzer import Analyzer
from modelport.perf.bench import Bench
from modelport.perf.load import Closed, Load, Open
from modelport.perf.questions import Questions
from modelport.perf.records import Records

__all__ = ["Ask", "Asked", "Closed", "Load", "Open", "alike", "asker", "shapes"]


_LONGER = 4.0


@dataclass(frozen=True)
class Asked:
    """What came of a load.

    Attributes:
        records: of each request.
        caller_cpu_s: that the load generator spent, all together.
    """

    records: Records
    caller_cpu_s: float

    def quantile_ms(self, q: float) -> float:
        """Latency that a share ``q`` of the replies keeps."""
        return float(np.quantile(self.records.latencies_ms, q))


Ask = Callable[[Load], Asked]


def asker(analyzer: Analyzer, bench: Bench, questions: Questions, folder: Path) -> Ask:
    """Give what puts a load on a bench.

    Args:
        analyzer: makes it.
        bench: serves the model.
        questions: what is asked.
        folder: an existing one, for files.
    """
    # Its names differ on the bench only by where it is served.
    asked = replace(questions, model=bench.model)

    def run(wanted: Load) -> load.Outcome:
        outcome = load.run(analyzer, bench.url, asked, wanted, folder=folder)
        bench.load_cpu_s += outcome.cpu_s
        return outcome

    def ask(wanted: Load) -> Asked:
        outcome = run(wanted)
        if outcome.records is None and isinstance(wanted, Closed):
            # A window of time without one reply is an error to perf_analyzer.
            longer = replace(wanted, duration_s=_LONGER * wanted.duration_s)
            outcome = run(longer)
        if outcome.records is None:
            raise LoadTestError(
                f"{bench.model}: no load could be put on it: {outcome.problem}",
                cause=f"tritonserver ended, or refuses; its log is {bench.server.log_path}",
                next_step="look there, or run modelport doctor",
                model=bench.model,
            )
        if outcome.records.wrong:
            raise LoadTestError(
                f"{bench.model}: {len(outcome.records.wrong)} of {outcome.records.checked} replies"
                f" are wrong: {outcome.records.wrong[0]}",
                cause="the model answers otherwise in batches than when it was proven",
                next_step=f"modelport verify {bench.model}; build it again",
                model=bench.model,
                wrong=len(outcome.records.wrong),
            )
        return Asked(outcome.records, outcome.cpu_s)

    return ask


def alike(questions: Questions) -> Questions:
    """Keep the questions of the shape that most have: only these run in one batch."""
    numbers = shapes(questions)
    most = Counter(numbers).most_common(1)[0][0]
    stream = questions.streams[0]
    kept = [one for one, number in zip(stream, numbers, strict=True) if number == most]
    return replace(questions, streams=[kept])


def shapes(questions: Questions) -> tuple[int, ...]:
    """Number the shapes of the questions, in the order in which they are asked."""
    numbers: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}
    found = []
    for question in questions.streams[0]:
        key = tuple(sorted((name, array.shape) for name, array in question.inputs.items()))
        found.append(numbers.setdefault(key, len(numbers)))
    return tuple(found)
