"""A clock that goes backwards decides nothing: order is that of numbers and of the log."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import deeds
import pytest
from faults import Ended, Fault, Nursery

from modelport.repository import publish
from modelport.repository.layout import Repository
from modelport.rollout import history
from modelport.runtime import cache


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        nursery = Nursery("deeds")
    yield nursery
    nursery.close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    deeds.make(tmp_path / "repository")
    return tmp_path / "repository"


def shuffle_times(folder: Path) -> None:
    """Give every file and folder a time of its own, decades ago or to come."""
    rng = random.Random(0)
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (rng.uniform(1e8, 4e9),) * 2)


def test_a_clock_that_was_put_back_changes_nothing_but_times(
    repository: Path, nursery: Nursery, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "repository"
    shutil.copytree(tmp_path, other.parent, ignore=shutil.ignore_patterns("other"))
    shuffle_times(other.parent)
    every = (deeds.promote, deeds.publish_fourth, deeds.roll_back, deeds.collect)
    for deed in every:
        assert nursery.run(deed, repository) == Ended(False)
        assert nursery.run(deeds.years_back, other, deed) == Ended(False)
        assert deeds.view(other) == deeds.view(repository)
        assert deeds.log(other) == deeds.log(repository)
        assert deeds.findings(other) == set()
    assert Repository(other).folder("whole").versions() == [2, 3, 4]
    times = [entry.time for entry in history.read(other)]
    assert times == sorted(times)
    assert times[-1] > datetime.now(timezone.utc) - timedelta(days=1)


def test_the_log_of_a_clock_that_was_right_again_goes_on(
    repository: Path, nursery: Nursery
) -> None:
    (repository / history.FILE_NAME).unlink()
    assert nursery.run(deeds.years_back, repository, deeds.promote) == Ended(False)
    assert nursery.run(deeds.roll_back, repository) == Ended(False)
    then, now = (entry.time for entry in history.read(repository))
    assert now - then > timedelta(days=3000)


def test_a_crash_is_seen_to_whatever_the_clock_says(
    repository: Path, nursery: Nursery, tmp_path: Path
) -> None:
    """What was left is known by its journal and by who made it, not by its age."""
    for number in range(0, 200, 3):
        case = tmp_path / "cases" / str(number) / "repository"
        shutil.copytree(repository, case)
        if not nursery.run(deeds.promote, case, fault=Fault("kill", number, case.parent)).killed:
            break
        shuffle_times(case.parent)
        assert nursery.run(deeds.years_back, case, deeds.next_command) == Ended(False)
        assert deeds.log(case) in (["promote 1"], ["promote 1", "promote 2"])
        assert deeds.findings(case) == set()
        assert not publish.staging_root(case).exists()
    assert number > 20


def test_a_stage_goes_by_its_maker_not_by_its_age(repository: Path) -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    root = publish.staging_root(repository)
    mine = publish.new_stage(repository, "family")
    left = root / f"family.{gone.stdout.strip()}.deadbeef"
    left.mkdir()
    os.utime(mine, (0, 0))
    os.utime(left, (4e9, 4e9))
    publish.discard(repository, publish.new_stage(repository, "family"))
    assert list(root.iterdir()) == [mine]
