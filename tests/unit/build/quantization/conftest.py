"""Small graphs, each with what one kind of quantization looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]
Run = Callable[[Path, Mapping[str, np.ndarray]], list[np.ndarray]]
_RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test draws does not depend on the tests before it."""
    monkeypatch.setitem(globals(), "_RANDOM", np.random.default_rng(0))


def weights(*shape: int) -> np.ndarray:
    scale = np.sqrt(2 / np.prod(shape[1:]))
    return (_RANDOM.normal(size=shape) * scale).astype(np.float32)


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[object]]],
    outputs: Mapping[str, Sequence[object]],
    constants: Mapping[str, np.ndarray],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


@pytest.fixture
def convolutional(tmp_path: Path) -> Path:
    """Pictures of bytes to three scores: scaling, two convolutions, a sum of both, a head."""
    make = helper.make_node
    nodes = [
        make("Transpose", ["crop"], ["first"], "turn", perm=[0, 3, 1, 2]),
        make("Cast", ["first"], ["floats"], "cast", to=TensorProto.FLOAT),
        make("Sub", ["floats", "mean"], ["centred"], "sub"),
        make("Div", ["centred", "deviation"], ["scaled"], "div"),
        make("Conv", ["scaled", "w1", "b1"], ["c1"], "stem", pads=[1] * 4),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "w2", "b2"], ["c2"], "body", pads=[1] * 4),
        make("Add", ["c2", "r1"], ["sum"], "residual"),
        make("Relu", ["sum"], ["r2"], "relu2"),
        make("ReduceMean", ["r2", "axes"], ["pooled"], "pool", keepdims=0),
        make("Gemm", ["pooled", "w3", "b3"], ["scores"], "head", transB=1),
    ]
    constants = {
        "mean": np.full((1, 3, 1, 1), 127, np.float32),
        "deviation": np.full((1, 3, 1, 1), 128, np.float32),
        "w1": weights(8, 3, 3, 3),
        "b1": weights(8, 1)[:, 0],
        "w2": weights(8, 8, 3, 3),
        "b2": weights(8, 1)[:, 0],
        "w3": weights(3, 8),
        "b3": weights(3, 1)[:, 0],
        "axes": np.array([2, 3]),
    }
    inputs = {"crop": (TensorProto.UINT8, ["n", 8, 8, 3])}
    return write(tmp_path / "conv.onnx", nodes, inputs, {"scores": ["n", 3]}, constants)


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    """Numbers of words to vectors: a table, a sum that is normalized, products, attention."""
    make = helper.make_node
    nodes = [
        make("Gather", ["table", "ids"], ["words"], "lookup"),
        make("MatMul", ["words", "wq"], ["queries"], "query"),
        make("Transpose", ["queries"], ["turned"], "turn", perm=[0, 2, 1]),
        make("MatMul", ["queries", "turned"], ["attention"], "attend"),
        make("Softmax", ["attention"], ["shares"], "softmax", axis=-1),
        make("MatMul", ["shares", "words"], ["mixed"], "mix"),
        make("Add", ["mixed", "words"], ["sum"], "residual"),
        make("LayerNormalization", ["sum", "gain", "shift"], ["normal"], "norm", axis=-1),
        make("MatMul", ["normal", "w1"], ["wide"], "up"),
        make("Relu", ["wide"], ["positive"], "relu"),
        make("Mul", ["half", "positive"], ["halved"], "halve"),
        make("MatMul", ["halved", "w2"], ["vectors"], "down"),
    ]
    spread = np.where(np.arange(64) % 16 == 0, 20, 1).astype(np.float32)
    constants = {
        "table": weights(600, 64),
        "wq": weights(64, 64),
        "gain": spread,
        "shift": weights(64, 1)[:, 0],
        "w1": weights(64, 128),
        "half": np.array(0.5, np.float32),
        "w2": weights(128, 64),
    }
    inputs = {"ids": (TensorProto.INT64, ["n", "length"])}
    outputs = {"vectors": ["n", "length", 64]}
    return write(tmp_path / "transformer.onnx", nodes, inputs, outputs, constants)


@pytest.fixture
def recurrent(tmp_path: Path) -> Path:
    """Numbers of words to two scores: a table, an LSTM, the last state, a head."""
    make = helper.make_node
    nodes = [
        make("Gather", ["table", "ids"], ["words"], "lookup"),
        make("Transpose", ["words"], ["steps"], "turn", perm=[1, 0, 2]),
        make("LSTM", ["steps", "w", "r", "b"], ["", "state"], "lstm", hidden_size=64),
        make("Squeeze", ["state", "zero"], ["last"], "squeeze"),
        make("Gemm", ["last", "head"], ["scores"], "head"),
    ]
    constants = {
        "table": weights(1000, 32) * 5,
        "w": weights(1, 256, 32) * 8,
        "r": weights(1, 256, 64) * 8,
        "b": np.zeros((1, 512), np.float32),
        "zero": np.array([0]),
        "head": weights(64, 2),
    }
    inputs = {"ids": (TensorProto.INT64, ["n", "length"])}
    return write(tmp_path / "lstm.onnx", nodes, inputs, {"scores": ["n", 2]}, constants)


@pytest.fixture
def pictures() -> list[Arrays]:
    made = np.random.default_rng(1).integers(0, 256, (8, 1, 8, 8, 3), dtype=np.uint8)
    return [{"crop": picture} for picture in made]


@pytest.fixture
def texts() -> list[Arrays]:
    random = np.random.default_rng(1)
    return [{"ids": random.integers(0, 600, (1, length))} for length in (3, 5, 8, 8, 12, 20)]


@pytest.fixture
def run() -> Run:
    def answer(path: Path, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(output) for output in session.run(None, dict(feed))]

    return answer


@pytest.fixture
def cosine(run: Run) -> Callable[[Path, Path, Sequence[Arrays]], float]:
    """Give the least cosine of two graphs' answers."""

    def least(one: Path, other: Path, feeds: Sequence[Arrays]) -> float:
        pairs = [(run(one, feed)[0].ravel(), run(other, feed)[0].ravel()) for feed in feeds]
        return min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)

    return least
