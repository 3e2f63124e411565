"""Two versions or two settings of a model, each on a server of its own, loaded in turn.

Both serve all the time; a round loads one and then the other, the next round the other way
round, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelport.client import Client
from modelport.errors import LoadTestError, ProfileError
from modelport.perf import compare, load, machine, questions, statistics, target, turns
from modelport.perf.analyzer import Analyzer
from modelport.perf.compare import Comparison, LeftOut
from modelport.perf.load import Closed, Open, Outcome
from modelport.perf.questions import Questions
from modelport.perf.records import Records
from modelport.perf.settings import Settings
from modelport.perf.target import Target
from modelport.perf.turns import Rounds, Turn
from modelport.repository import pbtxt
from modelport.repository.layout import CONFIG, Repository
from modelport.repository.placing import staged
from modelport.spec.config import ModelConfig

_WARM_S = 0.5
SETTINGS = (
    "instances",
    "intra_op_threads",
    "max_batch_size",
    "preferred_batch_size",
    "max_queue_delay_us",
)


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: in words.
        model: that is asked.
        versions: of the model and all that it runs.
        settings: by model, what differs from how it was proven: names of :data:`SETTINGS`.
    """

    name: str
    model: str
    versions: Mapping[str, int]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How thoroughly two sides are compared.

    Attributes:
        loads: by the name of the level.
        rounds: in each of which both have their turn at each load.
        needed: pairs of a figure and a level that bounds or a baseline are about: a turn that does
            not tell one ends the comparison at once.
    """

    loads: Mapping[str, Closed | Open]
    rounds: int = compare.ROUNDS
    needed: Collection[tuple[str, str]] = ()


Tell = Callable[[str, int, int], None]


def side(
    repository: Repository, model: str, version: int | None, settings: Sequence[str] = ()
) -> Side:
    """Say what one side is.

    Args:
        repository: where the model lies.
        model: its name.
        version: None for the one that serves.
        settings: ``KEY=VALUE``, or ``PART.KEY=VALUE`` of what an ensemble runs.

    Raises:
        RepositoryError: there is no such model or version.
        ProfileError: a setting is not one.
    """
    folder = repository.model(model)
    served = folder.served_versions()
    if version is None and not served:
        folder.manifest(1)  # raises with the way to build it
    number = served[-1] if version is None else version
    versions = {model: number, **folder.manifest(number).parts}
    changes: dict[str, dict[str, str]] = {}
    for text in settings:
        part, key, value = _setting(text, model, versions)
        changes.setdefault(part, {})[key] = value
    words = " ".join([f"{model}@{number}", *settings])
    found = Side(words, model, versions, changes)
    for name in changes:
        changed(found, name, repository.folder(name).config_of(versions[name]))
    return found


def _setting(text: str, model: str, versions: Mapping[str, int]) -> tuple[str, str, str]:
    name, _, value = text.partition("=")
    part, dot, key = name.rpartition(".")
    part = part if dot else model
    numbers = value.split(",") if key == "preferred_batch_size" else [value]
    if key in SETTINGS and part in versions and all(n.isdecimal() for n in numbers):
        return part, key, value
    raise ProfileError(
        f"setting {text!r} is not understood",
        cause=f"it is KEY=NUMBER or PART.KEY=NUMBER, a key of {', '.join(SETTINGS)},"
        f" a part of {', '.join(versions)}",
        next_step="write it like max_queue_delay_us=200 or preferred_batch_size=8,16",
        setting=text,
    )


def changed(one: Side, name: str, config: ModelConfig) -> ModelConfig:
    """Give a configuration with what a side has otherwise."""
    wanted = one.settings.get(name, {})
    if wanted and config.ensemble_scheduling is not None:
        raise ProfileError(
            f"{name} is an ensemble, which has no settings of its own",
            next_step="name the part: " + ", ".join(n for n in one.versions if n != name),
            model=name,
        )
    if not wanted:
        return config
    now = Settings.of(config)
    batching, threads = now.batching, now.threads
    for key, value in wanted.items():
        if key == "intra_op_threads":
            threads = int(value)
        elif key == "instances":
            batching = dataclasses.replace(batching, instances=int(value))
        elif key == "max_batch_size":
            if bool(int(value)) != bool(config.max_batch_size):
                raise ProfileError(
                    f"{name}: max_batch_size={value}, and it is {config.max_batch_size} now",
                    cause="with 0 its tensors have no batch dimension, so callers ask otherwise",
                    next_step="compare sizes from 1 on, or build a version for the other kind",
                    model=name,
                )
            batching = dataclasses.replace(batching, max_batch_size=int(value))
        elif key == "max_queue_delay_us":
            batching = dataclasses.replace(batching, dynamic=True, delay_s=int(value) / 1e6)
        else:
            sizes = tuple(int(one) for one in value.split(","))
            batching = dataclasses.replace(batching, dynamic=True, preferred=sizes)
    return Settings(batching, threads).applied(config)


@contextmanager
def served(repository: Repository, one: Side) -> Iterator[Target]:
    """Serve a side, and nothing else, from a folder that refers to its versions.

    Raises:
        LoadError: a model does not load.
    """
    with staged(repository, one.versions) as stage:
        for name in one.settings:
            path = stage / name / CONFIG
            path.write_text(pbtxt.render(changed(one, name, pbtxt.read(path))), encoding="utf-8")
        with target.private(stage, [one.model]) as found:
            yield found


class Runner:
    """One side while it serves.

    Attributes:
        load_cpu_s: that perf_analyzer has spent on its turns.
    """

    def __init__(
        self, one: Side, place: Target, asked: Questions, analyzer: Analyzer, folder: Path
    ) -> None:
        self.side, self.asked, self.load_cpu_s = one, asked, 0.0
        self._place, self._analyzer, self._folder = place, analyzer, folder
        self._url = place.urls["grpc"]

    def warm_up(self) -> None:
        """Let it run for a while; a first request may take longer than all of that."""
        self._loaded(Closed(2, _WARM_S))

    def measure(self, wanted: Closed | Open) -> Turn:
        """Load it once, and give its figures; a wrong or a missing reply ends the comparison."""
        with Client(self._url) as client:
            before, cpu = statistics.read(client, [self.side.model]), self._place.cpu_s()
            outcome = self._loaded(wanted)
            spent = self._place.cpu_s() - cpu
            parts = statistics.between(before, statistics.read(client, [self.side.model]))
        self.load_cpu_s += outcome.cpu_s
        records = self._sound(outcome)
        answered = parts.get(self.side.model)
        return turns.figures(
            records.latencies_ms[records.within],
            records.took_s,
            cpu_s=spent,
            requests=answered.requests if answered else 0,
            memory_bytes=self._place.memory_bytes(),
        )

    def _sound(self, outcome: Outcome) -> Records:
        """Refuse what figures would be none of."""
        records = outcome.records
        if records is None:
            raise LoadTestError(
                f"{self.side.name}: the load broke off: {outcome.problem}",
                cause="its replies take longer than a third of a turn, or the server is in trouble",
                next_step=f"--duration with more seconds, or modelport perf run {self.side.model}",
            )
        if records.wrong:
            raise LoadTestError(
                f"{self.side.name}: {len(records.wrong)} of {records.checked} replies were wrong:"
                f" {records.wrong[0]}",
                cause="figures of wrong replies are no figures",
                next_step=f"modelport verify {self.side.model}; modelport doctor",
            )
        if records.lost or not records.within.any():
            lost = f"{records.lost} requests got no reply" if records.lost else "no reply in a turn"
            raise LoadTestError(
                f"{self.side.name}: {lost}",
                cause="its replies take longer than a turn, or the server is in trouble",
                next_step=f"--duration with more seconds, or modelport perf run {self.side.model}",
            )
        return records

    def _loaded(self, wanted: Closed | Open) -> Outcome:
        return load.run(
            self._analyzer,
            self._url,
            self.asked,
            wanted,
            folder=self._folder,
            on_tick=self._place.check,
        )


def run(
    repository: Repository,
    a: Side,
    b: Side,
    plan: Plan,
    analyzer: Analyzer,
    tell: Tell = lambda *_: None,
) -> Comparison:
    """Measure two sides in turn.

    Args:
        repository: where their versions lie; it stays as it is.
        a: the reference.
        b: what is held against it.
        plan: how.
        analyzer: makes the load.
        tell: hears of each turn: its name, how many are done, of how many.

    Returns:
        The ratios, not judged yet.

    Raises:
        RepositoryError: a version has nothing that it can be asked.
        LoadError: one does not load.
        LoadTestError: a reply was wrong or missing, or a server ended.
        ResultError: a turn does not tell a figure that is needed.
    """
    sides = (a, b)
    asked = [questions.of(repository.folder(o.model), o.versions[o.model]) for o in sides]
    with ExitStack() as stack:
        places = [stack.enter_context(served(repository, one)) for one in sides]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelport-perf-")))
        both = [
            Runner(one, place, what, analyzer, folder)
            for one, place, what in zip(sides, places, asked, strict=True)
        ]
        tell("warm-up", 0, plan.rounds)
        for one in both:
            one.warm_up()
        clock = machine.times(lambda: sum(place.cpu_s() for place in places))
        rounds = _rounds(both, plan, tell)
        after = machine.times(lambda: sum(place.cpu_s() for place in places))
    spent = machine.between(clock, after, sum(one.load_cpu_s for one in both))
    return Comparison(
        model=a.model,
        a=a.name,
        b=b.name,
        machine=machine.describe({**target.packages(), "perf_analyzer": analyzer.version}),
        ratios=list(turns.ratios(rounds)),
        left_out=list(turns.left_out(rounds)),
        disturbance=machine.disturbance(spent.steal_share, spent.others_share),
        notes=list(_notes(asked)),
    )


def _rounds(both: Sequence[Runner], plan: Plan, tell: Tell) -> Rounds:
    found: Rounds = {name: ([], []) for name in plan.loads}
    for number in range(plan.rounds):
        for name, wanted in plan.loads.items():
            tell(name, number, plan.rounds)
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                one = both[which].measure(wanted)
                for figure, why in one.missing.items():
                    if (figure, name) in plan.needed:
                        compare.refuse(LeftOut(figure=figure, level=name, why=why))
                found[name][which].append(one)
    return found


def _notes(asked: Sequence[Questions]) -> Iterator[str]:
    one, other = ([question.inputs for s in q.streams for question in s] for q in asked)
    same = len(one) == len(other) and all(
        x.keys() == y.keys() and all(np.array_equal(x[name], y[name]) for name in x)
        for x, y in zip(one, other, strict=True)
    )
    if not same:
        yield "A and B were proven with other inputs, so they are asked different ones"
