"""A tritonserver whose python-based `tensorrt` backend runs fake engines.

There is no GPU where these tests run: a plan's file holds a factor, and the engine multiplies by
it. What finds the backend, the version and the file, and what answers, is the real thing.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from modelport.runtime import assembly, toolchain
from modelport.runtime.toolchain import Toolchain

_FAKE = """\
import json as _json

import numpy as _numpy

from modelport.serving.onnx.graph import Graph, TensorInfo
from modelport.serving.tensorrt import engine as _engine


class FakeEngine:
    graph = Graph(
        inputs={"x": TensorInfo("x", "TYPE_FP32", (-1, 2))},
        defaulted={},
        outputs={"y": TensorInfo("y", "TYPE_FP32", (-1, 2))},
    )

    def __init__(self, path):
        self._factor = _numpy.float32(_json.loads(path.read_text())["factor"])

    def run(self, names, feeds):
        return [feeds["x"] * self._factor for _ in names]

    def close(self):
        pass


_engine.open_engine = FakeEngine
"""


def toolchain_in(folder: Path) -> Toolchain:
    """Copy the backends into a folder, and put the fake before the backend's own code."""
    real = toolchain.ensure()
    backends = folder / "backends"
    shutil.copytree(real.backends, backends, symlinks=True)
    code = (assembly.own_backends()["tensorrt"] / "model.py").read_text()
    (backends / "tensorrt" / "model.py").write_text(_FAKE + code)
    return dataclasses.replace(real, backends=backends)
