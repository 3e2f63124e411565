"""``modelport perf run``: one load test, its table, its report, its verdict."""

from __future__ import annotations

import contextlib
import difflib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import ObjectiveError, ProfileError

if TYPE_CHECKING:
    from modelport.perf.profile import Profile
    from modelport.perf.result import Level, Result
    from modelport.perf.target import Target

PROFILES = click.option(
    "--profiles",
    type=click.Path(path_type=Path),
    default=Path("perf"),
    show_default=True,
    help="Folder of load profiles.",
)
_RESULTS = "results"


@click.command("run")
@click.argument("name", metavar="PROFILE")
@options.REPOSITORY
@PROFILES
@click.option("--url", help="Of a running server, http:// or grpc://; default: one of its own.")
@click.option("--duration", type=click.FloatRange(0.1, 3600), help="Seconds of each level.")
@click.option("--slo", multiple=True, help='One more objective, like "p99 <= 20 ms at 200/s".')
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    help="Where result and report go; default: perf/results/PROFILE/TIME.",
)
@options.AS_JSON
@pass_output
def run(out: Output, /, name: str, repository: Path, **given: Any) -> None:
    """Carry out a load test and judge it.

    PROFILE is a TOML file, the name of one in the profiles' folder, or a model, which without a
    profile of its own is asked by 1, 8 and 32 callers. The test fails when an objective is not
    met, or a reply is wrong or missing.
    """
    from modelport.cli import perf_table
    from modelport.perf import analyzer
    from modelport.perf import run as load_test
    from modelport.perf.report import page

    page.check()
    profile = _profile(name, repository, given)
    # Ended from outside, it ends what it started, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tool = analyzer.ensure(lambda event: out.note(event.text))
    folder = given["folder"] or _folder(given["profiles"], name)
    folder.mkdir(parents=True, exist_ok=True)  # before minutes are spent that could not be kept
    try:
        with _served(out, profile, repository, given["url"]) as target:
            result = load_test.run(profile, repository, target, tool, _Progress(out))
    except BaseException:
        with contextlib.suppress(OSError):  # it held results before
            folder.rmdir()
        raise
    finally:
        out.end_bar()
    report = _write(result, folder)
    if given["as_json"]:
        out.json(result.model_dump(mode="json"))
    else:
        perf_table.show(out, result)
        out.text(f"report: {report}")
    if result.verdict == "fail":
        raise _failed(result, report, shown=not given["as_json"])


class _Progress:
    """Shows levels as they are measured."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def note(self, text: str) -> None:
        self._out.end_bar()
        self._out.note(text)

    def begins(self, name: str, index: int, count: int, took_s: float) -> None:
        self._out.bar(name, f"level {index} of {count}, {took_s:.0f} s", index - 1, count)

    def ends(self, level: Level) -> None:
        self._out.end_bar()
        latency = level.latency_ms
        words = f"{level.replies_per_s:.4g}/s"
        if latency is not None:
            words += f", p50 {latency.p50:.3g} ms, p99 {latency.p99:.3g} ms"
        self._out.step(level.name, words, level.duration_s)


def _profile(name: str, repository: Path, given: dict[str, Any]) -> Profile:
    """Find what is to be run, and overrule what the options say.

    Raises:
        ProfileError: there is no such profile and no such model, or it cannot be run.
    """
    from modelport.perf import levels, objectives, profile

    found = _found(name, repository, given["profiles"])
    update: dict[str, Any] = {}
    if given["duration"]:
        update["duration_s"] = given["duration"]
    if given["slo"]:
        for text in given["slo"]:
            objectives.parse(text)
        update["objectives"] = [*found.objectives, *given["slo"]]
    chosen = profile.Profile.model_validate({**found.model_dump(), **update})
    levels.refuse_unplaced(chosen)
    return chosen


def _found(name: str, repository: Path, profiles: Path) -> Profile:
    from modelport.perf import profile
    from modelport.repository.layout import Repository

    path = Path(name)
    if path.suffix == profile.SUFFIX:
        return profile.read(path)
    path = profiles / f"{name}{profile.SUFFIX}"
    if path.is_file():
        return profile.read(path)
    models = {folder.name: folder for folder in Repository(repository).models()}
    if name in models:
        from modelport.perf import questions

        folder = models[name]
        versions = folder.served_versions()
        if not versions:
            folder.manifest(1)  # raises with the way to build it
        return profile.default(name, questions.of(folder, versions[-1]).delivery)
    known = sorted({*models, *(file.stem for file in profiles.glob(f"*{profile.SUFFIX}"))})
    near = difflib.get_close_matches(name, known, n=3)
    raise ProfileError(
        f"{name!r}: there is no profile {path} and no model of that name in {repository}",
        cause=f"did you mean {' or '.join(near)}?" if near else None,
        next_step=f"one of: {', '.join(known)}" if known else "modelport build all",
        name=name,
    )


@contextmanager
def _served(out: Output, profile: Profile, repository: Path, url: str | None) -> Iterator[Target]:
    from modelport.perf import target

    if url is None:
        out.note(f"serving {', '.join(profile.models)} on a server of their own")
        with target.private(repository, profile.models) as found:
            yield found
        return
    found = target.running(url, repository, profile.models)
    if profile.transport not in found.urls:
        known = " and ".join(found.urls)
        raise ProfileError(
            f"{url}: the profile wants {profile.transport}, and only {known} is known of this"
            " server",
            next_step=f"give its {profile.transport}:// address",
        )
    if found.pid is None:
        out.note(
            "this server belongs to somebody else, or runs elsewhere: its CPU time and memory"
            " are not seen"
        )
    yield found


def _folder(profiles: Path, name: str) -> Path:
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return profiles / _RESULTS / Path(name).stem / moment


def _write(result: Result, folder: Path) -> Path:
    from modelport.perf.report import page
    from modelport.perf.result import FILE_NAME

    result.write(folder / FILE_NAME)
    report = folder / "report.html"
    report.write_text(page.render([result]), encoding="utf-8")
    return report


def _cause(result: Result) -> str | None:
    """Blame the machine for nothing but a bound that was broken."""
    broken = any(judged.holds is False for judged in result.objectives)
    note = result.disturbance.note
    return f"the machine was busy: {note}" if note and broken and not result.content.wrong else None


def _failed(result: Result, report: Path, *, shown: bool) -> ObjectiveError:
    """Say that it failed; why is said here where it was not shown."""
    reasons = "".join(f"\n  {reason}" for reason in result.reasons)
    return ObjectiveError(
        f"{result.model} did not pass" + ("" if shown else reasons),
        cause=_cause(result),
        next_step=f"look at {report}",
        reasons=result.reasons,
    )
