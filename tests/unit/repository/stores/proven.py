"""Repositories with versions that look proven, made in no time."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from manifests import manifest

from modelport.repository import edits, pbtxt
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.promotions import FILE_NAME as LOG
from modelport.rollout import history
from modelport.rollout.history import Switched
from modelport.spec.config import ModelVersionPolicy, SpecificVersions

_TENSORS = """\
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 2 ] %s }]
"""
_STEP = (
    'model_name: "%s" model_version: -1 '
    'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }'
)
# A Python model whose answer says which version it is.
CODE = """\
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", x + %d)])
"""


class Shelf:
    """Writes models into one repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def publish(
        self,
        name: str,
        *,
        weights: bytes | None = None,
        labels: Sequence[str] = (),
        part: str | None = None,
        code: bool = False,
        size_bytes: int = 5000,
    ) -> int:
        """Publish the next version; config.pbtxt beside it follows, as after a build."""
        folder = ModelFolder(self.path / name)
        version = max(folder.versions(), default=0) + 1 if folder.path.is_dir() else 1
        version_dir = folder.version_dir(version)
        version_dir.mkdir(parents=True)
        config = pbtxt.parse(self._config(name, labels, part, code))
        if code:
            (version_dir / "model.py").write_text(CODE % version)
        elif not part:
            seed = f"{name} {version} {self.path.name}"
            content = weights or random.Random(seed).randbytes(size_bytes)
            (version_dir / "model.onnx").write_bytes(content)
        for place in (version_dir, folder.path):
            if labels:
                (place / "y_labels.txt").write_text("\n".join(labels) + "\n")
        edits.write(version_dir / "config.pbtxt", config, builder="builders/test.py")
        policy = folder.config().version_policy if folder.config_path.is_file() else None
        if policy is None:
            edits.write(folder.config_path, config, builder="builders/test.py")
        self.prove(name, version)
        return version

    def prove(self, name: str, version: int) -> None:
        """Write a manifest that lists what lies there."""
        folder = self.path / name / str(version)
        manifest(folder, name, version).write(folder)

    def promote(self, name: str, *versions: int) -> None:
        """Let these versions serve."""
        folder = ModelFolder(self.path / name)
        policy = ModelVersionPolicy(specific=SpecificVersions(versions=versions))
        config = dataclasses.replace(folder.config(), version_policy=policy)
        edits.write(folder.config_path, config, builder="builders/test.py")

    def record(self, name: str, version: int, reason: str = "") -> None:
        """Let a version serve, with its entry in the log of promotions."""
        before = self.folder(name).served_versions()
        self.promote(name, version)
        _, text = history.appended(
            self.path,
            action="promote",
            model=name,
            version=version,
            changes={name: Switched(before=before, after=version)},
            reason=reason,
        )
        (self.path / LOG).write_text(text)

    def remove(self, name: str, version: int) -> None:
        """Remove a version, as gc does."""
        shutil.rmtree(self.path / name / str(version))

    def folder(self, name: str) -> ModelFolder:
        """One model."""
        return ModelFolder(self.path / name)

    def _config(self, name: str, labels: Sequence[str], part: str | None, code: bool) -> str:
        tensors = _TENSORS % ('label_filename: "y_labels.txt"' if labels else "")
        if part:
            kind = f'platform: "ensemble"\nensemble_scheduling {{ step [{{ {_STEP % part} }}] }}'
        else:
            kind = f'backend: "{"python" if code else "onnxruntime"}"'
        return f'name: "{name}"\n{tensors}{kind}\n'


def versions(repository: Path) -> dict[str, bytes]:
    """Every file of every version that Triton could see."""
    return {
        path.relative_to(repository).as_posix(): path.read_bytes()
        for path in sorted(repository.glob("*/[0-9]*/**/*"))
        if path.is_file() and not path.relative_to(repository).parts[0].startswith(".")
    }


def state(repository: Path) -> dict[str, bytes]:
    """Everything that Triton could see."""
    return {
        path.relative_to(repository).as_posix(): path.read_bytes()
        for path in sorted(repository.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def agrees(repository: Path) -> bool:
    """Say whether the log is unbroken, and what serves is what it ends with."""
    return not history.disagreements(Repository(repository), history.read(repository))


def serves(repository: Path, name: str) -> list[int]:
    """Versions that Triton would serve."""
    return ModelFolder(repository / name).served_versions()
