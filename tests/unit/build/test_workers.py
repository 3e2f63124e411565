"""How many builds run side by side, and what their ends are called."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.build.workers import Job, Outcome, Workers, count
from modelport.errors import BuilderError, BuildError

Write = Callable[..., Path]


def outcomes(*builders: Path, side_by_side: int = 2) -> dict[str, Outcome]:
    """Build files of which each fails before torch is needed."""
    jobs = [Job(str(path), str(path.parent.parent / "repository")) for path in builders]
    with Workers(jobs, side_by_side, lambda *_: None) as working:
        found = [working.outcomes.get(timeout=120) for _ in jobs]
    return {outcome.builder.stem: outcome for outcome in found}


def test_every_end_is_told_as_what_it_is(write: Write, cache_folder: Path) -> None:
    found = outcomes(
        write("models = ()", name="empty.py"),
        write("", name="lacking.py", head="import no_such_package"),
        write("", name="quits.py", head="import os\nprint('last words', flush=True)\nos._exit(7)"),
        write("", name="killed.py", head="import os\nos.kill(os.getpid(), 9)"),
        side_by_side=3,
    )
    errors = {name: outcome.error for name, outcome in found.items()}
    assert isinstance(errors["empty"], BuilderError)
    assert "expected a TorchModel" in errors["empty"].what
    assert errors["empty"].next_step == "end the file with `model = TorchModel(...)`"
    assert isinstance(errors["lacking"], BuilderError)
    assert "not installed" in str(errors["lacking"].cause)
    assert type(errors["quits"]) is BuildError
    assert "ended with status 7" in errors["quits"].what
    assert "last words" in errors["quits"].what
    assert type(errors["killed"]) is BuildError
    assert "ended by SIGKILL" in errors["killed"].what
    assert "out of memory" in str(errors["killed"].cause)
    # What a build printed is kept where it failed.
    kept = {path.name for path in (cache_folder / "logs").iterdir()}
    assert kept == {f"build-{name}-{os.getpid()}.log" for name in found}


def test_stopping_ends_what_runs_and_begins_nothing_more(write: Write) -> None:
    pid = write("", name="pid").parent / "pid"
    text = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)"
    first = write("", name="first.py", head=text)
    second = write("", name="second.py", head=f"open({str(pid)!r} + '2', 'w')")
    jobs = [Job(str(path), str(first.parent.parent / "repository")) for path in (first, second)]
    with Workers(jobs, 1, lambda *_: None):
        while not pid.read_text().isdecimal():
            pass
    assert not Path("/proc", pid.read_text()).exists()
    assert not pid.with_name("pid2").exists()


def test_as_many_as_asked_else_one_per_core_at_the_most() -> None:
    assert count(7) == 7
    assert 1 <= count() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("field", ["data", "keep_edits", "nice"])
def test_a_job_travels_as_json(field: str) -> None:
    job = Job("b.py", "repository", keep_edits=True, data="/data", nice=5)
    assert getattr(Job(**json.loads(json.dumps(vars(job)))), field) == getattr(job, field)
