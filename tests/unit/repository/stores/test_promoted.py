"""The log of promotions travels with what serves, and only grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from proven import Shelf, agrees, serves

from modelport import cli
from modelport.errors import IntegrityError, StoreConflictError
from modelport.repository import promotions
from modelport.repository.stores import open_store, promoted
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.rollout import history

LOG = promotions.FILE_NAME


def promote(repository: Path, name: str, version: int, reason: str = "") -> None:
    Shelf(repository).record(name, version, reason)


def promoted_in(repository: Path) -> list[tuple[str, int]]:
    return [(entry.model, entry.version) for entry in promotions.read(repository)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.command, [str(a) for a in arguments], prog_name="modelport")


@pytest.fixture
def url(tmp_path: Path, shelf: Shelf, away: Path) -> str:
    """A store that has all of the shelf, where version 1 was promoted; away is in step with it."""
    url = str(tmp_path / "store")
    promote(shelf.path, "net", 1)
    push(shelf.path, open_store(url))
    pull(away, open_store(url))
    return url


def test_a_promotion_travels_with_its_entry(url: str, shelf: Shelf, away: Path) -> None:
    assert (serves(away, "net"), promoted_in(away)) == ([1], [("net", 1)])
    promote(shelf.path, "net", 2)
    sent = push(shelf.path, open_store(url))
    assert [(c.model, c.what) for c in sent.changes] == [("net", "configuration"), (None, "log")]
    taken = pull(away, open_store(url))
    assert [(c.model, c.what) for c in taken.changes] == [("net", "configuration"), (None, "log")]
    assert (serves(away, "net"), promoted_in(away)) == ([2], [("net", 1), ("net", 2)])
    assert agrees(away)
    assert push(shelf.path, open_store(url)).changes == ()
    assert pull(away, open_store(url)).changes == ()


def test_the_receiving_machine_finds_nothing_wrong(url: str, shelf: Shelf, away: Path) -> None:
    promote(shelf.path, "net", 2)
    run("push", "--to", url, "--repository", shelf.path)
    assert run("sync", "--from", url, "--repository", away, "--served").exit_code == 0
    told = run("history", "--repository", away, "--json")
    assert told.exit_code == 0, told.output
    assert [e["version"] for e in json.loads(told.stdout)["entries"]] == [1, 2]


def test_a_promotion_on_the_way_in_is_passed_on(url: str, shelf: Shelf, away: Path) -> None:
    promote(away, "net", 2)
    push(away, open_store(url))
    pull(shelf.path, open_store(url))
    assert serves(shelf.path, "net") == [2]
    assert agrees(shelf.path)


def test_nothing_is_sent_or_taken_by_a_dry_run(url: str, shelf: Shelf, away: Path) -> None:
    promote(shelf.path, "net", 2)
    there = (Path(url) / LOG).read_bytes()
    assert push(shelf.path, open_store(url), dry_run=True).changes[-1].what == "log"
    assert (Path(url) / LOG).read_bytes() == there
    push(shelf.path, open_store(url))
    assert pull(away, open_store(url), dry_run=True).changes[-1].what == "log"
    assert (away / LOG).read_bytes() == there


@pytest.fixture
def forked(url: str, shelf: Shelf, away: Path) -> str:
    """Home and away have each promoted something; away was first to push."""
    pull(away, open_store(url))
    promote(away, "net", 2, "away")
    push(away, open_store(url))
    promote(shelf.path, "chain", 1, "home")
    return url


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_log_of_a_store_is_never_rewritten(
    forked: str, shelf: Shelf, away: Path, overwrite: bool
) -> None:
    with pytest.raises(StoreConflictError, match="holds promotions that the log here does not"):
        push(shelf.path, open_store(forked), overwrite=overwrite)
    assert (Path(forked) / LOG).read_bytes() == (away / LOG).read_bytes()
    assert serves(Path(forked), "net") == [2]


def test_the_log_here_is_not_cut_by_a_pull(forked: str, shelf: Shelf) -> None:
    mine = (shelf.path / LOG).read_bytes()
    with pytest.raises(StoreConflictError, match=r"here promote chain 1 .* there promote net 2"):
        pull(shelf.path, open_store(forked))
    assert (shelf.path / LOG).read_bytes() == mine
    assert serves(shelf.path, "net") == [1]


def test_of_two_promotions_of_one_model_the_log_speaks(url: str, shelf: Shelf, away: Path) -> None:
    """The other message would advise an --overwrite that the log then refuses."""
    promote(away, "net", 2)
    push(away, open_store(url))
    promote(shelf.path, "net", 2, "too")
    shelf.publish("net", labels=("cat", "dog"))
    promote(shelf.path, "net", 3)
    with pytest.raises(StoreConflictError, match="does not: promote net 2 by") as caught:
        push(shelf.path, open_store(url))
    assert "--overwrite takes what serves there" in str(caught.value)
    with pytest.raises(StoreConflictError, match=r"here promote net 2 by .* and 1 more; there"):
        pull(shelf.path, open_store(url))


def test_what_the_message_says_leads_out_of_it(forked: str, shelf: Shelf, away: Path) -> None:
    mine = (shelf.path / LOG).read_bytes()
    taken = pull(shelf.path, open_store(forked), overwrite=True)
    (kept,) = shelf.path.glob(f"{LOG}.*")
    assert kept.read_bytes() == mine
    assert kept.name in taken.notes[0]
    assert agrees(shelf.path)
    promote(shelf.path, "chain", 1, "home")
    push(shelf.path, open_store(forked))
    pull(away, open_store(forked))
    assert promoted_in(away) == [("net", 1), ("net", 2), ("chain", 1)]


def test_promotions_that_were_not_pushed_are_given_up_with_what_serves(
    url: str, shelf: Shelf
) -> None:
    promote(shelf.path, "net", 2)
    assert pull(shelf.path, open_store(url)).changes == ()
    assert serves(shelf.path, "net") == [2]
    pull(shelf.path, open_store(url), overwrite=True)
    assert (serves(shelf.path, "net"), promoted_in(shelf.path)) == ([1], [("net", 1)])
    assert len(promotions.read(shelf.path)) + 1 == len(
        next(shelf.path.glob(f"{LOG}.*")).read_bytes().splitlines()
    )


def test_what_was_promoted_there_is_not_overwritten_behind_the_log(
    url: str, shelf: Shelf, away: Path
) -> None:
    """The store's log goes on where this one ends, so the store is right about what serves."""
    promote(away, "net", 2)
    push(away, open_store(url))
    with pytest.raises(StoreConflictError, match="only grows"):
        push(shelf.path, open_store(url), overwrite=True)
    push(shelf.path, open_store(url))  # keeps what serves there, and its log
    assert serves(Path(url), "net") == [2]
    assert agrees(Path(url))


