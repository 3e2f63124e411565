"""A small repository, what commands do to it, and what can be seen of it from outside.

An ensemble ``whole`` runs ``part_a`` and ``part_b``. Of each there are three versions with
configurations and labels of their own; version 1 was promoted, and serves.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

import numpy as np
from manifests import manifest

from modelport.repository import doctor, edits, keys, pbtxt, publish, signing
from modelport.repository.layout import Repository
from modelport.repository.manifest import BuilderEntry
from modelport.repository.publish import Move
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples
from modelport.rollout import change, cleaning, history, intent, promotion
from modelport.rollout.promotion import Checked

MODELS = ("part_a", "part_b", "whole")
# An answer to x = 1 that two versions made together is none of ANSWERS.
ANSWERS = {1: 5.0, 2: 22.0, 3: 54.0, 4: 145.0}
FORMULAS = {
    "part_a": {1: "x * 2", 2: "x * 10", 3: "x * 23", 4: "x * 44"},
    "part_b": {1: "x + 3", 2: "x + 12", 3: "x + 31", 4: "x + 101"},
}
CODE = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.answer(request)]) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        return pb_utils.Tensor("y", FORMULA)
"""
PART = """\
name: "{name}"
backend: "python"
max_batch_size: {batch}
input {{ name: "x" data_type: TYPE_FP32 dims: [1] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [1] label_filename: "{labels}" }}
"""
WHOLE = """\
name: "whole"
platform: "ensemble"
max_batch_size: {batch}
input {{ name: "x" data_type: TYPE_FP32 dims: [1] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [1] }}
ensemble_scheduling {{
  step {{
    model_name: "part_a" model_version: -1
    input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "half" }}
  }}
  step {{
    model_name: "part_b" model_version: -1
    input_map {{ key: "x" value: "half" }} output_map {{ key: "y" value: "y" }}
  }}
}}
"""


def make(path: Path) -> None:
    """Publish three versions, promote the first, and have a fourth ready beside them."""
    for version in (1, 2, 3):
        publish_version(path, version)
    promote(path, 1)
    (path / publish.LOCK).unlink()
    for name in MODELS:
        write_version(path.parent / "ready" / name / "4", name, 4)
    keys.generate(path.parent / "key")


# --- deeds, each as its command does it ---------------------------------------------------


def publish_version(path: Path, version: int) -> None:
    """Write and publish a version of all models together, as a build does."""
    stage = publish.new_stage(path, "family")
    moves = []
    for name in MODELS:
        folder = stage / name / str(version)
        write_version(folder, name, version)
        moves.append(Move(folder, path / name / str(version)))
        if not (path / name / "config.pbtxt").is_file():
            for file in (*folder.glob("labels*"), folder / "config.pbtxt"):
                (stage / name / file.name).write_bytes(file.read_bytes())
                moves.append(Move(stage / name / file.name, path / name / file.name))
    with publish.locked(path):
        publish.apply(path, moves)
    publish.discard(path, stage)


def publish_fourth(path: Path) -> None:
    """Publish what lies ready."""
    stage = publish.new_stage(path, "family")
    try:
        with publish.explained(path, "stage"):
            for name in MODELS:
                (path.parent / "ready" / name).rename(stage / name)
        with publish.locked(path):
            publish.apply(path, [Move(stage / name / "4", path / name / "4") for name in MODELS])
    finally:
        publish.discard(path, stage)


def promote(path: Path, version: int = 2) -> None:
    place = Repository(path)
    intent.recover(place, lambda _: None)
    publish.finish(path)
    target = change.target(place, "whole", version)
    if target.changes:
        promotion.promote(place, Checked(target, {}), "whole", version)


def roll_back(path: Path, to: int = 3) -> None:
    place = Repository(path)
    intent.recover(place, lambda _: None)
    target = promotion.previous(place, "whole", to)
    promotion.roll_back(place, target, "whole", reason="it was better")


