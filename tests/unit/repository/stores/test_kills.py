"""kill -9 at every point of a push and a pull, and several of them at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import carrier
import pytest
from proven import Shelf, serves, state, versions

from modelport.errors import IntegrityError
from modelport.repository import publish
from modelport.repository.layout import ModelFolder
from modelport.repository.stores import open_store
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push

SCRIPT = Path(carrier.__file__)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A store and another machine that are in step, and a new version at home."""
    template = tmp_path / "killed" / "template"
    home = Shelf(template / "home")
    home.publish("net", labels=("a", "b"), size_bytes=100)
    store = open_store(str(template / "store"))
    push(home.path, store)
    pull(template / "away", store)
    store.close()
    home.publish("net", labels=("b", "a"), size_bytes=100)
    return template


def kill_everywhere(way: str, template: Path) -> list[Path]:
    """Give one folder for each kill; the worker of the last one came through."""
    subprocess.run([sys.executable, str(SCRIPT), way, str(template.parent)], check=True)
    cases = [path for path in template.parent.iterdir() if path != template]
    return sorted(cases, key=lambda path: int(path.name))


def whole(repository: Path) -> set[int]:
    """Versions with a manifest, all of whose files are as it says."""
    folder = ModelFolder(repository / "net")
    proven = folder.proven_versions()
    assert {v: folder.manifest(v).changed_files(folder.version_dir(v)) for v in proven} == {
        v: {} for v in proven
    }
    return set(proven)


def _torn(store: Path) -> bool:
    """Say whether the labels are those of another version than the one that serves."""
    (version,) = serves(store, "net")
    labels = (store / "net" / name / "y_labels.txt" for name in (".", str(version)))
    return len({path.read_text() for path in labels}) == 2


@pytest.mark.slow
def test_a_killed_push_leaves_a_store_that_serves_and_the_next_one_ends_it(
    template: Path,
) -> None:
    seen = {"old": 0, "unnamed": 0, "new": 0, "torn": 0}
    cases = kill_everywhere("push", template)
    for case in cases:
        home, store = case / "home", case / "store"
        named = serves(store, "net")
        assert named in ([1], [2])
        assert set(named) <= whole(store)
        seen["new" if named == [2] else "unnamed" if 2 in whole(store) else "old"] += 1
        if _torn(store):
            before = state(case / "away")
            with pytest.raises(IntegrityError, match=r"y_labels\.txt is not the one"):
                pull(case / "away", open_store(str(store)))
            assert state(case / "away") == before
            seen["torn"] += 1
        else:  # whoever pulls now gets the old state or the new one
            pull(case / "away", open_store(str(store)))
            assert serves(case / "away", "net") == named
        carrier.carry("push", home, str(store), [])
        assert versions(store) == versions(home)
        assert serves(store, "net") == [2]
        assert sorted(p.name for p in case.iterdir()) == ["away", "home", "store"]
        assert not list(store.glob("*/.*"))
    assert min(seen["old"], seen["unnamed"], seen["new"]) > 3, seen
    assert seen["torn"] < len(cases) / 5, seen


@pytest.mark.slow
def test_a_killed_pull_leaves_the_old_state_or_the_new_one(template: Path) -> None:
    push(template / "home", store := open_store(str(template / "store")))
    store.close()
    old = state(template / "away")
    new = {**state(template / "store")}
    seen = {"old": 0, "new": 0, "journal": 0}
    for case in kill_everywhere("pull", template):
        away = case / "away"
        journal = (away / publish.JOURNAL).is_file()
        seen["journal"] += journal
        if not journal:
            assert state(away) in (old, new), case.name
        # Even half way through the journal, nothing is named that is not whole.
        assert set(serves(away, "net")) <= whole(away)
        publish.finish(away)
        assert state(away) == new if journal else state(away) in (old, new)
        seen["new" if state(away) == new else "old"] += 1
        carrier.carry("pull", away, str(case / "store"), [])
        assert state(away) == new
        assert not list(case.glob(".away.staging/*"))
    assert all(count > 3 for count in seen.values()), seen


def test_what_a_killed_pull_has_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    home = Shelf(tmp_path / "home")
    home.publish("net", size_bytes=3_000_000)
    store = open_store(str(tmp_path / "store"))
    push(home.path, store)
    store.close()
    weights = (home.path / "net" / "1" / "model.onnx").read_bytes()
    digest = next(e.sha256 for e in home.folder("net").manifest(1).files if e.path == "model.onnx")
    # As a killed pull leaves it: a process that is gone, and the first two MB.
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    left = tmp_path / ".away.staging" / f"pull.{gone.stdout.strip()}.deadbeef" / "files"
    left.mkdir(parents=True)
    (left / f"{digest}.part").write_bytes(weights[:2_000_000])
    fresh = open_store(str(tmp_path / "store"))
    pull(tmp_path / "away", fresh)
    assert versions(tmp_path / "away") == versions(home.path)
    assert 1_000_000 < fresh.traffic.as_json()["bytes_received"] < 1_100_000
    assert not (tmp_path / ".away.staging").exists()


def test_a_damaged_beginning_is_fetched_anew(tmp_path: Path) -> None:
    home = Shelf(tmp_path / "home")
    home.publish("net", size_bytes=100_000)
    store = open_store(str(tmp_path / "store"))
    push(home.path, store)
    store.close()
    digest = next(e.sha256 for e in home.folder("net").manifest(1).files if e.path == "model.onnx")
    left = tmp_path / ".away.staging" / "pull.0.deadbeef" / "files"
    left.mkdir(parents=True)
    (left / f"{digest}.part").write_bytes(b"not it")
    pull(tmp_path / "away", open_store(str(tmp_path / "store")))
    assert versions(tmp_path / "away") == versions(home.path)


def together(*commands: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run some at once; the first line that each gives is waited for, so that all run."""
    processes = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for c in commands
    ]
    ends = [process.communicate() for process in processes]
    return [
        subprocess.CompletedProcess(p.args, p.returncode, *end)
        for p, end in zip(processes, ends, strict=True)
    ]


def test_of_pushers_of_one_number_just_one_wins_whole(tmp_path: Path) -> None:
    shelves = [Shelf(tmp_path / name) for name in ("a", "b", "c")]
    for shelf in shelves:
        for _ in range(5):
            shelf.publish("net", size_bytes=20_000)
    store = tmp_path / "store"
    script = [sys.executable, "-m", "modelport.cli", "push", "--to", str(store), "--repository"]
    ends = together(*([*script, str(shelf.path)] for shelf in shelves))
    for end in ends:
        assert end.returncode in (0, 25), end.stderr
    winner = [s for s, end in zip(shelves, ends, strict=True) if end.returncode == 0]
    assert len(winner) == 1
    assert whole(store) == {1, 2, 3, 4, 5}
    assert versions(store) == versions(winner[0].path)
    assert not list(store.glob("*/.*.push"))


def test_pullers_of_the_same_do_not_disturb_each_other(tmp_path: Path) -> None:
    home = Shelf(tmp_path / "home")
    for _ in range(5):
        home.publish("net", size_bytes=20_000)
    store = open_store(str(tmp_path / "store"))
    push(home.path, store)
    store.close()
    away = tmp_path / "away"
    script = [sys.executable, "-m", "modelport.cli", "pull", "--from", str(tmp_path / "store")]
    ends = together(*([*script, "--repository", str(away)] for _ in range(3)))
    assert versions(away) == versions(home.path)
    for end in ends:
        assert end.returncode == 0, end.stderr
    assert not (tmp_path / ".away.staging").exists()
