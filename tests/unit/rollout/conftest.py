"""A repository of small versions: an ensemble and code over two parts, each with manifests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from manifests import manifest, proof

from modelport.repository.layout import Repository
from modelport.repository.manifest import (
    BuilderEntry,
    DataEntry,
    FileEntry,
    Metrics,
)
from modelport.runtime import cache

# Modules beside the tests are found by name.
sys.path.insert(0, str(Path(__file__).parent))

Publish = Callable[..., None]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A place without running servers."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "repository").mkdir()
    return Repository(tmp_path / "repository")


@pytest.fixture
def publish(repository: Repository) -> Publish:
    def made(
        model: str,
        version: int,
        parts: Mapping[str, int] | None = None,
        *,
        accuracy: float | None = None,
        gate: str = ">= 0.5",
        data: str = "0" * 64,
    ) -> None:
        folder = repository.folder(model)
        version_dir = folder.version_dir(version)
        version_dir.mkdir(parents=True)
        (version_dir / "model.onnx").write_bytes(b"weights %d" % version)
        if not folder.config_path.is_file():
            folder.config_path.write_text(f'name: "{model}"\n')
        figures = Metrics(
            split="test", count=10, values={"accuracy": accuracy or 0.0}, gates={"accuracy": gate}
        )
        manifest(
            version_dir,
            model,
            version,
            public=not model.startswith("part"),
            builder=BuilderEntry(path="builders/b.py", sha256="0" * 64),
            build_key="1" * 64,
            runs=sorted(parts or {}),
            parts=dict(parts or {}),
            data=[DataEntry(source="d", sha256=data, licence="none")],
            metrics=None if accuracy is None else figures,
            proof=proof(absolute=0, relative=0),
            files=[FileEntry.of(version_dir / "model.onnx", version_dir)],
        ).write(version_dir)

    return made


@pytest.fixture
def family(publish: Publish, repository: Repository) -> Repository:
    """Two versions of an ensemble and of code over the same two parts."""
    for version in (1, 2):
        publish("part_a", version, accuracy=0.9)
        publish("part_b", version)
        publish("whole", version, {"part_a": version, "part_b": version})
        publish("other", version, {"part_a": version})
    return repository
