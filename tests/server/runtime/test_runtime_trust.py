"""Where signatures are demanded, what nobody signed is not loaded."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelport.client import Client
from modelport.errors import IntegrityError
from modelport.repository import keys, signing
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import FileEntry, Manifest
from modelport.runtime.server import Server

from .conftest import Models, X

ADDS = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", x + 1)])
"""


@pytest.fixture
def signer(tmp_path: Path) -> Path:
    keys.generate(tmp_path / "team")
    return tmp_path / "team"


def published(models: Models, name: str, signer: Path | None) -> Path:
    """Complete a version as a build leaves it; gives its folder."""
    models.sample(name, X + 1)
    folder = models.path / name / "1"
    shutil.copyfile(models.path / name / "config.pbtxt", folder / "config.pbtxt")
    files = [FileEntry.of(p, folder) for p in sorted(folder.iterdir()) if p.stem != "manifest"]
    Manifest.read(folder).model_copy(update={"files": files}).write(folder)
    if signer:
        signing.sign(models.path, [(ModelFolder(models.path / name), 1)], signer)
    return folder


def poison(code: Path) -> None:
    """Leave bytecode that Python takes for that of the code, and that does something else."""
    time = code.stat().st_mtime
    text = code.read_text()
    code.write_text(text.replace("x + 1", "x + 9"))
    os.utime(code, (time, time))
    py_compile.compile(str(code), quiet=1)
    code.write_text(text)
    os.utime(code, (time, time))


def test_signed_versions_serve_and_bytecode_that_nobody_signed_does_not(
    models: Models, signer: Path
) -> None:
    models.python("adder", ADDS)
    models.python("late", ADDS)
    version = published(models, "adder", signer)
    published(models, "late", None)
    poison(version / "model.py")
    shutil.copyfile(keys.public_path(signer), models.path / "team.pub")
    (models.path / "modelport.toml").write_text('[trust]\nrequire = true\nkeys = ["team.pub"]\n')
    with Server.start(models.path, models=["adder"]) as server:
        with Client(server.endpoints.http) as client:
            np.testing.assert_array_equal(client.infer("adder", {"x": X})["y"], X + 1)
        with pytest.raises(IntegrityError, match=r"late/1: nobody has signed it"):
            server.add(["late"])
        (version / "model.py").write_text(ADDS.replace("x + 1", "x + 2"))
        with pytest.raises(IntegrityError, match=r"adder/1: altered model\.py"):
            server.load("adder")


@pytest.mark.parametrize("demand", ["settings", "key"])
def test_serve_refuses_what_nobody_signed(models: Models, signer: Path, demand: str) -> None:
    models.onnx("double")
    published(models, "double", None)
    public = keys.public_path(signer)
    command = [sys.executable, "-m", "modelport.cli", "serve", "--repository", str(models.path)]
    if demand == "key":
        command += ["--key", str(public)]
    else:
        settings = f'[trust]\nrequire = true\nkeys = ["{public}"]\n'
        (models.path / "modelport.toml").write_text(settings)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == IntegrityError.exit_code
    assert "nobody has signed it" in done.stderr
    assert "modelport sign double 1" in done.stderr