def test_a_push_or_pull_by_name_leaves_a_log_that_speaks_of_others(
    url: str, shelf: Shelf, away: Path
) -> None:
    promote(shelf.path, "chain", 1)
    promote(shelf.path, "net", 2)
    sent = push(shelf.path, open_store(url), ["net"])
    assert any("stays here: it speaks of chain" in note for note in sent.notes)
    assert promoted_in(Path(url)) == [("net", 1)]
    push(shelf.path, open_store(url))
    taken = pull(away, open_store(url), ["net"])
    assert any("speaks of chain too" in note for note in taken.notes)
    assert promoted_in(away) == [("net", 1)]
    pull(away, open_store(url))
    assert agrees(away)


def test_a_machine_that_has_one_model_takes_the_log_of_all(
    url: str, shelf: Shelf, tmp_path: Path
) -> None:
    promote(shelf.path, "chain", 1)
    push(shelf.path, open_store(url))
    other = tmp_path / "other"
    pull(other, open_store(url), ["net"])
    assert promoted_in(other) == [("net", 1), ("chain", 1)]
    assert agrees(other), "a model that is not here serves nothing wrong"


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_log_that_was_tampered_with_goes_nowhere(
    url: str, shelf: Shelf, away: Path, side: str
) -> None:
    promote(shelf.path, "net", 2, "good")
    push(shelf.path, open_store(url))
    path = shelf.path / LOG if side == "here" else Path(url) / LOG
    path.write_text(path.read_text().replace("good", "evil"))
    before = (away / LOG).read_bytes()
    with pytest.raises(IntegrityError, match="line 2: the entry does not fit its digest"):
        push(shelf.path, open_store(url)) if side == "here" else pull(away, open_store(url))
    assert (away / LOG).read_bytes() == before
    assert serves(away, "net") == [1]


def test_of_two_that_promote_at_once_one_changes_nothing(
    url: str, shelf: Shelf, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(shelf.path, "net", 2)
    promote(away, "chain", 1)
    compare = promoted.compare

    def meanwhile(repository: Path, *rest: object) -> promoted.Logs:
        found = compare(repository, *rest)  # type: ignore[arg-type]
        if repository == shelf.path:
            push(away, open_store(url))
        return found

    monkeypatch.setattr(promoted, "compare", meanwhile)
    with pytest.raises(StoreConflictError, match="another push has written it meanwhile"):
        push(shelf.path, open_store(url))
    assert serves(Path(url), "net") == [1]
    assert agrees(Path(url))


def test_something_promoted_while_files_are_fetched_stays(
    url: str, shelf: Shelf, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(shelf.path, "net", 2)
    push(shelf.path, open_store(url))
    compare = promoted.compare

    def meanwhile(repository: Path, *rest: object) -> promoted.Logs:
        found = compare(repository, *rest)  # type: ignore[arg-type]
        promote(away, "chain", 1)
        return found

    monkeypatch.setattr(promoted, "compare", meanwhile)
    with pytest.raises(StoreConflictError, match="something was promoted here while"):
        pull(away, open_store(url))
    assert promoted_in(away) == [("net", 1), ("chain", 1)]


def test_an_empty_store_may_be_allowed(tmp_path: Path, away: Path) -> None:
    refused = run("pull", "--from", tmp_path / "empty", "--repository", away)
    assert refused.exit_code != 0
    allowed = run("pull", "--from", tmp_path / "empty", "--repository", away, "--allow-empty")
    assert allowed.exit_code == 0, allowed.output
    assert "0 models, nothing new" in allowed.stdout


def extend(folder: Path, count: int, reason: str) -> None:
    for version in range(1, count + 1):
        _, text = history.appended(
            folder, action="promote", model="m", version=version, changes={}, reason=reason
        )
        (folder / LOG).write_text(text)


@given(common=st.integers(0, 3), mine=st.integers(0, 3), theirs=st.integers(0, 3))
def test_the_longer_log_is_the_newer_unless_they_fork(
    tmp_path_factory: pytest.TempPathFactory, common: int, mine: int, theirs: int
) -> None:
    home, there = (tmp_path_factory.mktemp(name) for name in ("home", "store"))
    extend(home, common, "both")
    if common:
        (there / LOG).write_bytes((home / LOG).read_bytes())
    extend(home, mine, "home")
    extend(there, theirs, "store")
    store = open_store(str(there))
    found = promoted.compare(home, store, store.find(LOG))
    expected = {(0, 0): "same", (1, 0): "ours", (0, 1): "theirs", (1, 1): "conflict"}
    assert found.side == expected[bool(mine), bool(theirs)]
    assert (len(found.only_here), len(found.only_there)) == (mine, theirs)
