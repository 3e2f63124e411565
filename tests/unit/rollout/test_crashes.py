"""Killed, or out of space, at every step: the old state or the new one, and `doctor` is clean.

What holds at once, before anybody has seen to it: without a journal in the repository
(`.modelport.journal`), all of it is as it was, or as it shall be. With one, which is there for
the few renames only, each file is one or the other and every model that serves is whole by
itself, but models may be of both. The next command that changes the repository, and
`modelport serve`, finish these renames first, and from then on all of it is as it shall be.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import deeds
import pytest
from faults import Ended, Fault, Nursery

from modelport.repository import journal, publish
from modelport.rollout.intent import INTENT
from modelport.runtime import cache

Deed = Callable[[Path], None]
DEEDS: list[Deed] = [
    deeds.publish_fourth,
    deeds.promote,
    deeds.roll_back,
    deeds.collect,
    deeds.sign,
]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        nursery = Nursery("deeds", "model_signing.signing", "model_signing.verifying")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("before")
    deeds.make(folder / "repository")
    return folder


@pytest.fixture
def repository(before: Path, tmp_path: Path) -> Path:
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    return tmp_path / "repository"


def steps(
    nursery: Nursery, before: Path, folder: Path, deed: Deed, kind: Literal["kill", "full"]
) -> Iterator[tuple[Path, Ended]]:
    """Do a deed with a fault at each step of it; gives each repository as the fault left it."""
    unneeded = None if deed is deeds.publish_fourth else shutil.ignore_patterns("ready")
    for number in range(500):
        case = folder / str(number)
        shutil.copytree(before, case, ignore=unneeded, copy_function=shutil.copyfile)
        ended = nursery.run(deed, case / "repository", fault=Fault(kind, number, case))
        if not ended.killed and ended.error is None:
            return
        yield case / "repository", ended
        shutil.rmtree(case)
    pytest.fail(f"{deed.__name__} never came through")


# A roll back writes as a promotion does.
@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        *(("kill", deed) for deed in DEEDS),
        *(("full", deed) for deed in DEEDS if deed is not deeds.roll_back),
    ],
    ids=lambda given: getattr(given, "__name__", given),
)
def test_every_step_leaves_the_old_or_the_new(
    nursery: Nursery,
    before: Path,
    repository: Path,
    tmp_path: Path,
    deed: Deed,
    kind: Literal["kill", "full"],
) -> None:
    old, old_log = deeds.view(repository), deeds.log(repository)
    assert nursery.run(deed, repository).error is None
    new, new_log = deeds.view(repository), deeds.log(repository)
    wholes = [deeds.serving(before / "repository"), deeds.serving(repository)]
    assert old != new
    assert deeds.findings(repository) == deeds.findings(before / "repository") == set()
    seen = {"old": 0, "new": 0, "journal": 0}
    for path, ended in steps(nursery, before, tmp_path / "cases", deed, kind):
        begun = journal.pending(path)
        seen["journal"] += begun
        if kind == "full":
            _explained(ended, begun)
        now = deeds.view(path)
        for name, versions in deeds.serving(path).items():
            assert versions in (wholes[0][name], wholes[1][name])
        if begun:
            assert all(digest in (old.get(n), new.get(n)) for n, digest in now.items())
            assert old.keys() & new.keys() <= now.keys()
        else:
            assert now in (old, new)

        deeds.next_command(path)
        now = deeds.view(path)
        assert now == new if begun else now in (old, new)
        assert deeds.log(path) == (new_log if now == new else old_log)
        assert deeds.findings(path) == set()
        assert not (path / INTENT).exists()
        assert not publish.staging_root(path).exists()
        seen["new" if now == new else "old"] += 1
        if now == old and seen["old"] % 8 == 0:
            if deed is deeds.publish_fourth:  # what was staged is gone; it is built anew
                shutil.rmtree(path.parent / "ready", ignore_errors=True)
                shutil.copytree(before / "ready", path.parent / "ready")
            deed(path)
            assert deeds.view(path) == new
    # Before, during and after the moves: the sweep has been everywhere.
    assert all(count > 2 for count in seen.values()), seen


def _explained(ended: Ended, begun: bool) -> None:
    """One error with cause and next command, which says whether anything has changed."""
    assert ended.error is not None
    kind, text = ended.error
    assert kind == "PublishError", text
    assert "likely cause: the disk is full" in text
    assert ("which finishes it" if begun else "the repository is as it was") in text
