"""What is filled in at load, and what fails the load: at once, with its reason."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto

from modelport.errors import LoadError
from modelport.runtime.server import Server

from .conftest import F32, X3, Y3, Repository, graph, node, scaled
from .test_onnxruntime_answers import infer


def config_of(client: triton.InferenceServerClient, model: str) -> dict:
    return client.get_model_config(model, as_json=True)["config"]


def test_everything_left_out_is_filled_in(client):
    config = config_of(client, "completed")
    assert config["max_batch_size"] == 4
    assert "dynamic_batching" in config
    (x,), (y,) = config["input"], config["output"]
    assert (x["name"], x["data_type"], x["dims"]) == ("x", "TYPE_FP32", ["3"])
    assert (y["name"], y["data_type"], y["dims"]) == ("y", "TYPE_FP32", ["3"])


def test_given_batch_size_stays_and_a_vector_is_reshaped(client):
    config = config_of(client, "completed_vector")
    assert config["max_batch_size"] == 2
    assert config["input"][0]["dims"] == ["1"]
    assert "shape" not in config["input"][0]["reshape"]  # [], which protobuf leaves out
    y = infer(client, "completed_vector", x=np.array([[1], [2]], np.float32))["y"]
    assert y.tolist() == [[9], [18]]


def test_graph_with_a_fixed_first_dimension_is_completed_without_batching(client):
    config = config_of(client, "completed_fixed")
    assert "max_batch_size" not in config
    assert "dynamic_batching" not in config
    assert config["input"][0]["dims"] == ["2", "-1"]
    x = np.array([[1], [2]], np.float32)
    assert infer(client, "completed_fixed", x=x)["y"].tolist() == [[11], [22]]


def test_complete_configuration_is_left_alone(client):
    config = config_of(client, "two_instances")
    assert config["max_batch_size"] == 8
    assert "dynamic_batching" not in config


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


BATCHED = f"max_batch_size: 8\n{X3}\n{Y3}\n"
STATE = """
sequence_batching {
  state {
    input_name: "x" output_name: "y" data_type: TYPE_FP32 dims: [3]
  }
}
"""


def of_x3() -> onnx.ModelProto:
    return scaled(2, ["b", 3])


WRONG_CONFIGS: dict[str, tuple[str, str]] = {
    "input_name": (
        BATCHED.replace('"x"', '"image"'),
        "unexpected inference input 'image', allowed inputs are: x",
    ),
    "output_name": (
        BATCHED.replace('"y"', '"scores"'),
        "unexpected inference output 'scores', allowed outputs are: y",
    ),
    "input_type": (
        BATCHED.replace("TYPE_FP32", "TYPE_FP16", 1),
        "configuration expects datatype TYPE_FP16 for input 'x', model provides TYPE_FP32",
    ),
    "output_rank": (
        f"max_batch_size: 8\n{X3}\n{Y3.replace('[3]', '[3, 1]')}",
        "tensor 'y': the model expects 2 dimensions (shape [-1,3]) but the model configuration "
        "specifies 3 dimensions",
    ),
    "input_size": (
        BATCHED.replace("[3]", "[4]", 1),
        "tensor 'x': the model expects 2 dimensions (shape [-1,3])",
    ),
    "extra_input": (
        BATCHED + X3.replace('"x"', '"z"'),
        "configuration expects 2 inputs, model provides 1",
    ),
    "optional_input_in_batches": (
        BATCHED + 'input { name: "z" data_type: TYPE_FP32 dims: [3] optional: true }',
        "optional input 'z' is not supported for models that support batching",
    ),
    "state": (BATCHED + STATE, "implicit state) is not supported"),
    "decoupled": (
        BATCHED + "model_transaction_policy { decoupled: true }",
        "decoupled transactions are not supported",
    ),
    "accelerator": (
        BATCHED + "optimization { execution_accelerators { "
        'cpu_execution_accelerator: [ { name: "warp" } ] } }',
        "unknown Execution Accelerator 'warp' is requested",
    ),
    "thread_count": (
        BATCHED + parameter("intra_op_thread_count", "many"),
        "failed to convert 'many' to integral number",
    ),
    "execution_mode": (BATCHED + parameter("execution_mode", "2"), "expected 0 (sequential) or 1"),
    "arena": (
        BATCHED + parameter("enable_mem_arena", "maybe"),
        "failed to convert 'maybe' to boolean",
    ),
    "missing_file": (BATCHED + 'default_model_filename: "other.onnx"', "unable to find"),
}


def load_failure(server: Server, name: str) -> str:
    with pytest.raises(LoadError) as caught:
        server.load(name)
    return str(caught.value) + json.dumps(caught.value.objects, default=str)


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_wrong_configuration_fails_the_load(server, repository: Repository, case):
    config, reason = WRONG_CONFIGS[case]
    repository.add(f"wrong_{case}", of_x3(), config)
    assert reason in load_failure(server, f"wrong_{case}")


def fixed_batch() -> bytes:
    return scaled(2, [1, 3]).SerializeToString()


def sequence_output() -> bytes:
    model = graph([node("SequenceConstruct", "x", "s"), node("Neg", "x", "y")],
                  [("x", F32, ["b", 3])], [("y", F32, ["b", 3])])  # fmt: skip
    kind = onnx.helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    model.graph.output.append(kind)
    return model.SerializeToString()


WRONG_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: of_x3().SerializeToString()[:60], r"model\.onnx' \(60 bytes\) cannot be"),
    "empty": (lambda: b"", r"model\.onnx' \(0 bytes\) cannot be loaded"),
    "text": (lambda: b"not a model at all", r"\(18 bytes\) cannot be loaded"),
    "fixed_batch": (fixed_batch, r"shape expected by the model is \[1,3\]"),
    "sequence_output": (sequence_output, r"unsupported ONNX type 'seq\(tensor\(float\)\)' of 's'"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_file_fails_the_load(server, repository: Repository, case):
    make, reason = WRONG_FILES[case]
    repository.add(f"file_{case}", make(), BATCHED)
    assert re.search(reason, load_failure(server, f"file_{case}"))


def test_missing_weights_beside_the_model_fail_the_load(server, repository: Repository, tmp_path):
    model = graph([node("Add", "x w", "y")], [("x", F32, ["b", 3])], [("y", F32, ["b", 3])],
                  {"w": np.ones(3, np.float32)})  # fmt: skip
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0,
              location="model.onnx.data")  # fmt: skip
    path = repository.add("no_weights", (tmp_path / "m.onnx").read_bytes(), BATCHED)
    message = load_failure(server, "no_weights")
    assert f"{path}' ({path.stat().st_size} bytes) cannot be loaded" in message
    assert "model.onnx.data" in message
    # Python 3.10 is bound to ONNX Runtime 1.23, which only says what it cannot open.
    newer = sys.version_info >= (3, 11)
    assert ("external data" if newer else "No such file or directory") in message


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="needs numpy 2 here")
@pytest.mark.parametrize("config", [BATCHED, ""], ids=["initialize", "auto_complete"])
def test_numpy_2_fails_the_load_before_a_wrong_answer_can_leave(
    server, client, repository: Repository, config
):
    """The environment of this test, which has numpy 2, stands in for a broken server's."""
    name = f"numpy_2_{'given' if config else 'completed'}"
    repository.add(name, of_x3(), config + parameter("EXECUTION_ENV_PATH", sys.prefix))
    assert f"has numpy {np.__version__}, expected numpy < 2" in load_failure(server, name)
    assert not client.is_model_ready(name)
