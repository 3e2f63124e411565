"""Small published versions: files, configuration, labels and a manifest, as a build leaves them."""

from __future__ import annotations

from pathlib import Path

import manifests
import numpy as np

from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import (
    BuilderEntry,
    DataEntry,
    Manifest,
)
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples

CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 8
input {{ name: "x" data_type: TYPE_FP32 dims: [2] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [2] label_filename: "y_labels.txt" }}
"""


def publish(repository: Path, name: str, version: int = 1, *, weights: bytes = b"w" * 64) -> Path:
    """Publish a version of a Python model with weights; gives its folder."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    x = np.zeros((1, 2), np.float32)
    for beside in (repository / name, folder):
        (beside / "config.pbtxt").write_text(CONFIG.format(name=name))
        (beside / "y_labels.txt").write_text("a\nb\n")
    (folder / "model.py").write_text("class TritonPythonModel:\n    pass\n")
    (folder / "weights.bin").write_bytes(weights)
    Samples((Case({"x": x}, {"y": x}),)).write(folder / SAMPLES)
    manifest(name, version, folder).write(folder)
    return folder


def manifest(name: str, version: int, folder: Path) -> Manifest:
    return manifests.manifest(
        folder,
        name,
        version,
        kind="python",
        builder=BuilderEntry(path="builders/small.py", sha256="0" * 64),
        git_commit="a" * 40 + "-dirty",
        dependencies={"modelport": "0.1.0", "torch": "2.13.0+cpu"},
        data=[DataEntry(source="digits 1.0: a.csv", sha256="1" * 64, licence="CC-BY-4.0")],
    )


def model(repository: Path, name: str) -> ModelFolder:
    return Repository(repository).model(name)
