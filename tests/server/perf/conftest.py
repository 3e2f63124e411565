"""A repository of three small models, one for each way of answering, with versions and samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from manifests import manifest, proof

from modelport.perf import analyzer
from modelport.perf.analyzer import Analyzer
from modelport.repository.manifest import BuilderEntry
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples
from modelport.spec.model import Delivery

TENSORS = """\
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: [2] }
input { name: "text" data_type: TYPE_STRING dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [2] }
output { name: "loud" data_type: TYPE_STRING dims: [1] }
"""
SINGLE = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.answered = 0

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        self.answered += 1
        x, text = (pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in ("x", "text"))
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("y", x * FACTOR),
            pb_utils.Tensor("loud", text.astype("S").astype(object)),
        ])
"""
SEQUENCE = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        start = request.flags() & 1
        self.sums[request.correlation_id()] = y = x + (
            0 if start else self.sums[request.correlation_id()]
        )
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", y)])
"""
STREAM = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()[0, 0]
            sender = request.get_response_sender()
            for word in text.split():
                tensor = pb_utils.Tensor("word", np.array([[word]], object))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
CONFIGS = {
    "single": f'name: "single"\nmax_batch_size: 8\n{TENSORS}dynamic_batching {{ }}\n',
    "sequence": """\
name: "sequence"
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [2] }
output { name: "y" data_type: TYPE_FP32 dims: [2] }
sequence_batching { oldest { max_candidate_sequences: 64 } }
""",
    "stream": """\
name: "stream"
backend: "python"
max_batch_size: 1
input { name: "text" data_type: TYPE_STRING dims: [1] }
output { name: "word" data_type: TYPE_STRING dims: [1] }
model_transaction_policy { decoupled: true }
""",
}
CODES = {"single": SINGLE, "sequence": SEQUENCE, "stream": STREAM}


def texts(*words: str) -> np.ndarray:
    return np.array([[word.encode()] for word in words], object)


def cases(name: str) -> Sequence[Case]:
    random = np.random.default_rng(1)
    if name == "sequence":
        frames = [random.random((length, 2), np.float32) for length in (4, 7)]
        return [Case({"x": x}, {"y": np.cumsum(x, axis=0)}) for x in frames]
    if name == "stream":
        said = ("one", 'two "quoted" words', "grün, schön und drei")
        return [Case({"text": texts(t)}, {"word": texts(*t.split())}) for t in said]
    found = []
    for words in (("a",), ("grün\\n",), ("x" * 300, '"},{"timestamp":1', "")):
        x = random.random((len(words), 2), np.float32)
        found.append(Case({"x": x, "text": texts(*words)}, {"y": x * 2, "loud": texts(*words)}))
    return found


DELIVERIES: dict[str, Delivery] = {"single": "single", "sequence": "sequence", "stream": "stream"}


def write(repository: Path, name: str, code: str = "") -> None:
    """Publish version 1 of a model."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIGS[name])
    (folder / "config.pbtxt").write_text(CONFIGS[name])
    (folder / "model.py").write_text(code or CODES[name].replace("FACTOR", "2"))
    Samples(tuple(cases(name)), DELIVERIES[name]).write(folder / SAMPLES)
    builder = BuilderEntry(path="builders/small.py", sha256="0" * 64)
    tolerant = proof(absolute=1e-6, relative=1e-6)
    manifest(folder, name, kind="python", builder=builder, proof=tolerant).write(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in CONFIGS:
        write(tmp_path / "repository", name)
    return tmp_path / "repository"


@pytest.fixture(scope="session")
def tool() -> Analyzer:
    """The perf_analyzer that this machine runs, fetched where there is none."""
    return analyzer.ensure()