def collect(path: Path) -> None:
    Repository(path).models()
    cleaning.remove(Repository(path), keep=1)


def sign(path: Path) -> None:
    versions = [(Repository(path).folder(name), 1) for name in ("part_a", "whole")]
    signing.sign(path, versions, path.parent / "key")


def new_key(path: Path) -> None:
    keys.generate(path / "key")


def next_command(path: Path) -> None:
    """Do what every command does that changes a repository, before and after its own work."""
    intent.recover(Repository(path), lambda _: None)
    publish.discard(path, publish.new_stage(path, "family"))


def publish_many(path: Path, first: int, count: int) -> None:
    for version in range(first, first + count):
        publish_version(path, version)


def promote_many(path: Path, count: int) -> None:
    for number in range(count):
        promote(path, 2 - number % 2)


def collect_many(path: Path, count: int) -> None:
    for _ in range(count):
        collect(path)


def years_back(path: Path, deed: Callable[[Path], None]) -> None:
    """Do a deed by a clock that was put back ten years; only for a process of its own."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=3650)

    real = time.time
    time.time = lambda: real() - 3650 * 86_400
    for name, module in list(sys.modules.items()):
        if name.startswith("modelport.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Earlier  # type: ignore[attr-defined]
    deed(path)


# --- what can be seen ----------------------------------------------------------------------


def view(path: Path) -> dict[str, str]:
    """Digest every file that a Triton would see, and the log."""
    found = {}
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(folder, name)
            if not name.startswith(".") and name != history.FILE_NAME:
                # No two signatures are the same.
                content = b"" if name == signing.SIGNATURE else file.read_bytes()
                found[file.relative_to(path).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def findings(path: Path) -> set[tuple[str, ...]]:
    """What doctor says, without the version numbers."""
    return {(f.rule, f.model, f.path.name, f.field) for f in doctor.check(path)}


def serving(path: Path) -> dict[str, list[int]]:
    """Versions that a Triton would serve that starts now; each has to be whole."""
    found = {}
    for folder in Repository(path).models():
        config = folder.config()
        for output in config.output:
            if output.label_filename:
                assert (folder.path / output.label_filename).is_file(), folder
        found[folder.name] = folder.served_versions()
        assert found[folder.name], folder
        for version in found[folder.name]:
            assert not folder.manifest(version).changed_files(folder.version_dir(version))
    return found


def log(path: Path) -> list[str]:
    """Read the log, which has to hold and to say what serves."""
    entries = history.read(path)
    assert history.disagreements(Repository(path), entries) == []
    return [f"{entry.action} {entry.version}" for entry in entries]


def write_version(folder: Path, name: str, version: int) -> None:
    """Write a version folder with its manifest."""
    parts = {"part_a": version, "part_b": version} if name == "whole" else {}
    folder.mkdir(parents=True)
    # One has labels of the same name and other content in each version, one those of another name.
    labels = f"labels{version}.txt" if name == "part_b" else "labels.txt"
    text = (WHOLE if parts else PART).format(name=name, labels=labels, batch=7 + version)
    edits.write(folder / "config.pbtxt", pbtxt.parse(text), builder="builders/family.py")
    if not parts:
        (folder / labels).write_text(f"{name} {version}\n")
        (folder / "model.py").write_text(CODE.replace("FORMULA", FORMULAS[name].get(version, "x")))
        (folder / "weights.bin").write_bytes(b"%d" % version * 100)
    x = np.zeros((1, 1), np.float32)
    Samples((Case({"x": x}, {"y": x}),)).write(folder / SAMPLES)
    manifest(
        folder,
        name,
        version,
        kind="ensemble" if parts else "python",
        public=bool(parts),
        # The clock of who made them goes backwards.
        created=datetime(2100 - version, 1, 1, tzinfo=timezone.utc),
        builder=BuilderEntry(path="builders/family.py", sha256="0" * 64),
        runs=sorted(parts),
        parts=parts,
    ).write(folder)
