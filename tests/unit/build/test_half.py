"""16-bit graphs: what changes its type, what stays, and what the answers are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from modelport.build import half, half_graph
from modelport.build.half_types import BF16, FP16, LowType
from modelport.errors import ExportError
from modelport.spec.precision import Bf16, Fp16
from modelport.verify import in_process

Arrays = Mapping[str, np.ndarray]
Graph = Callable[..., Path]
NUMBERS = np.random.default_rng(5)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Write a graph over ``x: float32[batch, 4]``; nodes are (op, inputs, outputs, attributes)."""

    def write(
        *nodes: tuple[Any, ...],
        constants: Arrays | None = None,
        outputs: Sequence[str] = ("y",),
        inputs: Mapping[str, int] | None = None,
        opset: int = 18,
    ) -> Path:
        made = [
            helper.make_node(op, read, written, name=f"{op}_{i}", **(rest[0] if rest else {}))
            for i, (op, read, written, *rest) in enumerate(nodes)
        ]
        kinds = inputs or {"x": TensorProto.FLOAT}
        taken = [helper.make_tensor_value_info(n, kind, ["batch", 4]) for n, kind in kinds.items()]
        given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        weights = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
        whole = helper.make_graph(made, "small", taken, given, weights)
        model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 9
        path = tmp_path / "model.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path

    return write


def samples(scale: float = 1.0) -> list[Arrays]:
    return [{"x": (NUMBERS.normal(size=(3, 4)) * scale).astype(np.float32)} for _ in range(2)]


def kept_by(facts: Mapping[str, object]) -> Mapping[str, list[str]]:
    found = facts["kept"]
    assert isinstance(found, dict)
    return found


def both(
    source: Path, variant: Fp16 | Bf16, batches: Sequence[Arrays]
) -> tuple[Any, Arrays, Arrays]:
    """Convert; give the facts, and the answers of both graphs to the last batch."""
    target = source.with_name("low.onnx")
    facts = half.convert(source, target, batches, variant)
    full = in_process.run(in_process.session(source), batches[-1])
    low = in_process.run(half.session(target), batches[-1])
    assert {n: (a.dtype, a.shape) for n, a in low.items()} == {
        n: (a.dtype, a.shape) for n, a in full.items()
    }
    return facts, full, low


LAYER = [("MatMul", ["x", "w"], ["z"]), ("Relu", ["z"], ["y"])]
WEIGHTS = {"w": NUMBERS.normal(size=(4, 64)).astype(np.float32)}


@pytest.mark.parametrize(("variant", "low"), [(Fp16(), FP16), (Bf16(), BF16)])
def test_a_layer_computes_in_16_bits_between_inputs_and_outputs_that_stay(
    graph: Graph, variant: Fp16 | Bf16, low: LowType
) -> None:
    source = graph(*LAYER, constants=WEIGHTS)
    facts, full, answer = both(source, variant, samples())
    assert facts["converted"] == 2
    assert facts["casts"] == 2
    assert kept_by(facts) == {}
    model = onnx.load(source.with_name("low.onnx"))
    assert [w.data_type for w in model.graph.initializer] == [low.onnx_type]
    before = onnx.load(source).graph
    assert list(model.graph.input) == list(before.input)
    assert [o.name for o in model.graph.output] == ["y"]
    assert model.graph.output[0].type == before.output[0].type
    # Rounded inputs, weights and results, and nothing worse; but not as exact as FP32.
    np.testing.assert_allclose(answer["y"], full["y"], atol=16 * low.epsilon)
    assert (answer["y"] != full["y"]).any()


def test_equal_input_gives_equal_bytes(graph: Graph, tmp_path: Path) -> None:
    source, batches = graph(*LAYER, constants=WEIGHTS), samples()
    written = []
    for name in ("a.onnx", "b.onnx"):
        half.convert(source, tmp_path / name, batches, Fp16())
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_a_node_whose_result_is_too_large_for_fp16_stays(graph: Graph) -> None:
    source = graph(
        ("Mul", ["x", "large"], ["z"]),
        ("Mul", ["z", "small"], ["back"]),
        ("Tanh", ["back"], ["y"]),
        constants={"large": np.float32([3e4]), "small": np.float32([1 / 3e4])},
    )
    facts, full, low = both(source, Fp16(), samples(10))
    assert kept_by(facts)["values too large"] == ["Mul_0", "Mul_1"]
    np.testing.assert_allclose(low["y"], full["y"], atol=1e-2)
    # BF16 has the range of FP32.
    assert kept_by(both(source, Bf16(), samples(10))[0]) == {}


def test_a_node_whose_numbers_vanish_in_fp16_stays(graph: Graph) -> None:
    source = graph(
        ("Abs", ["x"], ["z"]),
        ("Add", ["z", "little"], ["sum"]),
        ("Sqrt", ["sum"], ["y"]),
        constants={"little": np.float32([1e-8])},
    )
    facts, *_ = both(source, Fp16(), samples())
    assert kept_by(facts) == {"values too small": ["Add_1"]}


