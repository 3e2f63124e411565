"""Finding perf_analyzer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelport.errors import ToolchainError
from modelport.perf import analyzer


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_first_one_found_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path / "perf_analyzer", 'echo "Perf Analyzer Version 9.1.0 (commit x)"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = analyzer.find()
    assert found is not None
    assert (found.binary, found.version, found.place) == (own, "9.1.0", "PATH")

    other = program(tmp_path / "b" / "pa", 'echo "Perf Analyzer Version 9.2.0" >&2')
    monkeypatch.setenv(analyzer.VARIABLE, str(other))
    found = analyzer.find()
    assert found is not None
    assert (found.binary, found.version) == (other, "9.2.0")
    assert analyzer.candidates()[1].why == f"not used: {analyzer.VARIABLE} comes first"


@pytest.mark.parametrize("text", ["exit 3", "echo hello"])
def test_one_that_does_not_run_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(analyzer.VARIABLE, str(program(tmp_path / "pa", text)))
    with pytest.raises(ToolchainError, match="is no perf_analyzer that runs here") as caught:
        analyzer.find()
    assert analyzer.VARIABLE in str(caught.value)


def test_the_program_behind_the_command_of_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is a script that forgets its program's status and hides its CPU time."""
    program(tmp_path / "bin" / "perf_analyzer", "exit 0")
    inside = tmp_path / "lib/python3.11/site-packages/perf_analyzer/bin/perf_analyzer"
    program(inside, 'echo "Perf Analyzer Version 2.60.0"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = analyzer.find()
    assert found is not None
    assert (found.binary, found.version) == (inside, "2.60.0")


@pytest.mark.parametrize("text", ["exit 3", 'echo "Perf Analyzer Version 2.40.0"'])
def test_what_lies_on_path_and_does_not_do_is_passed_over(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = program(tmp_path / "perf_analyzer", text)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    places = {one.place: one for one in analyzer.candidates()}
    assert places["PATH"].binary is None
    assert str(broken) in places["PATH"].why
    found = analyzer.find()
    assert found is None or found.place != "PATH"


def test_one_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(analyzer.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ToolchainError, match="No such file"):
        analyzer.find()


def test_the_pins_are_complete() -> None:
    pins = analyzer.read(analyzer.PINS, "x86_64")
    assert [pin.release for pin in pins] == ["2.60.0", "2.51.0"]
    for pin in pins:
        assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
        assert pin.version in pin.file
        assert pin.program.startswith(pin.keeps)
    assert analyzer.read(analyzer.PINS, "riscv64") == []
