"""Model cards say what the manifests say, and nothing else."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modelport import cli
from modelport.errors import RepositoryError
from modelport.repository.card import Card, figures
from modelport.repository.layout import Repository
from modelport.repository.manifest import (
    BuilderEntry,
    DataEntry,
    FileEntry,
    LatencyEntry,
    Manifest,
    Metrics,
    ParityEntry,
    Proof,
    ToleranceEntry,
)

CONFIG = """\
name: "{name}" platform: "ensemble" max_batch_size: 8
input [{{ name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] }}]
output [{{ name: "y" data_type: TYPE_STRING dims: [ 1 ] }}]
"""


def publish(repository: Path, name: str, version: int = 1, **more: Any) -> None:
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"w" * 250_000)
    (folder.parent / "config.pbtxt").write_text(CONFIG.format(name=name))
    parity = ParityEntry(
        reference="torch", requests=12, batch_sizes=[1], worst_absolute=3e-6, worst_relative=0.0
    )
    fields: dict[str, Any] = {
        "model": name,
        "version": version,
        "kind": "onnx",
        "public": False,
        "created": datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc),
        "builder": BuilderEntry(path="builders/b.py", sha256="a" * 64),
        "build_key": "b" * 64,
        "dependencies": {"torch": "2.13.0"},
        "proof": Proof(
            tolerance=ToleranceEntry(absolute=1e-5, relative=1e-4),
            in_process=parity,
            through_server=parity,
            server="tritonserver 2.51.0",
        ),
        "files": [FileEntry.of(folder / "model.onnx", folder)],
    }
    Manifest(**{**fields, **more}).write(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A public model over two others, one of which runs a third."""
    values = {"accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92, "f1": 0.85}
    metrics = Metrics(
        split="test",
        count=500,
        values=values,
        gates={"accuracy": ">= 0.85"},
        baselines={"most frequent class": {"accuracy": 0.4}},
    )
    data = DataEntry(source="wheel 1.0: a|b.csv", sha256="c" * 64, licence="CC-BY-4.0")
    publish(tmp_path, "net", metrics=metrics, data=[data], seed=7)
    publish(tmp_path, "words", limits=["Reads English only."], data=[data])
    publish(tmp_path, "inner", runs=["net"])
    latency = LatencyEntry(
        requests=80, p50_ms={"http": 2.5}, p99_ms={"http": 4.0}, machine="a machine, 2 cores"
    )
    publish(tmp_path, "whole", runs=["inner", "words"], public=True, doc="Tells.", latency=latency)
    return tmp_path


def test_a_card_holds_what_the_model_and_all_its_parts_say(repository: Path) -> None:
    text = Card.of(Repository(repository), "whole").markdown()
    lines = text.splitlines()
    assert lines[0] == "# whole"
    assert "Tells." in lines
    assert "- size: 1.0 MB" in lines
    assert "| input | `x` | FP32 | [batch, any, 2] |" in lines
    assert "| figure | net | gate | most frequent class |" in lines
    assert "| accuracy | 0.9 (0.88 to 0.92) | >= 0.85 | 0.4 |" in lines
    assert "| f1 | 0.85 |  |  |" in lines
    assert "- Reads English only." in lines
    assert lines.count("| wheel 1.0: a\\|b.csv | CC-BY-4.0 | `cccccccccccc` |") == 1
    assert "| http | 2.50 ms | 4.00 ms |" in lines
    assert "- seed: net 7" in lines
    assert sum("through the server" in line and "3e-06" in line for line in lines) == 4


def test_a_part_alone_has_no_empty_sections(repository: Path) -> None:
    text = Card.of(Repository(repository), "words").markdown()
    assert "## Figures" not in text
    assert "## Latency" not in text
    assert "## Limits" in text


def test_an_interval_stands_beside_its_figure() -> None:
    values = {"recall": 0.5, "recall_low": 0.4, "recall_high": 0.6, "fat_low": 1.0}
    assert figures(values) == {"recall": (0.5, (0.4, 0.6)), "fat_low": (1.0, None)}


def test_a_version_is_chosen(repository: Path) -> None:
    publish(repository, "words", version=2, doc="Newer.")
    place = Repository(repository)
    assert Card.of(place, "words").manifest.version == 2
    assert Card.of(place, "words", 1).manifest.doc == ""
    with pytest.raises(RepositoryError, match="no proven version 3") as caught:
        Card.of(place, "words", 3)
    assert caught.value.cause == "it has 1, 2"


def test_a_part_that_was_never_built_is_named(repository: Path) -> None:
    (repository / "net" / "1" / "manifest.json").unlink()
    with pytest.raises(RepositoryError, match="net: no proven version of it serves") as caught:
        Card.of(Repository(repository), "whole")
    assert caught.value.next_step == "modelport build net"


def test_the_command(repository: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = ["card", "--repository", str(repository), *arguments]
        done = CliRunner().invoke(cli.command, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    text = Card.of(Repository(repository), "whole").markdown()
    assert run("whole", "--markdown") == text + "\n"
    assert run() == text + "\n"  # the only public one; no terminal, so no colours either
    facts = json.loads(run("whole", "--json"))
    assert facts["manifest"]["model"] == "whole"
    assert {part["model"] for part in facts["parts"]} == {"inner", "words", "net"}
    run("--output", str(tmp_path / "cards"))
    assert (tmp_path / "cards" / "whole.md").read_text() == text
    table = (tmp_path / "cards" / "README.md").read_text()
    expected = (
        "| [whole](whole.md) | Tells. | accuracy 0.9 (0.88 to 0.92) | most frequent class: 0.4"
    )
    assert expected in table
