"""Small repositories for the real server, and what its end must leave behind: nothing."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import onnx
import pytest
from manifests import manifest
from onnx import TensorProto, helper

from modelport.repository.samples import Case, Samples
from modelport.runtime import proc
from modelport.runtime.server import Server

X = np.array([[1.0, 2.0]], dtype=np.float32)

_TENSORS = """\
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 2 ] }]
"""

# Waits for as many seconds as its first element says, then adds one.
WAITING = """
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        time.sleep(float(x.flat[0]))
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", x + 1)])
"""


class Models:
    """Writes models into one repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def onnx(self, name: str, factor: float = 2.0) -> Path:
        """A model y = factor * x."""
        folder = self._folder(name, 'backend: "onnxruntime"\ninstance_group [{ count: 1 }]')
        node = helper.make_node("Mul", ["x", "factor"], ["y"])
        values = [
            helper.make_tensor_value_info(t, TensorProto.FLOAT, ["batch", 2]) for t in ("x", "y")
        ]
        constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
        graph = helper.make_graph([node], name, values[:1], values[1:], [constant])
        opset = helper.make_opsetid("", 17)
        onnx.save(
            helper.make_model(graph, opset_imports=[opset], ir_version=8),
            folder / "1" / "model.onnx",
        )
        return folder

    def python(self, name: str, code: str | None) -> Path:
        folder = self._folder(name, 'backend: "python"\ninstance_group [{ count: 1 }]')
        if code is not None:
            (folder / "1" / "model.py").write_text(textwrap.dedent(code))
        return folder

    def ensemble(self, name: str, part: str) -> Path:
        step = (
            f'model_name: "{part}" model_version: -1 '
            'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }'
        )
        return self._folder(
            name, f'platform: "ensemble"\nensemble_scheduling {{ step [{{ {step} }}] }}'
        )

    def sample(self, name: str, answer: np.ndarray) -> None:
        """Give version 1 a sample and a manifest with an exact tolerance."""
        folder = self.path / name / "1"
        Samples((Case({"x": X}, {"y": answer}),)).write(folder / "samples.json")
        manifest(folder, name).write(folder)

    def _folder(self, name: str, config: str) -> Path:
        folder = self.path / name
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(f'name: "{name}"\n{_TENSORS}{config}\n')
        return folder


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path / "repository")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests that leave it as it was."""
    models = Models(tmp_path_factory.mktemp("runtime") / "repository")
    models.onnx("double")
    models.ensemble("pipeline", "double")
    with Server.start(models.path) as server:
        yield server


def eventually(condition: Callable[[], bool], *, within_s: float = 60.0) -> bool:
    """Wait for something that has no signal of its own; the limit is only a net."""
    deadline = time.monotonic() + within_s
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def members(group: int) -> list[proc.Process]:
    """Processes of a group that still live."""
    return [p for p in proc.processes() if p.group == group and p.state != "Z"]


def regions(launcher: int) -> set[str]:
    """What is in /dev/shm of servers that a process launched."""
    return {p.name for p in Path("/dev/shm").glob(f"modelport-*-{launcher}-*")}


def queued(metrics: str) -> int:
    """Count the requests that wait for a free instance."""
    with urlopen(metrics) as answer:
        lines = answer.read().decode().splitlines()
    name = "nv_inference_pending_request_count{"
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(name)))
