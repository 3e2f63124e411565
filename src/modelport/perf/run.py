"""One load test, from a profile to its result.

The content of replies is checked before the load, of every reply under it, and after it; a wrong
or an empty one fails the test, however fast the others were.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from modelport.client import Client
from modelport.errors import LoadTestError, ProfileError
from modelport.perf import levels, load, machine, objectives, questions, statistics, target
from modelport.perf.analyzer import Analyzer
from modelport.perf.levels import Planned
from modelport.perf.load import Closed, Outcome
from modelport.perf.machine import Times
from modelport.perf.profile import Mix, Profile
from modelport.perf.questions import Questions
from modelport.perf.records import Records
from modelport.perf.result import Checked, Content, Level, Part, Result, Settings
from modelport.perf.target import Target
from modelport.repository.layout import Repository
from modelport.repository.samples import Samples
from modelport.spec.config import ModelConfig
from modelport.verify import through_server

# What perf_analyzer may keep of the requests and replies of a level, in its memory.
_MOST_BYTES = 640_000_000
_SHORTEST_S = 0.3
_THREADS = "intra_op_thread_count"


class Listener(Protocol):
    """Hears of the progress of a test."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def begins(self, name: str, index: int, count: int, took_s: float) -> None:
        """A level begins, or goes on: the ``index``-th of ``count``, for so long already."""

    def ends(self, level: Level) -> None:
        """A level was measured."""


class Silent:
    """Tells nobody."""

    def note(self, text: str) -> None:
        """Drop it."""

    def begins(self, name: str, index: int, count: int, took_s: float) -> None:
        """Drop it."""

    def ends(self, level: Level) -> None:
        """Drop it."""


@dataclass
class _Test:
    """What is known while a test runs."""

    profile: Profile
    analyzer: Analyzer
    target: Target
    asked: Mapping[str, Questions]
    url: str
    client: Client
    folder: Path
    listener: Listener
    problems: list[str] = field(default_factory=list)
    during: Checked = field(default_factory=Checked)
    rates_per_s: dict[str, float] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def parts(self) -> Sequence[str]:
        return list(self.target.versions)


