"""Writes that the kernel itself refuses; test_crashes.py goes through every step besides."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import deeds
import pytest
import small_disk
from faults import Fault, Nursery

from modelport.repository import publish
from modelport.runtime import cache

DEEDS = [deeds.promote, deeds.roll_back, deeds.publish_fourth, deeds.collect, deeds.sign]
# Signing needs a temporary folder for a public key too, and Python finds none without space.
CAUSES = ("likely cause: a file would be larger", "No usable temporary directory")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    deeds.make(tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def nursery(repository: Path) -> Iterator[Nursery]:
    with closing(Nursery("deeds", "model_signing.signing")) as nursery:
        yield nursery


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_files_that_cannot_grow(
    repository: Path, nursery: Nursery, tmp_path: Path, deed: Callable[[Path], None]
) -> None:
    """RLIMIT_FSIZE: the kernel cuts a write off in the middle, at this many bytes."""
    old, said = deeds.view(repository), []
    for limit in range(0, 6000, 70):
        case = tmp_path / "cases" / str(limit)
        shutil.copytree(tmp_path, case, ignore=shutil.ignore_patterns("cases", "cache"))
        ended = nursery.run(deed, case / "repository", fault=Fault("limit", limit, case))
        if ended.error is None:
            assert deeds.view(case / "repository") != old
            break
        kind, text = ended.error
        assert kind == "PublishError" or "the key cannot be written" in text, text
        assert "the repository is as it was" in text or kind == "SigningKeyError"
        assert any(cause in text for cause in CAUSES)
        assert deeds.view(case / "repository") == old
        deeds.next_command(case / "repository")
        assert deeds.view(case / "repository") == old
        assert deeds.findings(case / "repository") == set()
        assert not publish.staging_root(case / "repository").exists()
        said.append(text)
    assert 1 < len(said) < 80


def test_a_disk_with_too_few_blocks(tmp_path: Path) -> None:
    """A real disk, filled to the last block, then with one block more each time."""
    try:
        subprocess.run(
            [*small_disk.OWN_MOUNTS, "mount", "-t", "tmpfs", "none", str(tmp_path)],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine lets nobody mount a disk of their own: {error}")
    with closing(Nursery("small_disk", within=small_disk.OWN_MOUNTS)) as nursery:
        for deed in (deeds.promote, deeds.collect):
            ended = nursery.run(small_disk.until_it_fits, tmp_path, deed)
            assert ended.error is None, ended.error
            assert ended.result
            for text, done in ended.result:
                assert "likely cause: the disk is full" in text
                assert ("which finishes it" if done else "the repository is as it was") in text


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["rollback", "whole", "--to", "2", "--reason", "why"], 23),
        (["gc", "--keep", "1"], 23),
        (["sign", "--key", "../key", "whole", "1"], 23),
        (["keys", "new", "../other"], 26),
        (["history"], 0),
        (["versions", "whole"], 0),
        (["doctor"], 0),
        (["gc", "--dry-run"], 0),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_a_terminal_sees_one_error_with_its_cause(
    repository: Path, command: list[str], code: int
) -> None:
    """No file may grow at all: what changes something says so, what reads goes on."""
    before = deeds.view(repository)
    where = [] if command[0] == "keys" else ["--repository", "."]
    modelport = [sys.executable, "-m", "modelport.cli", *command, *where]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "-", *modelport],
        cwd=repository,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert any(cause in done.stderr for cause in CAUSES) == (code != 0)
    assert done.stderr.count("error:") == (code != 0)
    assert deeds.view(repository) == before
