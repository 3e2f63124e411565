"""From objectives to the cheapest configuration that meets them, on this machine.

The model is measured once (:mod:`modelport.perf.service_times`), every configuration is simulated
(:mod:`modelport.perf.search`), and the best few are tried for real, in turn with the one that
serves now: only what was measured is ever recommended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelport.errors import ProfileError, RepositoryError
from modelport.perf import machine, questions, search, service_times
from modelport.perf.analyzer import Analyzer
from modelport.perf.asking import Ask, Closed, alike, asker, shapes
from modelport.perf.bench import Bench, opened
from modelport.perf.objectives import Objective
from modelport.perf.questions import Questions
from modelport.perf.result import Disturbance
from modelport.perf.search import Candidate
from modelport.perf.series import Tell, Wish
from modelport.perf.service_times import ServiceTimes
from modelport.perf.settings import THREADS, Settings
from modelport.perf.trials import Confirmed, confirm
from modelport.repository.layout import Repository
from modelport.spec.config import ModelConfig
from modelport.verify import intervals

# Less CPU time than this is no reason to change what serves.
_WORTH = 0.03


@dataclass(frozen=True)
class Outcome:
    """What tuning a model found.

    Attributes:
        model: that was asked.
        versions: that were measured: the model's own, and those of its parts.
        tuned: the model whose settings were searched: itself, or the part that computes most.
        shares: of an ensemble, each part's share of the time that executions take.
        objectives: that were to be met.
        times: what was measured of executions.
        searched: how many configurations were simulated.
        ranked: all of them, the best first.
        before: what serves now.
        confirmed: what was tried, ``before`` among it.
        chosen: the cheapest that met the objectives; None where none did.
        disturbance: what others did to the machine meanwhile.
    """

    model: str
    versions: Mapping[str, int]
    tuned: str
    shares: Mapping[str, float]
    objectives: tuple[Objective, ...]
    times: ServiceTimes
    searched: int
    ranked: tuple[Candidate, ...]
    before: Confirmed
    confirmed: tuple[Confirmed, ...]
    chosen: Confirmed | None
    disturbance: Disturbance = field(default_factory=Disturbance)

    @property
    def nearest(self) -> Confirmed:
        """The configuration that came nearest to the objectives."""
        return self.chosen or min(self.confirmed, key=lambda one: search.lack(one.judged))

    @property
    def changes(self) -> bool:
        """Whether something else than what serves now was chosen."""
        return self.chosen is not None and self.chosen.settings != self.before.settings


def tune(
    repository: Repository,
    model: str,
    wanted: Sequence[Objective],
    analyzer: Analyzer,
    tell: Tell,
    wish: Wish | None = None,
) -> Outcome:
    """Find the cheapest configuration of a model that meets objectives.

    Args:
        repository: where it lies; it stays as it is.
        model: its name; of an ensemble the part that computes most is tuned.
        wanted: the objectives, at least one of them with a load.
        analyzer: makes the load.
        tell: hears of every step.
        wish: how thoroughly.

    Raises:
        ProfileError: an objective names no load, or the model cannot be tuned.
        RepositoryError: there is no such model, or no proven version of it.
        LoadError: it does not load.
        LoadTestError: a load could not be made, or a reply was wrong.
    """
    wish = wish or Wish()
    loads = search.places(wanted)
    asked, versions = subject(repository, model)
    with opened(repository, versions) as bench, tempfile.TemporaryDirectory() as folder:
        clock = machine.times(bench.cpu_s)
        ask = asker(analyzer, bench, asked, Path(folder))
        shares = choose_part(bench, ask, repository, versions)
        same = asker(analyzer, bench, alike(asked), Path(folder))
        times = measure(bench, same, asked, tell, wish.scale)
        current = current_settings(bench, times)
        among = search.space(current, times, lower_batch=wish.lower_batch and len(versions) == 1)
        ranked = search.search(
            among, times, wanted, loads, lambda done, of: tell("simulate", done, of, "")
        )
        tried = ranked if wish.exhaustive else search.distinct(ranked, wish.count)
        now = next(one for one in ranked if one.settings == current)
        tried = [now, *(one for one in tried if one is not now)]
        confirmed = confirm(bench, ask, tried, wanted, loads, tell, wish)
        spent = machine.between(clock, machine.times(bench.cpu_s), bench.load_cpu_s)
    return Outcome(
        model=model,
        versions=versions,
        tuned=bench.tuned,
        shares=shares,
        objectives=tuple(wanted),
        times=times,
        searched=len(among),
        ranked=tuple(ranked),
        before=confirmed[0],
        confirmed=tuple(confirmed),
        chosen=choose(confirmed),
        disturbance=machine.disturbance(spent.steal_share, spent.others_share),
    )


def subject(repository: Repository, model: str) -> tuple[Questions, dict[str, int]]:
    """Say what a model is asked, and the versions that serve, the model's own first.

    Raises:
        RepositoryError: there is no such model, or no proven version of it.
        ProfileError: requests to it are not independent of one another.
    """
    folder = repository.model(model)
    served = [v for v in folder.served_versions() if folder.is_proven(v)]
    if not served:
        raise RepositoryError(
            f"{folder.path}: no proven version serves",
            cause="nothing was built yet, or its weights are not on this machine",
            next_step=f"modelport build {model}",
            model=model,
        )
    asked = questions.of(folder, served[-1])
    if asked.delivery != "single":
        raise ProfileError(
            f"{model}: answers by {asked.delivery}, which the simulation does not know",
            cause="only models whose requests are independent, each with one answer, can be tuned",
            next_step="measure settings yourself: modelport perf run " + model,
            model=model,
        )
    return asked, {model: served[-1], **folder.manifest(served[-1]).parts}


def choose_part(
    bench: Bench, ask: Ask, repository: Repository, versions: Mapping[str, int]
) -> dict[str, float]:
    """Have the part that computes most be tuned; gives the shares of all parts.

    Raises:
        ProfileError: nothing of it has settings that can be tuned.
    """
    configs = {name: repository.folder(name).config_of(v) for name, v in versions.items()}
    able = [name for name, config in configs.items() if _can_be_tuned(config)]
    if not able:
        raise ProfileError(
            f"{bench.model}: nothing in it can be tuned",
            cause="its parts are sequence models, streams, or ensembles",
            next_step="measure settings yourself: modelport perf run " + bench.model,
            model=bench.model,
        )
    if len(versions) == 1:
        return {}
    before = {name: _seconds(bench, name) for name in able}
    ask(Closed(2, 0.5))
    took = {name: _seconds(bench, name) - before[name] for name in able}
    bench.choose(max(took, key=lambda name: took[name]))
    total = sum(took.values()) or 1.0
    return {name: one / total for name, one in took.items()}


def _can_be_tuned(config: ModelConfig) -> bool:
    policy = config.model_transaction_policy
    streams = policy is not None and policy.decoupled
    return not (streams or config.sequence_batching or config.platform == "ensemble")


def _seconds(bench: Bench, name: str) -> float:
    return sum(one.took_s for one in bench.executions(name).values())


def measure(
    bench: Bench, ask: Ask, asked: Questions, tell: Tell, scale: float = 1.0
) -> ServiceTimes:
    """Measure the model that a bench is to tune.

    Args:
        bench: serves it.
        ask: asks questions of one shape.
        asked: all the questions.
        tell: hears of every step.
        scale: of the duration of each run.
    """
    config, cores = bench.config, service_times.cores()
    own = Settings.of(config).threads
    numbers = [2**power for power in range(8) if 2**power <= cores]
    threads = sorted({own, *numbers}) if THREADS in config.parameters else [own]
    runs = service_times.plan(config.max_batch_size, threads, cores)
    varies = bench.model == bench.tuned and any(-1 in one.dims for one in config.input)
    return service_times.measure(
        bench,
        ask,
        runs,
        lambda done, of, words: tell("measure", done, of, words),
        shapes=shapes(asked) if varies else (),
        scale=scale,
    )


def current_settings(bench: Bench, times: ServiceTimes) -> Settings:
    """Give what serves now, as the simulation takes it."""
    settings = Settings.of(bench.config)
    return replace(settings, batching=replace(settings.batching, shapes=times.shapes))


def choose(confirmed: Sequence[Confirmed]) -> Confirmed | None:
    """Choose the cheapest that met the objectives; what serves now unless another is worth it.

    Args:
        confirmed: what was tried; the first serves now.
    """
    good, now = [one for one in confirmed if one.holds], confirmed[0]
    if now.holds:
        good = [one for one in good if _worth(one, now)] or [now]
    if not good:
        return None
    least = min(one.cpu_ms for one in good)
    equal = [one for one in good if one.cpu_ms <= least * (1 + _WORTH)]
    return min(equal, key=lambda one: (one.settings.batching.instances, one.p99_ms))


def _worth(one: Confirmed, now: Confirmed) -> bool:
    """Tell whether one is beyond doubt cheaper than what serves, by more than is noise."""
    if min(len(one.rounds_cpu_ms), len(now.rounds_cpu_ms)) < intervals.LEAST:
        return False
    before = [max(each, 1e-9) for each in now.rounds_cpu_ms]
    return intervals.paired(one.rounds_cpu_ms, before).high < 1 - _WORTH