def test_a_mask_of_minus_infinity_gives_no_nan_even_where_all_is_masked(graph: Graph) -> None:
    source = graph(
        ("Less", ["x", "bound"], ["hidden"]),
        ("Where", ["hidden", "never", "x"], ["masked"]),
        ("Add", ["masked", "shift"], ["scores"]),
        ("Softmax", ["scores"], ["y"]),
        constants={
            "bound": np.float32([0]),
            "never": np.float32([np.finfo(np.float32).min]),
            "shift": np.float32([-40, 0, 0, -40]),
        },
    )
    batch = {"x": np.float32([[1, -1, 2, -1], [-1, -1, -1, -1]])}
    for variant in (Fp16(), Bf16()):
        facts, full, low = both(source, variant, [batch])
        assert facts["converted"] >= 3  # masks do not drag attention into FP32
        np.testing.assert_allclose(low["y"][0], full["y"][0], atol=1e-2)
        np.testing.assert_allclose(low["y"][1].sum(), 1, atol=1e-2)


def test_sums_stay_and_what_only_moves_between_them_stays_too(graph: Graph) -> None:
    source = graph(
        ("ReduceSum", ["x"], ["s"], {"keepdims": 1}),
        ("Reshape", ["s", "flat"], ["r"]),
        ("Transpose", ["r"], ["t"]),
        ("ReduceMean", ["t"], ["m"], {"keepdims": 1}),
        ("Mul", ["x", "m"], ["y"]),
        constants={"flat": np.int64([-1, 1])},
    )
    facts, full, low = both(source, Fp16(), samples())
    assert kept_by(facts) == {
        "sums many numbers": ["ReduceSum_0", "ReduceMean_3"],
        "between nodes in FP32": ["Reshape_1", "Transpose_2"],
    }
    np.testing.assert_allclose(low["y"], full["y"], rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("keep", ["Relu", "Relu_*", "Relu_1"])
def test_nodes_are_kept_by_operator_pattern_or_name(graph: Graph, keep: str) -> None:
    source = graph(*LAYER, constants=WEIGHTS)
    facts, *_ = both(source, Fp16(keep=(keep,)), samples())
    assert kept_by(facts) == {"asked for": ["Relu_1"]}


def test_a_tensor_that_both_types_read_is_there_in_both(graph: Graph) -> None:
    source = graph(
        ("Mul", ["x", "w"], ["z"]),
        ("ReduceSum", ["z"], ["s"], {"keepdims": 1}),
        ("Sigmoid", ["z"], ["g"]),
        ("Mul", ["s", "w"], ["kept"]),
        ("Add", ["g", "kept"], ["y"]),
        constants={"w": np.float32([0.1, 0.2, 0.3, 0.4])},
        outputs=("y", "z"),
    )
    facts, full, low = both(source, Fp16(keep=("Mul_3",)), samples())
    assert kept_by(facts)["asked for"] == ["Mul_3"]
    for name in full:
        np.testing.assert_allclose(low[name], full[name], atol=5e-3)
    weights = onnx.load(source.with_name("low.onnx")).graph.initializer
    assert {(w.name, w.data_type) for w in weights} == {("w", 1), ("w_fp16", 10)}


def test_casts_between_integers_and_floats_keep_their_sense(graph: Graph) -> None:
    source = graph(
        ("Cast", ["n"], ["f"], {"to": TensorProto.FLOAT}),
        ("Mul", ["f", "w"], ["z"]),
        ("Cast", ["z"], ["whole"], {"to": TensorProto.INT64}),
        ("Cast", ["whole"], ["y"], {"to": TensorProto.FLOAT}),
        constants={"w": np.float32([1.5])},
        inputs={"n": TensorProto.INT64},
    )
    _, full, low = both(source, Fp16(), [{"n": np.int64([[1, 20, 300, 1000]])}])
    np.testing.assert_array_equal(low["y"], full["y"])


def test_a_type_that_an_attribute_gives_is_changed_there(graph: Graph) -> None:
    half_of = numpy_helper.from_array(np.float32([0.5]))
    source = graph(
        ("Shape", ["x"], ["shape"]),
        ("ConstantOfShape", ["shape"], ["halves"], {"value": half_of}),
        ("ConstantOfShape", ["shape"], ["zeros"]),
        ("Constant", [], ["three"], {"value": numpy_helper.from_array(np.float32([3]))}),
        ("Sum", ["x", "halves", "zeros", "three"], ["y"]),
    )
    facts, full, low = both(source, Fp16(), samples())
    assert kept_by(facts) == {}
    np.testing.assert_allclose(low["y"], full["y"], atol=4e-3)


def test_a_graph_inside_a_node_still_finds_its_tensors(graph: Graph) -> None:
    def branch(op: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["z", "w"], ["r"])], op, [], [result])

    source = graph(
        ("Relu", ["x"], ["z"]),
        ("If", ["yes"], ["i"], {"then_branch": branch("Mul"), "else_branch": branch("Add")}),
        ("Tanh", ["i"], ["y"]),
        constants={"yes": np.array(True), "w": np.float32([2])},
    )
    facts, full, low = both(source, Fp16(), samples())
    assert kept_by(facts) == {"holds a graph of its own": ["If_1"]}
    np.testing.assert_allclose(low["y"], full["y"], atol=4e-3)


