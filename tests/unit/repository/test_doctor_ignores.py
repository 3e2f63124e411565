"""Comments that take findings away: where they count, and when they are reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelport.cli.doctor import command
from modelport.cli.output import Output
from modelport.repository import doctor
from modelport.repository.doctor import Machine

BROKEN = Path(__file__).parents[2] / "broken"
MACHINE = Machine(cores=4, gpus=0)
GPU = "instance_group { kind: KIND_GPU }\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copytree(BROKEN / "healthy" / "repository", tmp_path / "repository")
    return tmp_path / "repository" / "adder" / "config.pbtxt"


def rules(config: Path, text: str) -> list[str]:
    healthy = (BROKEN / "healthy" / "repository" / "adder" / "config.pbtxt").read_text()
    config.write_text(healthy + text)
    return [f.rule for f in doctor.check(config.parents[1], machine=MACHINE)]


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("# modelport: ignore MP212 served on machines with GPUs", []),
        ("#modelport:ignore MP212: served on machines with GPUs", []),
        ("# modelport: ignore MP212", ["MP002", "MP212"]),
        ("# modelport: ignore MP212 -", ["MP002", "MP212"]),
        ("# modelport: ignore mp212 because", ["MP002", "MP212"]),
        ("# modelport: ignore", ["MP002", "MP212"]),
        ("# modelport: ignore MP213 another rule", ["MP003", "MP212"]),
        ('parameters { key: "# modelport: ignore MP212 a string" }', ["MP212"]),
    ],
)
def test_an_ignore_demands_rule_and_reason(config: Path, comment: str, found: list[str]) -> None:
    assert sorted(rules(config, GPU + comment + "\n")) == found


def test_a_comment_in_code_speaks_of_that_file(config: Path) -> None:
    code = config.parent / "1" / "model.py"
    ignore = "# modelport: ignore MP212 not a matter of the code\n"
    code.write_text(ignore + code.read_text())
    assert sorted(rules(config, GPU)) == ["MP003", "MP212"]


def test_a_string_in_code_ignores_nothing(config: Path) -> None:
    code = config.parent / "1" / "model.py"
    code.write_text('"""# modelport: ignore MP503 no comment"""\n' + code.read_text())
    assert rules(config, "") == []


def test_a_file_that_does_not_parse_can_still_be_ignored(config: Path) -> None:
    broken = "nonsense: 1\n# modelport: ignore MP101 another server knows this field\n"
    assert rules(config, broken) == []


def test_the_command_says_how_many_and_why(config: Path) -> None:
    warmup = 'model_warmup { name: "later" }\n'
    rules(config, warmup + "# modelport: ignore MP208 it is run by hand\n")
    repository = str(config.parents[1])
    result = CliRunner().invoke(command, [repository], obj=Output())
    assert result.stdout == "1 model, no problems\n"
    assert "1 finding ignored" in result.stderr
    result = CliRunner().invoke(command, ["--json", repository], obj=Output())
    (ignored,) = json.loads(result.stdout)["ignored"]
    assert ignored["ignored"] == "it is run by hand"
    assert ignored["ignored_at"].endswith("config.pbtxt:6")
