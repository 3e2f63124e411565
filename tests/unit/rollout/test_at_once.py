"""Several at once: publishers, promotions, gc, and readers that look on all the while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import deeds
import pytest
from faults import Ended, Nursery

from modelport.errors import PromotionError
from modelport.repository import publish, trust
from modelport.repository.layout import Repository
from modelport.rollout import change, cleaning, history, promotion
from modelport.rollout.promotion import Checked
from modelport.runtime import cache

Start = Callable[..., "Future[Ended]"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Have a process of its own do a deed."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        nurseries = [stack.enter_context(closing(Nursery("deeds"))) for _ in range(3)]
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in nurseries]
        free = iter(zip(nurseries * 99, pools * 99, strict=True))

        def started(deed: Callable[..., Any], *arguments: Any) -> Future[Ended]:
            nursery, pool = next(free)
            return pool.submit(nursery.run, deed, *arguments)

        yield started


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    deeds.make(tmp_path / "repository")
    return tmp_path / "repository"


def look_on(repository: Path, work: list[Future[Ended]]) -> Counter[str]:
    """Read again and again what Triton and each reading command read, until the work is done."""
    seen: Counter[str] = Counter()
    place = Repository(repository)
    while not all(one.done() for one in work) or not seen:
        assert {folder.name for folder in place.models()} >= set(deeds.MODELS)
        for versions in deeds.serving(repository).values():
            assert len(versions) == 1
            seen[str(versions)] += 1
        assert deeds.findings(repository) == set()
        for name in deeds.MODELS:
            for version in place.folder(name).proven_versions():
                state = trust.examine(place.folder(name), version, (), live=False).state
                there = place.folder(name).version_dir(version).is_dir()
                assert state in {"ok", "unsigned"} or not there, (name, version, state)
        cleaning.look(place, keep=1)
        _, disagreements = history.checked(place)
        assert disagreements == []
    for one in work:
        assert one.result() == Ended(False)
    return seen


def test_a_reader_sees_only_what_is_whole(repository: Path, start: Start) -> None:
    """Hundreds of renames of versions, configurations, labels and the log, by three processes."""
    (repository / "modelport.toml").write_text("[models.whole]\npinned = [1, 2]\n")
    work = [
        start(deeds.promote_many, repository, 40),
        start(deeds.publish_many, repository, 10, 25),
        start(deeds.collect_many, repository, 25),
    ]
    seen = look_on(repository, work)
    assert {"[1]", "[2]"} <= seen.keys(), seen
    assert len(deeds.log(repository)) == 41
    assert deeds.findings(repository) == set()
    assert not publish.staging_root(repository).exists()


def test_one_of_two_promotions_wins(repository: Path, start: Start) -> None:
    for number in range(5):
        version = 2 - number % 2
        ends = [start(deeds.promote, repository, version).result for _ in range(2)]
        errors = [ended.error for ended in (end() for end in ends) if ended.error]
        # Who comes later finds it done, or that something else serves than was looked at.
        assert all(kind == "PromotionError" and "meanwhile" in text for kind, text in errors)
        assert len(errors) < 2
        assert deeds.serving(repository) == {name: [version] for name in deeds.MODELS}
        assert len(deeds.log(repository)) == number + 2


def test_a_version_that_gc_took_meanwhile_is_not_promoted(repository: Path) -> None:
    place = Repository(repository)
    checked = Checked(change.target(place, "whole", 2), {})
    cleaning.remove(place, keep=1)
    before = deeds.view(repository)
    with pytest.raises(PromotionError, match="part_a: version 2 was removed meanwhile"):
        promotion.promote(place, checked, "whole", 2)
    assert deeds.view(repository) == before
