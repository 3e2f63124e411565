"""A repository of tiny ONNX models, and the real server on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper

from modelport.runtime.server import Server

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "STRING": TensorProto.STRING,
}

Tensor = tuple[str, int, list[int | str]]


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """An ONNX model; a constant that is also an input becomes that input's default."""
    built = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


ONE_PROCESS = "instance_group { count: 1 kind: KIND_CPU }\n"


@dataclass(frozen=True)
class Repository:
    """Writes models as a user would: a config.pbtxt and an ONNX file."""

    path: Path

    def add(self, name: str, model: onnx.ModelProto | bytes, config: str | None) -> Path:
        version_dir = self.path / name / "1"
        version_dir.mkdir(parents=True)
        data = model if isinstance(model, bytes) else model.SerializeToString()
        (version_dir / "model.onnx").write_bytes(data)
        if config is not None:
            text = f'name: "{name}"\nbackend: "onnxruntime"\n{config}\n'
            if "instance_group" not in config:
                text += ONE_PROCESS  # Triton's default of two would only make loading slow
            (self.path / name / "config.pbtxt").write_text(text)
        return version_dir / "model.onnx"


F32 = TensorProto.FLOAT
I64 = TensorProto.INT64


def scaled(factor: float, shape: list[int | str]) -> onnx.ModelProto:
    """Give ``y = factor * x``: two models of it are told apart by their answers."""
    return graph(
        [node("Mul", "x factor", "y")],
        [("x", F32, shape)],
        [("y", F32, shape)],
        {"factor": np.array(factor, np.float32)},
    )


X3 = 'input { name: "x" data_type: TYPE_FP32 dims: [3] }'
Y3 = 'output { name: "y" data_type: TYPE_FP32 dims: [3] }'
# Long enough that requests sent together meet in one batch on a busy machine.
TOGETHER = "dynamic_batching { max_queue_delay_microseconds: 100000 }"


def _identity_types() -> tuple[onnx.ModelProto, str]:
    names = [name.lower() for name in ONNX_TYPES]
    model = graph(
        [node("Identity", f"in_{name}", f"out_{name}") for name in names],
        [(f"in_{name.lower()}", kind, ["batch", "n"]) for name, kind in ONNX_TYPES.items()],
        [(f"out_{name.lower()}", kind, ["batch", "n"]) for name, kind in ONNX_TYPES.items()],
    )
    sides = {"input": "in", "output": "out"}
    config = "\n".join(
        f'{side} {{ name: "{prefix}_{name.lower()}" data_type: TYPE_{name} dims: [-1] }}'
        for side, prefix in sides.items()
        for name in ONNX_TYPES
    )
    return model, "max_batch_size: 8\n" + config


def _identity_bf16() -> tuple[onnx.ModelProto, str]:
    model = graph(
        [node("Identity", "x", "y"), node("Neg", "n", "m"), node("Cast", "x", "z", to=F32)],
        [("x", TensorProto.BFLOAT16, ["b", "n"]), ("n", I64, ["b", 1])],
        [
            ("y", TensorProto.BFLOAT16, ["b", "n"]),
            ("m", I64, ["b", 1]),
            ("z", F32, ["b", "n"]),
        ],
    )
    config = """
max_batch_size: 8
input { name: "x" data_type: TYPE_BF16 dims: [-1] }
input { name: "n" data_type: TYPE_INT64 dims: [1] }
output { name: "y" data_type: TYPE_BF16 dims: [-1] }
output { name: "m" data_type: TYPE_INT64 dims: [1] }
output { name: "z" data_type: TYPE_FP32 dims: [-1] }
"""
    return model, config + TOGETHER


def _add_optional() -> tuple[onnx.ModelProto, str]:
    model = graph(
        [node("Add", "x offset", "y")],
        [("x", F32, [3]), ("offset", F32, [3])],
        [("y", F32, [3])],
        {"offset": np.array([10, 20, 30], np.float32)},
    )
    config = f"""
max_batch_size: 0
{X3}
input {{ name: "offset" data_type: TYPE_FP32 dims: [3] optional: true }}
{Y3}
"""
    return model, config


