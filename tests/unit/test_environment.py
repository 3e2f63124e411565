"""`.ci/environment.py`, as far as it installs nothing."""

from __future__ import annotations

import importlib.util
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment() -> ModuleType:
    path = ROOT / ".ci" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment_under_test", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(environment: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["environment.py", str(folder)])
    return int(environment.main())


def test_a_finished_environment_is_left_alone(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made-by-make").write_text(environment._key(tmp_path))
    monkeypatch.setattr(environment, "_run", lambda *_: pytest.fail("it installs again"))
    assert run(environment, tmp_path, monkeypatch) == 0


def test_an_interrupted_one_is_made_anew_from_nothing(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "made-by-make").write_text("")
    (folder / "half-a-package").write_text("")
    commands: list[list[str]] = []

    def note(command: list[str], *_: object) -> int:
        assert (folder / "made-by-make").read_text() == ""  # unfinished until the end
        commands.append(command)
        return 0

    monkeypatch.setattr(environment, "_run", note)
    assert run(environment, folder, monkeypatch) == 0
    assert not (folder / "half-a-package").exists()
    assert commands[0][1:3] == ["-m", "venv"]
    assert (folder / "made-by-make").read_text() == environment._key(folder)


def test_one_that_was_made_by_hand_is_taken_over(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "env"
    venv.create(folder)
    (folder / "kept").write_text("")
    commands: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", lambda command, *_: commands.append(command))
    assert run(environment, folder, monkeypatch) == 0
    assert all("venv" not in command[1:3] for command in commands)
    assert (folder / "kept").exists()
    assert (folder / "made-by-make").read_text() == environment._key(folder)


def test_a_failed_installation_is_not_taken_for_a_finished_one(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "env"
    monkeypatch.setattr(environment, "_commands", lambda *_, **__: [[sys.executable, "-c", "1/0"]])
    assert run(environment, folder, monkeypatch) == 1
    assert (folder / "made-by-make").read_text() == ""
    assert "ZeroDivisionError" in (folder / "install.log").read_text()


def test_a_folder_that_make_did_not_make_is_kept(
    environment: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").write_text("")
    assert run(environment, tmp_path, monkeypatch) == 1
    assert "is no virtual environment of this Python" in capsys.readouterr().err
    assert (tmp_path / "mine").exists()


def test_what_is_missing_is_named_with_its_remedy(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.missing() is None
    monkeypatch.setattr(environment, "_has_shared_library", lambda _: False)
    what, next_step = environment.missing()
    assert "libpython3." in what
    assert "sudo apt install libpython3." in next_step
    monkeypatch.setattr(environment, "SUPPORTED", ((3, 99),))
    what, next_step = environment.missing()
    assert "needs Python 3.10, 3.11 or 3.12" in what
    assert "sudo apt install python3" in next_step


def test_help_lists_every_target_that_is_for_people() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = makefile.partition(".PHONY: ")[2].partition("\n")[0].split()
    listed = [
        line.partition(":")[0] for line in makefile.splitlines() if ": " in line and "## " in line
    ]
    assert sorted(listed) == sorted(set(phony) - {"environment"})