def run(
    profile: Profile,
    repository: Path,
    place: Target,
    analyzer: Analyzer,
    listener: Listener | None = None,
) -> Result:
    """Carry out a load test.

    Args:
        profile: what is asked of which model.
        repository: that the server serves; its versions hold what is asked and answered.
        place: the server.
        analyzer: makes the load.
        listener: hears of the progress.

    Raises:
        RepositoryError: a model has no samples that can be asked.
        ProfileError: a model cannot be asked in the way that the profile wants.
        LoadTestError: the server ended, or perf_analyzer cannot be used.
        ClientError: the server does not answer at all.
    """
    started = datetime.now(timezone.utc)
    hears = listener or Silent()
    folders = {name: Repository(repository).model(name) for name in profile.models}
    asked = {name: questions.of(f, place.versions[name]) for name, f in folders.items()}
    _refuse_unfit(profile, asked)
    url = place.urls[profile.transport]
    folder = Path(tempfile.mkdtemp(prefix="modelport-perf-"))
    try:
        with Client(url) as client:
            test = _Test(profile, analyzer, place, asked, url, client, folder, hears)
            test.server = client.server()
            before = _checked(test)
            hears.note(f"{before.replies} replies checked before the load: {_verdict(before)}")
            _warm_up(test)
            found = _all_levels(test)
            place.check()
            after = _checked(test)
            hears.note(f"{after.replies} replies checked after it: {_verdict(after)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    content = Content(before=before, during=test.during, after=after)
    return _result(test, repository, started, found, content)


def _refuse_unfit(profile: Profile, asked: Mapping[str, Questions]) -> None:
    """Refuse loads of a kind that the model does not answer in."""
    for name, questions_of in asked.items():
        if questions_of.delivery == "stream" and profile.transport == "http":
            raise ProfileError(
                f"{name}: its answers come as a stream, which perf_analyzer takes over gRPC alone",
                next_step='transport = "grpc" in the profile',
            )
    wanted = {"sequences": "sequence", "streams": "stream"}
    for one in profile.load:
        if isinstance(one, Mix):
            _refuse_unfit_rates(one, asked)
            continue
        assert profile.model is not None
        delivery = asked[profile.model].delivery
        needed = wanted.get(one.kind, "single")
        if delivery != needed and not (delivery == "stream" and needed == "single"):
            fitting = {"sequence": "sequences", "stream": "streams", "single": "closed"}[delivery]
            raise ProfileError(
                f"{profile.model}: a load of kind {one.kind!r} does not suit it",
                cause=f"it answers each request as a {delivery}",
                next_step=f'kind = "{fitting}" in the profile',
            )


def _refuse_unfit_rates(mix: Mix, asked: Mapping[str, Questions]) -> None:
    for name in mix.rate_per_s:
        if asked[name].delivery == "sequence":
            raise ProfileError(
                f"{name}: the steps of a sequence follow one another, so they have no rate",
                next_step=f"name {name} in the mix's `concurrency`",
            )


def _checked(test: _Test) -> Checked:
    """Ask every question alone and beside others, and hold the answers against the proof."""
    replies, problems = 0, []
    for name, one in test.asked.items():
        parity = through_server.parity(
            [test.url],
            name,
            Samples(tuple(one.cases), one.delivery),
            one.tolerance,
            concurrencies=(1, 8),
        )
        replies += parity.requests
        problems += [f"{name}: {problem}" for problem in parity.problems]
    return Checked(
        replies=replies, wrong=len(problems), first_problem=problems[0] if problems else ""
    )


def _verdict(checked: Checked) -> str:
    return "all right" if not checked.wrong else f"{checked.wrong} wrong: {checked.first_problem}"


def _warm_up(test: _Test) -> None:
    """Let every model run for a while; what first requests import and allocate is not measured."""
    for one in test.asked.values():
        duration_s = max(test.profile.warmup_s, _SHORTEST_S)
        planned = Planned(one.model, "warm-up", "closed", Closed(2, duration_s))
        outcome = _loaded(test, planned)
        if outcome.records is not None:
            test.rates_per_s[one.model] = outcome.records.replies_per_s
            _note_contents(test, planned, outcome.records)


def _all_levels(test: _Test) -> list[Level]:
    groups = levels.planned(test.profile)
    found: list[Level] = []
    for index, group in enumerate(groups, start=1):
        best = _group(test, group, index, len(groups))
        for _ in range(test.profile.tries - 1):
            if all(level.stable or level.errors for level in best):
                break
            again = _group(test, group, index, len(groups))
            best = min((best, again), key=_unrest)
        for level in best:
            test.listener.ends(level)
        found += best
    return found


def _unrest(group: Sequence[Level]) -> tuple[int, float]:
    """Rank measurements of the same levels, the best one first."""
    return sum(level.errors for level in group), max(level.spread for level in group)


def _group(test: _Test, group: Sequence[Planned], index: int, count: int) -> list[Level]:
    """Measure levels that run at the same time."""
    group = [replace(one, load=_shortened(test, one)) for one in group]
    name = " + ".join(one.name for one in group)

    def tick() -> None:
        """Tell how far it is; what is found here, or a Ctrl-C, ends all loads of the group."""
        if test.ended.is_set():
            raise LoadTestError("another load of the level ended")
        test.target.check()
        test.listener.begins(name, index, count, time.monotonic() - before.clock)

    statistics_before = statistics.read(test.client, test.parts)
    before = machine.times(test.target.cpu_s)
    with ThreadPoolExecutor(len(group)) as pool:
        try:
            outcomes = list(pool.map(lambda one: _loaded(test, one, tick), group))
        except BaseException:
            test.ended.set()
            raise
    after = machine.times(test.target.cpu_s)
    if any(outcome.records is None for outcome in outcomes):
        test.target.check(wait=True)
    statistics_after = statistics.read(test.client, test.parts)
    parts = statistics.between(statistics_before, statistics_after)
    test.cached |= statistics.cached(statistics_before, statistics_after)
    return _levels(test, group, outcomes, (before, after), parts)


def _shortened(test: _Test, one: Planned) -> load.Load:
    """Keep the records of large tensors within memory, and say where that makes a level short."""
    most = int(_MOST_BYTES / test.asked[one.model].weight)
    if isinstance(one.load, Closed):
        # More callers than those of the warm-up may get twice as many replies.
        rate = 2 * test.rates_per_s.get(one.model, 0.0)
        if rate * one.load.duration_s <= most:
            return one.load
        shorter: load.Load = replace(one.load, duration_s=max(most / rate, _SHORTEST_S))
    elif len(one.load.intervals_s) <= most:
        return one.load
    else:
        kept = one.load.intervals_s[:most]
        shorter = load.Open(kept, float(kept.sum()))
    test.listener.note(
        f"{one.name}: {shorter.duration_s:.1f} s, since all of its requests and replies are kept"
    )
    return shorter


def _loaded(test: _Test, one: Planned, tick: Callable[[], None] = lambda: None) -> Outcome:
    folder = Path(tempfile.mkdtemp(dir=test.folder))
    asked = test.asked[one.model]
    return load.run(test.analyzer, test.url, asked, one.load, folder=folder, on_tick=tick)


def _levels(
    test: _Test,
    group: Sequence[Planned],
    outcomes: Sequence[Outcome],
    readings: tuple[Times, Times],
    parts: Mapping[str, Part],
) -> list[Level]:
    spent = machine.between(*readings, sum(outcome.cpu_s for outcome in outcomes))
    # Requests before and after what was measured cost as well, and are counted by Triton.
    answered = sum(parts[one.model].requests for one in group if one.model in parts)
    found = []
    for one, outcome in zip(group, outcomes, strict=True):
        records = outcome.records
        if records is None:
            level = levels.failed(one, readings[1].clock - readings[0].clock)
            test.problems.append(f"{one.name}: no load was put on it: {outcome.problem}")
        else:
            level = levels.measured(one, records, stability=test.profile.stability)
            _note_contents(test, one, records)
            if not level.replies:
                test.problems.append(f"{one.name}: not one reply came")
        known: dict[str, object] = {
            "parts": dict(parts),
            "steal_share": spent.steal_share,
            "others_share": spent.others_share,
            "memory_bytes": test.target.memory_bytes(),
        }
        # Of several models nobody can tell which of them the server spent it for.
        if answered and test.target.pid and len(group) == 1:
            known["server_cpu_ms"] = spent.server_s / answered * 1e3
        if level.replies:
            known["load_cpu_ms"] = outcome.cpu_s / level.replies * 1e3
        found.append(level.model_copy(update=known))
    return found


def _note_contents(test: _Test, one: Planned, records: Records) -> None:
    first = f"{one.name}: {records.wrong[0]}" if records.wrong else ""
    test.during = Checked(
        replies=test.during.replies + records.checked,
        wrong=test.during.wrong + len(records.wrong),
        first_problem=test.during.first_problem or first,
    )


def _result(
    test: _Test, repository: Path, started: datetime, found: list[Level], content: Content
) -> Result:
    share = [
        max((getattr(level, name) or 0.0 for level in found), default=0.0)
        for name in ("steal_share", "others_share")
    ]
    judged = objectives.judge(test.profile.objectives, found)
    reasons = [
        *(f"wrong reply {when}: {problem}" for when, problem in _wrong(content)),
        *test.problems,
        *(
            f"{name}: {count} answers came from the response cache"
            for name, count in sorted(test.cached.items())
        ),
        *(f"{one.text}: {one.why}" for one in judged if not one.holds),
    ]
    packages = {
        **target.packages(),
        "perf_analyzer": test.analyzer.version,
        "tritonserver": str(test.server["version"]),
    }
    return Result(
        profile=test.profile.model_dump(mode="json"),
        model=test.profile.model or "mixed",
        versions=dict(test.target.versions),
        started=started,
        machine=machine.describe(packages),
        # Those of a server elsewhere are not known: its repository may be another.
        settings=_settings(repository, test.target.versions) if test.target.pid else {},
        levels=found,
        content=content,
        disturbance=machine.disturbance(*share),
        objectives=judged,
        verdict="fail" if reasons else "pass",
        reasons=reasons,
    )


def _wrong(content: Content) -> list[tuple[str, str]]:
    times = (("before", content.before), ("under", content.during), ("after", content.after))
    return [
        (f"{when} the load ({one.wrong} of {one.replies})", one.first_problem)
        for when, one in times
        if one.wrong
    ]


def _settings(repository: Path, versions: Mapping[str, int]) -> dict[str, Settings]:
    known = Repository(repository)
    return {name: _setting(known.model(name).config()) for name in versions}


def _setting(config: ModelConfig) -> Settings:
    batching = config.dynamic_batching
    threads = config.parameters.get(_THREADS)
    instances = sum(group.count or 1 for group in config.instance_group)
    return Settings(
        instances=instances or None,
        max_batch_size=config.max_batch_size,
        preferred=list(batching.preferred_batch_size) if batching else [],
        delay_us=batching.max_queue_delay_microseconds if batching else None,
        threads=int(threads) if threads else None,
        ensemble=config.ensemble_scheduling is not None,
    )
