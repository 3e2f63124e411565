"""Pushing to S3 and pulling from it: counts, kill -9, corruption, and many at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import carrier
import pytest
from proven import Shelf, agrees, serves, state, versions
from seaweed import S3, opened

from modelport.errors import IntegrityError, StoreConflictError
from modelport.repository.stores import contents, promoted
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.repository.stores.work import Outcome
from modelport.rollout import history

SCRIPT = Path(carrier.__file__)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "home")
    shelf.publish("net", labels=("cat", "dog"))
    shelf.publish("net", labels=("cat", "dog"))
    shelf.publish("chain", part="net")
    return shelf


def send(shelf: Shelf, url: str) -> Outcome:
    return push(shelf.path, opened(url))


def fetch(repository: Path, url: str) -> Outcome:
    return pull(repository, opened(url))


def test_there_and_back_again(s3: S3, shelf: Shelf, tmp_path: Path) -> None:
    url, away = s3.url("back"), tmp_path / "away"
    # 4 files in each version of net, 2 in that of chain, what lies beside them, and 3 claims.
    first = send(shelf, url)
    assert first.traffic["files_sent"] == 2 * 4 + 2 + (2 + 1) + 3
    assert send(shelf, url).traffic["requests"] == 1
    fetch(away, url)
    assert versions(away) == versions(shelf.path)
    assert serves(away, "net") == [2]
    again = fetch(away, url).traffic
    assert (again["requests"], again["bytes_received"]) == (1, 0)

    shelf.publish("net", labels=("cat", "dog"))
    one = send(shelf, url).traffic
    assert one["files_sent"] == 4 + 1 + 1  # the version, config.pbtxt, and the claim
    assert fetch(away, url).traffic["files_received"] == 4 + 2
    assert serves(away, "net") == [3]


def kill_at_every_request(way: str, repository: Path, url: str, witnesses: Path) -> list[Path]:
    """Give what another machine pulled after each kill."""
    command = [sys.executable, str(SCRIPT), way, "--requests", *map(str, (repository, url))]
    done = subprocess.run([*command, str(witnesses)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(witnesses.iterdir(), key=lambda path: int(path.name))


@pytest.mark.slow
def test_a_push_that_is_killed_at_any_request_is_ended_by_the_next(
    s3: S3, shelf: Shelf, tmp_path: Path
) -> None:
    """Each goes on where the one before was killed, and at any time others can pull."""
    url = s3.url("killed-push")
    send(shelf, url)
    shelf.publish("net", labels=("cat", "dog"))
    witnesses = kill_at_every_request("push", shelf.path, url, tmp_path / "witnesses")
    assert len(witnesses) > 8
    seen = [serves(witness, "net") for witness in witnesses]
    assert seen == sorted(seen)
    assert {tuple(named) for named in seen} == {(2,), (3,)}
    for witness, (named,) in zip(witnesses, seen, strict=True):
        mine = versions(shelf.path)
        assert versions(witness).items() <= mine.items()
        assert f"net/{named}/manifest.json" in versions(witness)
    assert versions(witnesses[-1]) == versions(shelf.path)
    assert send(shelf, url).changes == ()
    assert not contents.read(opened(url))["net"].claims


@pytest.mark.slow
def test_a_promotion_that_is_killed_on_its_way_is_ended_by_the_next_push(
    s3: S3, shelf: Shelf, tmp_path: Path
) -> None:
    """The log is there before what serves changes, and never shorter than it was."""
    url = s3.url("killed-promotion")
    shelf.record("net", 1)
    send(shelf, url)
    shelf.record("net", 2)
    witnesses = kill_at_every_request("push", shelf.path, url, tmp_path / "witnesses")
    seen = [(len(history.read(w)), *serves(w, "net")) for w in witnesses]
    assert seen == sorted(seen)
    assert set(seen) <= {(1, 1), (2, 1), (2, 2)}
    assert {seen[0], seen[-1]} == {(1, 1), (2, 2)}
    assert agrees(witnesses[0])
    assert agrees(witnesses[-1])


def test_of_two_promotions_at_once_one_is_refused(s3: S3, shelf: Shelf, tmp_path: Path) -> None:
    url, other = s3.url("crossing"), Shelf(tmp_path / "other")
    send(shelf, url)
    fetch(other.path, url)
    shelf.record("net", 1)
    other.record("chain", 1)
    compare = promoted.compare

    def meanwhile(repository: Path, *rest: Any) -> promoted.Logs:
        found = compare(repository, *rest)
        if repository == shelf.path:
            send(other, url)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promoted, "compare", meanwhile)
        with pytest.raises(StoreConflictError, match="another push has written it meanwhile"):
            send(shelf, url)
    away = tmp_path / "away"
    fetch(away, url)
    assert serves(away, "net") == [2]
    assert agrees(away)
    with pytest.raises(StoreConflictError, match="holds promotions that the log here does not"):
        send(shelf, url)


@pytest.mark.slow
def test_a_pull_that_is_killed_at_any_request_shows_nothing_and_goes_on(
    s3: S3, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "home")
    shelf.publish("net", labels=("cat", "dog"))
    url, away = s3.url("killed-pull"), tmp_path / "away"
    send(shelf, url)
    kills = kill_at_every_request("pull", away, url, tmp_path / "witnesses")
    assert len(kills) > 5
    assert versions(away) == versions(shelf.path)
    assert not (tmp_path / ".away.staging").exists()


def test_a_corrupted_object_is_refused_until_it_is_sent_again(
    s3: S3, shelf: Shelf, tmp_path: Path, behind: Any
) -> None:
    url, away = s3.url("corrupted"), tmp_path / "away"
    send(shelf, url)
    key = {"Bucket": s3.bucket, "Key": "corrupted/net/2/model.onnx"}
    content = behind.get_object(**key)["Body"].read()
    behind.put_object(**key, Body=content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"net/2/model\.onnx: sha256") as caught:
        fetch(away, url)
    assert state(away) == {}
    # What the message tells to do.
    assert "remove net/2/model.onnx from the store, and push" in str(caught.value)
    behind.delete_object(**key)
    assert [c.what for c in send(shelf, url).changes] == ["files"]
    fetch(away, url)
    assert versions(away) == versions(shelf.path)


def test_keys_that_leave_the_repository_are_refused(
    s3: S3, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: Any
) -> None:
    send(shelf, s3.url("escape"))
    store = opened(s3.url("escape"))
    pages = [item for item in store.list() if item.key.endswith("2/model.onnx")]
    key = pages[0].key.replace("net/2", "net/../../2")
    # SeaweedFS itself resolves such a key, so the listing is made to lie.
    lying = [type(item)(key, item.size_bytes, item.tag, item.md5) for item in pages]
    monkeypatch.setattr(store, "list", lambda prefix="": iter(lying))
    with pytest.raises(IntegrityError, match="no path inside a model"):
        pull(tmp_path / "away", store)


def test_pushers_at_once_end_with_one_whole_winner(s3: S3, tmp_path: Path) -> None:
    shelves = [Shelf(tmp_path / name) for name in ("a", "b", "c")]
    for shelf in shelves:
        for _ in range(3):
            shelf.publish("net", size_bytes=20_000)
    url = s3.url("pushers")
    command = [sys.executable, "-m", "modelport.cli", "push", "--to", url, "--repository"]
    processes = [
        subprocess.Popen(
            [*command, str(shelf.path)],
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for shelf in shelves
    ]
    said = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 25, 25], said
    winner = shelves[codes.index(0)]
    fetch(tmp_path / "away", url)
    assert versions(tmp_path / "away") == versions(winner.path)
    assert all("another version under this number" in s for s in said if s)


def test_many_small_versions(s3: S3, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "home")
    for _ in range(100):
        shelf.publish("net", size_bytes=10)
    url, away = s3.url("many"), tmp_path / "away"
    assert len(send(shelf, url).changes) == 101
    assert send(shelf, url).traffic["requests"] == 1
    fetch(away, url)
    assert versions(away) == versions(shelf.path)
    served = tmp_path / "served"
    assert len(pull(served, opened(url), served=True).changes) == 2
    assert serves(served, "net") == [100]
