"""The log of promotions finds what was done to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import pin

from modelport.errors import IntegrityError
from modelport.repository.layout import Repository
from modelport.rollout import history
from modelport.rollout.history import Compared, Entry, Switched


def add(folder: Path, after: int, reason: str = "") -> Entry:
    entry, text = history.appended(
        folder,
        action="promote",
        model="m",
        version=after,
        changes={"m": Switched(before=[after - 1] if after > 1 else [], after=after)},
        reason=reason,
        figures={"m": {"accuracy": Compared(before=None, after=float("nan"))}},
    )
    (folder / history.FILE_NAME).write_text(text)
    return entry


def test_entries_follow_each_other(tmp_path: Path) -> None:
    assert history.read(tmp_path) == []
    added = [add(tmp_path, version, f"reason {version}") for version in (1, 2, 3)]
    read = history.read(tmp_path)
    assert [e.digest for e in read] == [e.digest for e in added]
    assert [e.previous for e in read] == [history.NOTHING, *(e.digest for e in added[:2])]
    assert read[2].changes["m"] == Switched(before=[2], after=3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("log")
    for version in (1, 2, 3):
        add(folder, version, f"reason {version}")
    return (folder / history.FILE_NAME).read_text()


@given(place=st.integers(0, 10_000), to=st.sampled_from('xX0 9"{'))
def test_any_changed_letter_is_found(
    log: str, tmp_path_factory: pytest.TempPathFactory, place: int, to: str
) -> None:
    place %= len(log)
    if log[place] in (to, "\n"):
        return
    folder = tmp_path_factory.mktemp("changed")
    (folder / history.FILE_NAME).write_text(log[:place] + to + log[place + 1 :])
    with pytest.raises(IntegrityError, match=r"line [123]: the entry"):
        history.read(folder)


def test_another_spelling_of_the_same_values_is_found(log: str, tmp_path: Path) -> None:
    (tmp_path / history.FILE_NAME).write_text(log.replace("T", " ", 1))
    with pytest.raises(IntegrityError, match="line 1: the entry does not fit its digest"):
        history.read(tmp_path)


def test_a_reason_may_hold_any_letter(tmp_path: Path) -> None:
    reason = "one\u2028two\x85three\rfour\nfive \U0001f600"
    entry, text = history.appended(
        tmp_path, action="promote", model="m", version=1, changes={}, reason=reason
    )
    (tmp_path / history.FILE_NAME).write_text(text, encoding="utf-8", newline="")
    assert history.read(tmp_path) == [entry]
    assert entry.reason == reason


@pytest.mark.parametrize("order", [[1, 2], [0, 2], [0, 2, 1], [0, 1, 1, 2]])
def test_lines_left_out_moved_or_repeated_are_found(
    log: str, tmp_path: Path, order: list[int]
) -> None:
    lines = log.splitlines()
    (tmp_path / history.FILE_NAME).write_text("\n".join(lines[i] for i in order) + "\n")
    with pytest.raises(IntegrityError, match="does not follow"):
        history.read(tmp_path)


def test_an_entry_off_the_end_shows_in_the_policies(
    log: str, repository: Repository, publish
) -> None:
    for version in (1, 2, 3):
        publish("m", version)
    pin(repository, m=3)
    path = repository.path / history.FILE_NAME
    path.write_text(log)
    assert history.disagreements(repository, history.read(repository.path)) == []
    path.write_text("\n".join(log.splitlines()[:2]) + "\n")
    assert history.disagreements(repository, history.read(repository.path)) == [
        "m: the log says 2 serves, config.pbtxt says 3"
    ]


def test_time_never_goes_back(tmp_path: Path) -> None:
    first = add(tmp_path, 1)
    path = tmp_path / history.FILE_NAME
    future = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=300)
    ahead = first.model_copy(update={"time": future}).sealed()
    path.write_text(ahead.model_dump_json() + "\n")
    assert add(tmp_path, 2).time == future, "the clock was put back by 300 days"
    assert json.loads(path.read_text().splitlines()[1])["number"] == 2