def _shout() -> tuple[onnx.ModelProto, str]:
    model = graph(
        [node("StringConcat", "x mark", "y")],
        [("x", TensorProto.STRING, ["b", 1])],
        [("y", TensorProto.STRING, ["b", 1])],
        {"mark": np.array(["!"], dtype=object)},
    )
    config = """
max_batch_size: 8
input { name: "x" data_type: TYPE_STRING dims: [1] }
output { name: "y" data_type: TYPE_STRING dims: [1] }
"""
    return model, config + TOGETHER


def _scalar() -> tuple[onnx.ModelProto, str]:
    config = """
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
"""
    return scaled(2, []), config


def _reshaped() -> tuple[onnx.ModelProto, str]:
    """The client's [b, 1] and [b, 4] are the graph's [b] and [b, 2, 2]; y comes back as [b, 4]."""
    model = graph(
        [
            node("Transpose", "matrix", "turned", perm=[0, 2, 1]),
            node("Unsqueeze", "factor axes", "column"),
            node("Mul", "turned column", "y"),
        ],
        [("matrix", F32, ["b", 2, 2]), ("factor", F32, ["b"])],
        [("y", F32, ["b", 2, 2])],
        {"axes": np.array([1, 2], np.int64)},
    )
    config = """
max_batch_size: 8
input { name: "matrix" data_type: TYPE_FP32 dims: [4] reshape { shape: [2, 2] } }
input { name: "factor" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }
output { name: "y" data_type: TYPE_FP32 dims: [4] reshape { shape: [2, 2] } }
"""
    return model, config


def _lookup() -> tuple[onnx.ModelProto, str]:
    """A table of four rows: an index outside [-4, 3] makes the whole run fail."""
    model = graph(
        [node("Gather", "table index", "y", axis=0)],
        [("index", I64, ["b", 1])],
        [("y", F32, ["b", 1, 2])],
        {"table": np.array([[0, 1], [10, 11], [20, 21], [30, 31]], np.float32)},
    )
    config = """
max_batch_size: 8
input { name: "index" data_type: TYPE_INT64 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1, 2] }
"""
    return model, config + TOGETHER


