"""`modelport schema`: the ways to name an interface, and what a breaking change gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelport import cli
from modelport.errors import BreakingChangeError, RepositoryError

CONFIG = """\
backend: "python"
input {{ name: "x" data_type: TYPE_FP32 dims: [{size}] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [1] }}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Version 1 of a model takes any number of values, version 2 takes four."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model_repository" / "m"
    for version, size in (("1", "-1"), ("2", "4")):
        (folder / version).mkdir(parents=True)
        for at in (folder, folder / version):
            (at / "config.pbtxt").write_text(CONFIG.format(size=size))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.command, ["schema", *arguments])


def test_versions(place: Path) -> None:
    broken = run("check", "m@1", "m@2")
    assert broken.stdout == "breaks  m: input 'x' has the shape [4], it had [-1]\n"
    assert isinstance(broken.exception, BreakingChangeError)
    assert "1 of 1 changes from m@1 to m@2 breaks" in str(broken.exception)
    fits = run("check", "m@2", "m@1")
    assert fits.exit_code == 0
    assert fits.stdout == "fits    m: input 'x' has the shape [-1], it had [4]\n"
    same = run("check", "m", "m@2")
    assert (same.exit_code, same.stdout) == (0, "")


def test_files_and_repositories(place: Path) -> None:
    (place / "old.json").write_text(run("show", "m@1", "--json").stdout)
    (place / "all.json").write_text(run("show", "--json").stdout)
    assert run("check", "old.json", "m@1").exit_code == 0
    assert run("check", "all.json", "./model_repository").stdout == ""
    found = run("check", "old.json", "./model_repository", "--json")
    assert [change["breaking"] for change in json.loads(found.stdout)] == [True]
    assert isinstance(found.exception, BreakingChangeError)


def test_a_model_that_is_gone(place: Path) -> None:
    (place / "empty").mkdir()
    assert run("check", "./model_repository", "./empty").stdout == "breaks  m: is gone\n"


def test_shown_for_people(place: Path) -> None:
    shown = run("show", "m@1")
    assert shown.stdout.startswith("m 1: no batches\n")
    assert "any" in shown.stdout


@pytest.mark.parametrize("name", ["m@x", "m@0", "m@"])
def test_no_version(place: Path, name: str) -> None:
    refused = run("check", name, "m@1")
    assert refused.exit_code == 2
    assert "is not NAME@VERSION, such as digits@3" in refused.stderr


def test_no_such_thing(place: Path) -> None:
    for name in ("m@7", "nothing", "no.json", "./nowhere"):
        assert isinstance(run("check", name, "m@1").exception, RepositoryError)
