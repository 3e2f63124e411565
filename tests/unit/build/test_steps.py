"""A step is done once for each content of its inputs, and never half."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.build import steps
from modelport.errors import BuildError


class Work:
    """Writes a file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> dict[str, object]:
        self.times += 1
        (folder / "result").write_text(f"result {self.times}")
        return {"times": self.times}


@pytest.fixture
def work() -> Work:
    return Work()


def test_a_step_is_done_once(work: Work) -> None:
    first = steps.run("train", {"seed": 1, "data": "a"}, work)
    again = steps.run("train", {"data": "a", "seed": 1}, work)
    assert work.times == 1
    assert (first.cached, again.cached) == (False, True)
    assert (again.folder, again.key) == (first.folder, first.key)
    assert again.facts() == {"times": 1}
    assert (again.folder / "result").read_text() == "result 1"


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("train", {"seed": 2}), ("train", {"seed": "1"}), ("train", {}), ("export", {"seed": 1})],
)
def test_other_inputs_are_another_step(work: Work, name: str, inputs: dict[str, object]) -> None:
    first = steps.run("train", {"seed": 1}, work)
    other = steps.run(name, inputs, work)
    assert work.times == 2
    assert other.key != first.key
    assert (first.folder / "result").read_text() == "result 1"


def test_work_that_fails_leaves_nothing(work: Work, cache_folder: Path) -> None:
    def fail(folder: Path) -> dict[str, object]:
        (folder / "half").write_text("half")
        raise ValueError("the user's own")

    with pytest.raises(ValueError, match="the user's own"):
        steps.run("train", {}, fail)
    assert list((cache_folder / "steps").iterdir()) == []
    assert steps.run("train", {}, work).facts() == {"times": 1}


KILLED = """
import os
from modelport.build import steps

def work(folder):
    (folder / "result").write_text("half")
    os._exit(9)

steps.run("train", {}, work)
"""


def test_work_that_was_killed_is_done_again(work: Work, cache_folder: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == 9
    (left,) = (cache_folder / "steps").iterdir()
    assert "partial" in left.name
    done = steps.run("train", {}, work)
    assert not done.cached
    assert (done.folder / "result").read_text() == "result 1"
    assert list((cache_folder / "steps").iterdir()) == [done.folder]


def test_another_process_that_was_faster_is_no_error() -> None:
    code = KILLED.replace("os._exit(9)", "return {'times': 'theirs'}")

    def slow(folder: Path) -> dict[str, object]:
        subprocess.run([sys.executable, "-c", code], check=True)
        return {"times": "mine"}

    assert steps.run("train", {}, slow).facts() == {"times": "theirs"}


def test_a_full_disk_is_named_with_a_way_out(cache_folder: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def work(folder: Path) -> dict[str, object]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        (folder / "weights").write_bytes(bytes(100))
        return {}

    try:
        with pytest.raises(BuildError, match="the step 'train' cannot be kept") as caught:
            steps.run("train", {}, work)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "MODELPORT_CACHE" in str(caught.value.next_step)
    assert list((cache_folder / "steps").iterdir()) == []