def _total() -> tuple[onnx.ModelProto, str]:
    model = graph(
        [node("ReduceSum", "x axes", "y")],
        [("x", F32, ["b", "length"])],
        [("y", F32, ["b", 1])],
        {"axes": np.array([1], np.int64)},
    )
    config = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [-1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
"""
    return model, config + TOGETHER


def _several_outputs() -> tuple[onnx.ModelProto, str]:
    model = graph(
        [node("Mul", "x x", "square"), node("Neg", "x", "negative"), node("Exp", "x", "unused")],
        [("x", F32, ["b", 3])],
        [(name, F32, ["b", 3]) for name in ("square", "negative", "unused")],
    )
    config = f"""
max_batch_size: 8
{X3}
output {{ name: "square" data_type: TYPE_FP32 dims: [3] }}
output {{ name: "negative" data_type: TYPE_FP32 dims: [3] }}
"""
    return model, config + TOGETHER


def _drops_rows() -> tuple[onnx.ModelProto, str]:
    """A graph that breaks its promise: rows that begin with a negative number do not come out."""
    model = graph(
        [
            node("Gather", "x zero", "first", axis=1),
            node("GreaterOrEqual", "first zero_f", "keep"),
            node("Compress", "x keep", "y", axis=0),
        ],
        [("x", F32, ["b", 3])],
        [("y", F32, ["rows", 3])],
        {"zero": np.array(0, np.int64), "zero_f": np.array(0, np.float32)},
    )
    return model, f"max_batch_size: 8\n{X3}\n{Y3}\n{TOGETHER}"


def _slow() -> tuple[onnx.ModelProto, str]:
    """Some tenths of a second of multiplying: y = n after n turns of a loop that is all work."""
    turn = helper.make_graph(
        [
            node("MatMul", "eye eye", "product"),
            node("ReduceMax", "product", "one", keepdims=0),
            node("Add", "sum_in one", "sum_out"),
            node("Identity", "going_in", "going_out"),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", I64, []),
            helper.make_tensor_value_info("going_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", F32, []),
        ],
        [
            helper.make_tensor_value_info("going_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", F32, []),
        ],
    )
    model = graph(
        [
            node("EyeLike", "square", "eye"),
            node("Squeeze", "turns", "turns_scalar"),
            node("Loop", "turns_scalar going zero", "total", body=turn),
            node("Reshape", "total vector", "y"),
        ],
        [("turns", I64, [1])],
        [("y", F32, [1])],
        {
            "square": np.zeros((512, 512), np.float32),
            "going": np.array(True),
            "zero": np.array(0, np.float32),
            "vector": np.array([1], np.int64),
        },
    )
    config = """
max_batch_size: 0
input { name: "turns" data_type: TYPE_INT64 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
"""
    return model, config


def _sequence() -> tuple[onnx.ModelProto, str]:
    """Control tensors are ordinary inputs to the graph: y = x + 100 at a sequence's start."""
    model = graph(
        [node("Mul", "START hundred", "extra"), node("Add", "x extra", "y")],
        [("x", F32, ["b", 1]), ("START", F32, ["b", 1])],
        [("y", F32, ["b", 1])],
        {"hundred": np.array(100, np.float32)},
    )
    config = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
sequence_batching {
  oldest { max_candidate_sequences: 4 }
  control_input {
    name: "START"
    control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] }
  }
}
"""
    return model, config


MODELS: dict[str, Callable[[], tuple[onnx.ModelProto, str | None]]] = {
    "identity_types": _identity_types,
    "identity_bf16": _identity_bf16,
    "add_optional": _add_optional,
    "shout": _shout,
    "scalar": _scalar,
    "reshaped": _reshaped,
    "lookup": _lookup,
    "total": _total,
    "several_outputs": _several_outputs,
    "drops_rows": _drops_rows,
    "sequence": _sequence,
    "slow": _slow,
    "two_instances": lambda: (
        scaled(3, ["b", 3]),
        f"max_batch_size: 8\n{X3}\n{Y3}\ninstance_group {{ count: 2 kind: KIND_CPU }}",
    ),
    "tuned": lambda: (
        scaled(5, ["b", 3]),
        f"""
max_batch_size: 8
{X3}
{Y3}
optimization {{ graph {{ level: 2 }} }}
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
parameters {{ key: "inter_op_thread_count" value: {{ string_value: "1" }} }}
parameters {{ key: "execution_mode" value: {{ string_value: "1" }} }}
parameters {{ key: "enable_mem_arena" value: {{ string_value: "1" }} }}
parameters {{ key: "enable_mem_pattern" value: {{ string_value: "false" }} }}
parameters {{
  key: "memory.enable_memory_arena_shrinkage" value: {{ string_value: "cpu:0" }}
}}
parameters {{
  key: "session.use_device_allocator_for_initializers" value: {{ string_value: "1" }}
}}
""",
    ),
    "completed": lambda: (scaled(7, ["b", 3]), ""),
    "completed_vector": lambda: (scaled(9, ["b"]), "max_batch_size: 2"),
    "completed_fixed": lambda: (scaled(11, [2, "n"]), ""),
}


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("models"))
    for name, make in MODELS.items():
        repository.add(name, *make())
    renamed = repository.add(
        "renamed", scaled(13, ["b", 3]), f'max_batch_size: 8\n{X3}\n{Y3}\n'
        'default_model_filename: "network.onnx"'
    )  # fmt: skip
    renamed.rename(renamed.with_name("network.onnx"))
    return repository


@pytest.fixture(scope="package")
def server(repository: Repository) -> Iterator[Server]:
    names = [*MODELS, "renamed"]
    with Server.start(repository.path, models=names, load_timeout_s=120.0) as running:
        yield running


@pytest.fixture(scope="package")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    address = server.endpoints.grpc.removeprefix("grpc://")
    with triton.InferenceServerClient(address) as connected:
        yield connected