def test_bf16_brings_operators_that_older_opsets_lack(graph: Graph) -> None:
    image = {"k": NUMBERS.normal(size=(2, 1, 2)).astype(np.float32), "axis": np.int64([1])}
    source = graph(
        ("Unsqueeze", ["x", "axis"], ["u"]), ("Conv", ["u", "k"], ["y"]), constants=image
    )
    facts, full, low = both(source, Bf16(), samples())
    assert facts["opset"] == 22
    assert facts["converted"] == 2
    np.testing.assert_allclose(low["y"], full["y"], atol=0.05)
    # What a CPU is asked instead computes in FP32; the file itself does not.
    assert half_graph.holds(onnx.load(source.with_name("low.onnx")), BF16)


def test_an_fp16_lstm_answers_on_a_cpu(graph: Graph) -> None:
    """At full optimization ONNX Runtime 1.32 ends the process with a segmentation fault here."""
    sizes = {"w": (1, 32, 4), "r": (1, 32, 8), "b": (1, 64)}
    weights = {n: (NUMBERS.normal(size=s) / 4).astype(np.float32) for n, s in sizes.items()}
    source = graph(
        ("Unsqueeze", ["x", "first"], ["steps"]),
        ("LSTM", ["steps", "w", "r", "b"], ["", "y"], {"hidden_size": 8}),
        constants=weights | {"first": np.int64([0])},
    )
    facts, full, low = both(source, Fp16(), samples())
    assert kept_by(facts) == {}
    np.testing.assert_allclose(low["y"], full["y"], atol=2e-3)


# --- what cannot be done --------------------------------------------------------


def test_without_samples_nothing_can_be_measured(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no samples to measure the ranges of FP16"):
        half.convert(graph(*LAYER, constants=WEIGHTS), tmp_path / "low.onnx", [], Fp16())


def test_samples_of_another_shape_are_named(graph: Graph, tmp_path: Path) -> None:
    batches = [*samples(), {"x": np.zeros((3, 5), np.float32)}]
    with pytest.raises(ExportError, match="does not run on sample 2"):
        half.convert(graph(*LAYER, constants=WEIGHTS), tmp_path / "low.onnx", batches, Fp16())


def test_a_graph_without_floats_is_refused(graph: Graph, tmp_path: Path) -> None:
    source = graph(
        ("Identity", ["n"], ["m"]),
        ("Cast", ["m"], ["y"], {"to": TensorProto.FLOAT}),
        inputs={"n": TensorProto.INT64},
    )
    refused = pytest.raises(ExportError, match="no node of the graph can compute in FP16")
    with refused as caught:
        batch = {"n": np.zeros((1, 4), np.int64)}
        half.convert(source, tmp_path / "low.onnx", [batch], Fp16(keep=("Cast",)))
    assert "asked for: 1 nodes" in str(caught.value)
    assert not (tmp_path / "low.onnx").exists()


def test_keep_that_means_nothing_is_refused(graph: Graph, tmp_path: Path) -> None:
    source = graph(*LAYER, constants=WEIGHTS)
    with pytest.raises(ExportError, match="`keep` names 'Sofmax'") as caught:
        half.convert(source, tmp_path / "low.onnx", samples(), Fp16(keep=("Sofmax",)))
    assert "MatMul_0, Relu_1" in str(caught.value)


def test_a_graph_larger_than_protobuf_takes_is_refused_before_it_is_written(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "_LARGEST_BYTES", 100)
    with pytest.raises(ExportError, match="larger than 2 GB"):
        half.convert(graph(*LAYER, constants=WEIGHTS), tmp_path / "low.onnx", samples(), Fp16())
    assert not (tmp_path / "low.onnx").exists()


# --- the types ------------------------------------------------------------------


@pytest.mark.parametrize(("low", "ours"), [(FP16, "FLOAT16"), (BF16, "BFLOAT16")])
@given(values=arrays(np.float32, 20, elements=st.floats(width=32)))
def test_rounding_is_that_of_onnx_runtime(low: LowType, ours: str, values: np.ndarray) -> None:
    np.testing.assert_array_equal(low.round(values), caster(ours).run(None, {"x": values})[0])


def caster(kind: str, known: dict[str, Any] = {}) -> Any:  # noqa: B006 - kept on purpose
    """Open a graph that takes float32 to a type and back."""
    if kind not in known:
        nodes = [
            helper.make_node("Cast", ["x"], ["low"], to=getattr(TensorProto, kind)),
            helper.make_node("Cast", ["low"], ["y"], to=TensorProto.FLOAT),
        ]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xy"]
        made = helper.make_graph(nodes, "cast", ends[:1], ends[1:])
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 9
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        known[kind] = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return known[kind]


def test_it_needs_no_torch() -> None:
    """The serving image has none."""
    script = "import sys, modelport.build.half; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
