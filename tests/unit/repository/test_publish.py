"""Publishing is all or nothing, whatever ends it and whoever else publishes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import publisher
import pytest

from modelport.errors import PublishError
from modelport.repository import publish
from modelport.repository.publish import JOURNAL, LOCK, Move

SCRIPT = Path(publisher.__file__)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    publisher.old_state(path)
    return path


def state(repository: Path) -> dict[str, str]:
    """Everything that Triton would see."""
    files = (path for path in repository.rglob("*") if path.is_file())
    found = {path.relative_to(repository).as_posix(): path.read_text() for path in files}
    return {name: text for name, text in found.items() if not name.startswith(".")}


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("old") / "repository"
    publisher.old_state(path)
    return state(path)


@pytest.fixture(scope="session")
def new(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("new") / "repository"
    publisher.old_state(path)
    publisher.publish_all(path)
    return state(path)


def test_the_new_state_is_the_old_one_with_the_change(
    old: dict[str, str], new: dict[str, str]
) -> None:
    changed = {name: text for name, text in new.items() if old.get(name) != text}
    assert changed == {
        "net/2/model.onnx": "weights 2",
        "net/2/manifest.json": "{}",
        "net/config.pbtxt": "config 2",
        "code/1/manifest.json": "{}",
        "whole/1/model.onnx": "new model",
    }
    assert old.keys() <= new.keys()


def test_nothing_is_left_beside_the_repository(repository: Path) -> None:
    publisher.publish_all(repository)
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]
    assert {path.name for path in repository.glob(".*")} <= {LOCK}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publishers that ended at every point: one folder for each, the last one came through."""
    folder = tmp_path_factory.mktemp("crashed")
    subprocess.run([sys.executable, str(SCRIPT), "crash", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("recovery", ["finish", "new_stage", "locked"])
def test_a_crash_anywhere_leaves_the_old_state_or_the_new_one(
    crashed: Path,
    recovery: str,
    old: dict[str, str],
    new: dict[str, str],
    tmp_path: Path,
) -> None:
    seen = {"old": 0, "new": 0, "journal": 0}
    for case in sorted(crashed.iterdir(), key=lambda path: int(path.name)):
        copy = tmp_path / case.name
        subprocess.run(["cp", "-a", str(case), str(copy)], check=True)
        repository = copy / "repository"
        journal = (repository / JOURNAL).is_file()
        seen["journal"] += journal
        if not journal:
            assert state(repository) in (old, new), case.name
        _recover(recovery, repository)
        after = state(repository)
        assert after == new if journal else after in (old, new), case.name
        assert not (repository / JOURNAL).exists()
        seen["new" if after == new else "old"] += 1
        if after == old:
            publisher.publish_all(repository)
            assert state(repository) == new
    # Crashes before, during and after the moves were all among them.
    assert all(count > 3 for count in seen.values()), seen


def _recover(how: str, repository: Path) -> None:
    if how == "finish":
        publish.finish(repository)
    elif how == "new_stage":
        publish.discard(repository, publish.new_stage(repository, "tiny"))
    else:
        with publish.locked(repository):
            pass


def test_the_next_publication_clears_away_what_a_crash_staged(crashed: Path) -> None:
    left = 0
    for case in crashed.iterdir():
        repository = case / "repository"
        left += publish.staging_root(repository).is_dir()
        publish.discard(repository, publish.new_stage(repository, "tiny"))
        assert [path.name for path in case.iterdir()] == ["repository"], case.name
    assert left > 10


def test_a_stage_whose_maker_lives_is_left_alone(repository: Path) -> None:
    mine = publish.new_stage(repository, "tiny")
    other = publish.new_stage(repository, "tiny")
    assert mine.is_dir()
    assert mine != other
    publish.discard(repository, other)
    assert mine.is_dir()
    publish.discard(repository, mine)
    assert not publish.staging_root(repository).exists()


def test_a_stage_of_another_label_is_left_alone(repository: Path) -> None:
    gone = publish.staging_root(repository) / "tiny.0.12345678"
    gone.mkdir(parents=True)
    publish.new_stage(repository, "other")
    assert gone.is_dir()


def test_the_disk_refuses_in_the_middle_and_the_next_one_finishes(
    repository: Path, new: dict[str, str]
) -> None:
    stage, moves = publisher.stage(repository)
    (repository / "whole").write_text("in the way of the folder of a new model")
    with publish.locked(repository), pytest.raises(PublishError) as caught:
        publish.apply(repository, moves)
    assert "which finishes it" in str(caught.value.next_step)
    publish.discard(repository, stage)
    (repository / "whole").unlink()
    publish.finish(repository)
    assert state(repository) == new


def test_two_publishers_of_one_version(repository: Path) -> None:
    command = [sys.executable, str(SCRIPT), "publish", str(repository), "net", "2"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, PublishError.exit_code], outputs
    winner, loser = codes.index(0), 1 - codes.index(0)
    assert (repository / "net/2/model.onnx").read_text() == f"by {both[winner].pid}"
    assert "another publisher made this version meanwhile" in outputs[loser]
    # The one that lost blocks nobody.
    subprocess.run([*command[:-1], "3"], check=True)


def test_many_publishers_of_different_models(repository: Path) -> None:
    command = [sys.executable, str(SCRIPT), "publish", str(repository)]
    names = [f"model{number}" for number in range(6)]
    processes = [subprocess.Popen([*command, name, "1"]) for name in names]
    assert [process.wait() for process in processes] == [0] * len(names)
    for process, name in zip(processes, names, strict=True):
        assert (repository / name / "1" / "model.onnx").read_text() == f"by {process.pid}"
    assert not publish.staging_root(repository).exists()


def test_a_version_that_is_there_is_never_replaced(repository: Path, old: dict[str, str]) -> None:
    stage, moves = publisher.stage(repository)
    (stage / "net" / "1").mkdir()
    taken = Move(stage / "net" / "1", repository / "net" / "1")
    with publish.locked(repository), pytest.raises(PublishError, match="meanwhile"):
        publish.apply(repository, [*moves, taken])
    assert state(repository) == old


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import publisher
from modelport.errors import PublishError
from modelport.repository import publish
repository = Path({repository!r})
stage, moves = publisher.stage(repository)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
try:
    with publish.locked(repository):
        publish.apply(repository, moves)
except PublishError as error:
    publish.discard(repository, stage)
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_changes_nothing_and_is_named(repository: Path, old: dict[str, str]) -> None:
    """RLIMIT_FSIZE stands for the full disk: the journal is longer than 20 bytes."""
    code = FULL.format(folder=str(SCRIPT.parent), repository=str(repository))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == PublishError.exit_code, done.stderr
    assert "could not publish" in done.stdout
    assert "likely cause: a file would be larger than this process may write" in done.stdout
    assert state(repository) == old
    assert {path.name for path in repository.glob(".*")} <= {LOCK}
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]


@pytest.mark.parametrize(
    "moves",
    [
        [["../../secret", "net/2"]],
        [["/etc/hostname", "net/2"]],
        [["stage/secret", "../outside"]],
        [["stage/secret", "/outside"]],
    ],
)
def test_a_journal_that_leaves_the_repository_is_refused(
    repository: Path, moves: list[list[str]], old: dict[str, str]
) -> None:
    """Not even its harmless moves are made: a foreign repository may bring a foreign journal."""
    staged = publish.staging_root(repository) / "stage"
    staged.mkdir(parents=True)
    for name in ("secret", "harmless"):
        (staged / name).write_text(name)
    (repository.parent.parent / "secret").write_text("secret")
    (repository / JOURNAL).write_text(json.dumps([["stage/harmless", "net/harmless"], *moves]))
    with pytest.raises(PublishError, match="journal leaves"):
        publish.finish(repository)
    assert state(repository) == old
    assert not (repository.parent / "outside").exists()


def test_a_link_out_of_the_repository_is_refused(repository: Path, tmp_path: Path) -> None:
    staged = publish.staging_root(repository) / "stage"
    staged.mkdir(parents=True)
    (staged / "a").write_text("a")
    (tmp_path / "elsewhere").mkdir()
    (repository / "link").symlink_to(tmp_path / "elsewhere")
    (repository / JOURNAL).write_text(json.dumps([["stage/a", "link/a"]]))
    with pytest.raises(PublishError, match="journal leaves"):
        publish.finish(repository)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("text", ["", "[[", "{}x", "[1]", '[["a"]]', "\x00", "7"])
def test_a_damaged_journal_is_named(repository: Path, text: str, old: dict[str, str]) -> None:
    (repository / JOURNAL).write_text(text)
    with pytest.raises(PublishError, match="damaged") as caught:
        publish.finish(repository)
    assert caught.value.objects["path"] == repository / JOURNAL
    assert state(repository) == old


def test_finish_without_a_repository_does_nothing(tmp_path: Path) -> None:
    publish.finish(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_lock_of_a_dead_publisher_is_free(repository: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from modelport.repository import publish\n"
        "with publish.locked(Path(sys.argv[1])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(repository)], check=False)
    assert done.returncode == 9
    with publish.locked(repository):
        assert (repository / LOCK).exists()


def test_the_staging_root_may_vanish_while_a_folder_is_made(repository: Path) -> None:
    """Other publishers take the empty root away when they end, again and again."""
    root, done = publish.staging_root(repository), threading.Event()

    def take_away() -> None:
        while not done.is_set():
            with suppress(OSError):
                root.rmdir()

    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        for _ in range(200):
            publish.discard(repository, publish.new_stage(repository, "net"))
    finally:
        done.set()
        thread.join()
