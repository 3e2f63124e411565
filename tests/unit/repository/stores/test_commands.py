"""`modelport push`, `pull` and `sync` as people and programs use them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from proven import Shelf, serves, state, versions

from modelport import cli
from modelport.errors import MissingExtraError, StoreError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.command, [str(a) for a in arguments], prog_name="modelport")


def answer(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_there_and_back_in_words(shelf: Shelf, store: Path, away: Path) -> None:
    pushed = run("push", "--to", store, "--repository", shelf.path)
    assert pushed.exit_code == 0, pushed.output
    assert "2 models, 3 new versions; sent" in pushed.stdout
    assert "2 models, nothing new" in run("push", "--to", store, "--repository", shelf.path).stdout
    pulled = run("pull", "--from", store, "--repository", away)
    assert "2 models, 3 new versions; received" in pulled.stdout
    assert versions(away) == versions(shelf.path)


def test_there_and_back_in_json(shelf: Shelf, store: Path, away: Path) -> None:
    planned = answer("push", "--to", store, "--repository", shelf.path, "--dry-run")
    assert planned["dry_run"] is True
    assert not store.exists()
    pushed = answer("push", "net", "--to", store, "--repository", shelf.path)
    assert {(c["model"], c["version"], c["what"]) for c in pushed["changes"]} == {
        ("net", 1, "version"),
        ("net", 2, "version"),
        ("net", None, "configuration"),
    }
    size = sum(c["size_bytes"] for c in pushed["changes"])
    assert size <= pushed["traffic"]["bytes_sent"] < size + 500  # and the claims
    pulled = answer("pull", "net", "--from", store, "--repository", away, "--served")
    assert [c["version"] for c in pulled["changes"]] == [2, None]


def test_what_would_be_pulled_is_said_and_not_done(shelf: Shelf, store: Path, away: Path) -> None:
    run("push", "--to", store, "--repository", shelf.path)
    said = run("pull", "--from", store, "--repository", away, "--dry-run").stdout
    assert "3 new versions" in said
    assert "not done" in said
    assert state(away) == {}


@pytest.mark.parametrize("way", ["push --to", "pull --from", "sync --from"])
def test_what_is_no_store_is_refused(shelf: Shelf, way: str) -> None:
    result = run(*way.split(), "gs://models", "--repository", shelf.path)
    assert isinstance(result.exception, StoreError)


def test_sync_removes_only_when_told(shelf: Shelf, store: Path, away: Path) -> None:
    run("push", "--to", store, "--repository", shelf.path)
    run("sync", "--from", store, "--repository", away)
    Shelf(store).remove("net", 1)
    run("sync", "--from", store, "--repository", away)
    assert (away / "net" / "1").is_dir()
    document = answer("sync", "--from", store, "--repository", away, "--delete")
    assert [(c["version"], c["what"]) for c in document["changes"]] == [(1, "removed")]
    assert not (away / "net" / "1").exists()


def test_sync_goes_on_and_outlives_a_store_that_is_away(
    shelf: Shelf, store: Path, away: Path
) -> None:
    run("push", "--to", store, "--repository", shelf.path)
    command = [sys.executable, "-m", "modelport.cli", "sync", "--from", str(store),
               "--repository", str(away), "--every", "0.1", "--json"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def until(key: str, wanted: object) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)
            if document.get(key) == wanted or (wanted is ... and document.get(key)):
                return
        raise AssertionError(process.communicate()[1])

    try:
        until("changes", ...)
        assert serves(away, "net") == [2]
        store.rename(store.with_name("moved"))
        until("error", "StoreError")
        store.with_name("moved").rename(store)
        shelf.promote("net", 1)
        run("push", "--to", store, "--repository", shelf.path)
        until("changes", ...)
        assert serves(away, "net") == [1]
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_s3_without_boto3_names_the_extra(shelf: Shelf) -> None:
    script = "import sys; sys.modules['boto3'] = None\nfrom modelport.cli import main\nmain()"
    arguments = ["push", "--to", "s3://models/a", "--repository", str(shelf.path)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == MissingExtraError.exit_code, done.stderr
    assert "pip install 'modelport[s3]'" in done.stderr
    assert "Traceback" not in done.stderr
