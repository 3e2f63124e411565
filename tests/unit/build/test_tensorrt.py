"""Engines, by the real builder and parser of TensorRT-RTX, which need no GPU; none is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelport import spec
from modelport.build import half, tensorrt
from modelport.build.tensorrt import graph as graphs
from modelport.errors import BuilderError, ExportError, MissingExtraError
from modelport.spec.precision import Bf16, Fp16, Plan

OPTIONS = tensorrt.EngineOptions()
NUMBERS = np.random.default_rng(3)
SHAPES: Mapping[str, tensorrt.Shapes] = {"x": ((1, 8), (4, 8), (16, 8))}
Save = Callable[..., Path]


@pytest.fixture(scope="module")
def rtx() -> tensorrt.Library:
    """The wheel exists for Linux on x86-64 only."""
    pytest.importorskip("tensorrt_rtx")
    return tensorrt.library(only="tensorrt_rtx")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(
        *nodes: onnx.NodeProto,
        weights: Mapping[str, np.ndarray] | None = None,
        kind: int = TensorProto.FLOAT,
        shape: tuple[Any, ...] = ("batch", 8),
        domains: Mapping[str, int] | None = None,
    ) -> Path:
        made = helper.make_graph(
            list(nodes),
            "small",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid(d, v) for d, v in {"": 18, **(domains or {})}.items()]
        model = helper.make_model(made, opset_imports=opsets)
        model.ir_version = 9
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return save


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"a/{op}_{output}", **attributes)


def floats(*shape: int) -> np.ndarray:
    return NUMBERS.normal(size=shape).astype(np.float32)


def answer(model: Path | bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute as the graph says, node by node."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options).run(None, dict(inputs))[0]


@pytest.fixture
def layer(save: Save) -> Path:
    return save(node("MatMul", "x w", "z"), node("Softmax", "z", "y"), weights={"w": floats(8, 4)})


def test_a_graph_becomes_an_engine(rtx: tensorrt.Library, layer: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    engine = tensorrt.compile(
        layer, SHAPES, OPTIONS, progress=lambda *step: heard.append(step), using=rtx
    )
    assert len(engine.data) > 1000
    assert (engine.library, engine.version) == ("tensorrt_rtx", rtx.version)
    assert all(0 < done <= of for _, done, of in heard)
    assert "Building engine" in {phase for phase, *_ in heard}


@pytest.mark.parametrize("variant", [Fp16(), Bf16()])
def test_16_bits_that_stand_in_the_graph_are_what_is_compiled(
    rtx: tensorrt.Library, save: Save, tmp_path: Path, variant: Fp16 | Bf16
) -> None:
    # Large enough that the weights outweigh the engine's own parts.
    source = save(node("MatMul", "x w", "y"), weights={"w": floats(8, 200_000)})
    full = tensorrt.compile(source, SHAPES, OPTIONS, using=rtx)
    low = tmp_path / "low.onnx"
    half.convert(source, low, [{"x": floats(2, 8)}], variant)
    engine = tensorrt.compile(low, SHAPES, OPTIONS, using=rtx)
    assert len(engine.data) < 0.6 * len(full.data)


def test_a_bf16_deconvolution_stays_in_fp32_and_compiles(
    rtx: tensorrt.Library, save: Save, tmp_path: Path
) -> None:
    source = save(
        node("Relu", "x", "r"),
        node("ConvTranspose", "r k", "y"),
        weights={"k": floats(2, 2, 3)},
        shape=("batch", 2, 8),
    )
    facts = half.convert(source, tmp_path / "low.onnx", [{"x": floats(2, 2, 8)}], Bf16())
    assert facts["kept"] == {"no ConvTranspose in BF16 in TensorRT": ["a/ConvTranspose_y"]}
    shapes = {"x": ((1, 2, 8), (1, 2, 8), (4, 2, 8))}
    assert tensorrt.compile(tmp_path / "low.onnx", shapes, OPTIONS, using=rtx).data


def test_q_and_dq_compile_and_so_do_biases_of_32_bits(rtx: tensorrt.Library, save: Save) -> None:
    """TensorRT itself takes no bias that is quantized, as ONNX Runtime writes them."""
    source = save(
        node("QuantizeLinear", "x sx z", "xq"),
        node("DequantizeLinear", "xq sx z", "xd"),
        node("DequantizeLinear", "wq sw zw", "wd", axis=1),
        node("DequantizeLinear", "bq sb", "bd", axis=0),
        node("Gemm", "xd wd bd", "y"),
        weights={
            "sx": np.float32(0.1),
            "z": np.int8(0),
            "wq": NUMBERS.integers(-127, 127, (8, 4), np.int8),
            "sw": np.full(4, 0.01, np.float32),
            "zw": np.zeros(4, np.int8),
            "bq": np.int32([1000, -2000, 3000, 70000]),
            "sb": np.full(4, 0.001, np.float32),
        },
    )
    assert tensorrt.compile(source, SHAPES, OPTIONS, using=rtx).data
    changed = graphs.readable(source)
    assert changed is not None
    inputs = {"x": floats(3, 8)}
    np.testing.assert_array_equal(answer(source, inputs), answer(changed, inputs))


def test_bytes_that_are_moved_before_they_become_floats_compile(
    rtx: tensorrt.Library, save: Save
) -> None:
    """TensorRT itself takes UINT8 only when a cast comes first."""
    source = save(
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Reshape", "t shape", "r"),
        node("Cast", "r", "f", to=TensorProto.FLOAT),
        node("Div", "f most", "y"),
        weights={"most": np.float32(255), "shape": np.int64([0, -1])},
        kind=TensorProto.UINT8,
        shape=("batch", 4, 4, 3),
    )
    shapes = {"x": ((1, 4, 4, 3), (2, 4, 4, 3), (8, 4, 4, 3))}
    assert tensorrt.compile(source, shapes, OPTIONS, using=rtx).data
    changed = graphs.readable(source)
    assert changed is not None
    picture = NUMBERS.integers(0, 255, (2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(answer(source, {"x": picture}), answer(changed, {"x": picture}))


def test_bytes_that_others_read_too_are_left_where_they_are(save: Save) -> None:
    source = save(
        node("Transpose", "x", "t"),
        node("Cast", "t", "f", to=TensorProto.FLOAT),
        node("Cast", "t", "g", to=TensorProto.FLOAT),
        node("Add", "f g", "y"),
        kind=TensorProto.UINT8,
    )
    assert graphs.readable(source) is None


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(
    rtx: tensorrt.Library, save: Save
) -> None:
    source = save(
        helper.make_node("FusedMatMul", ["x", "w"], ["y"], "deep/inside", domain="com.microsoft"),
        weights={"w": floats(8, 4)},
        domains={"com.microsoft": 1},
    )
    with pytest.raises(ExportError) as caught:
        tensorrt.compile(source, SHAPES, OPTIONS, using=rtx)
    text = str(caught.value)
    assert f"{source}: tensorrt_rtx {rtx.version} does not take the graph" in text
    [complaint] = caught.value.objects["complaints"]
    assert complaint.startswith("FusedMatMul deep/inside: ")
    assert complaint in text
    assert graphs.foreign(source) == ["com.microsoft.FusedMatMul"]


def test_integers_whose_ranges_are_found_on_the_way_are_foreign(save: Save) -> None:
    quantize = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    assert graphs.foreign(save(quantize, node("Cast", "q", "y", to=1))) == ["DynamicQuantizeLinear"]


def test_a_failure_of_the_builder_says_its_reason(rtx: tensorrt.Library, save: Save) -> None:
    source = save(
        node("Conv", "x k", "y"), weights={"k": floats(2, 1, 9)}, shape=("batch", 1, "length")
    )
    shapes = {"x": ((1, 1, 1), (1, 1, 2), (4, 1, 4))}  # shorter than the kernel
    with pytest.raises(ExportError, match="does not compile") as caught:
        tensorrt.compile(source, shapes, OPTIONS, using=rtx)
    assert "a/Conv_y" in str(caught.value)
    # What one build said is not laid at the next one's door.
    with pytest.raises(ExportError) as later:
        tensorrt.compile(save(node("NoSuchOperator", "x", "y")), SHAPES, OPTIONS, using=rtx)
    assert "a/Conv_y" not in str(later.value)


# --- options --------------------------------------------------------------------


def test_timings_are_kept_in_a_file_and_read_again(
    rtx: tensorrt.Library, layer: Path, tmp_path: Path
) -> None:
    """TensorRT-RTX times nothing and hands back what it has: the file's way is what is tried."""
    cache = tmp_path / "cache" / "timings"
    first = tensorrt.compile(layer, SHAPES, OPTIONS, timing_cache=cache, using=rtx)
    held = cache.read_bytes()
    assert held
    second = tensorrt.compile(layer, SHAPES, OPTIONS, timing_cache=cache, using=rtx)
    assert len(second.data) == len(first.data)
    assert cache.read_bytes() == held
    cache.write_bytes(b"of another version")
    assert tensorrt.compile(layer, SHAPES, OPTIONS, timing_cache=cache, using=rtx).data
    assert cache.read_bytes().startswith(held[:8])
    assert [path.name for path in cache.parent.iterdir()] == ["timings"]


def test_an_engine_is_built_for_the_gpus_that_are_named(rtx: tensorrt.Library, layer: Path) -> None:
    ampere = tensorrt.EngineOptions(compute_capabilities=("8.0", "8.6"))
    assert tensorrt.compile(layer, SHAPES, ampere, using=rtx).data
    # Turing has no FP32 matrix product in TensorRT-RTX: so the setting has reached the builder.
    turing = tensorrt.EngineOptions(compute_capabilities=("7.5",))
    with pytest.raises(ExportError, match="Turing"):
        tensorrt.compile(layer, SHAPES, turing, using=rtx)
    unknown = tensorrt.EngineOptions(compute_capabilities=("5.2",))
    with pytest.raises(ExportError, match=r"has no compute capability 5\.2") as caught:
        tensorrt.compile(layer, SHAPES, unknown, using=rtx)
    assert "8.6" in str(caught.value)


def test_an_option_that_the_library_lacks_is_refused(rtx: tensorrt.Library, layer: Path) -> None:
    options = tensorrt.EngineOptions(version_compatible=True)
    with pytest.raises(ExportError, match="has no version_compatible"):
        tensorrt.compile(layer, SHAPES, options, using=rtx)


def test_options_come_from_the_declaration() -> None:
    plan = Plan(workspace_mib=64, version_compatible=True, hardware_compatible=True)
    options = tensorrt.EngineOptions.of(plan)
    assert options.as_dict() == {
        "workspace_mib": 64,
        "version_compatible": True,
        "hardware_compatible": True,
        "optimization_level": None,
        "compute_capabilities": [],
    }


def test_what_is_raised_while_building_stops_the_build(rtx: tensorrt.Library, layer: Path) -> None:
    """Ctrl-C arrives where Python runs: in the listener."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tensorrt.compile(layer, SHAPES, OPTIONS, progress=interrupt, using=rtx)
    assert tensorrt.compile(layer, SHAPES, OPTIONS, using=rtx).data


# --- shapes ---------------------------------------------------------------------

TOKENS = spec.Tensor("tokens", "INT64", (-1,))
PIXELS = spec.Tensor("pixels", "FP32", (3, 224, 224))


def test_a_profile_has_the_batch_and_what_varies() -> None:
    plan = Plan(batch=8, lengths={"tokens": ((1, 64, 256),)})
    assert tensorrt.profile_of([TOKENS, PIXELS], 4, plan) == {
        "tokens": ((1, 1), (4, 64), (4, 256)),
        "pixels": ((1, 3, 224, 224), (4, 3, 224, 224), (4, 3, 224, 224)),
    }
    assert tensorrt.profile_of([PIXELS], 0, Plan()) == {"pixels": ((3, 224, 224),) * 3}


def test_a_profile_has_the_shape_that_the_backend_gets() -> None:
    flat = spec.ModelInput(
        name="x",
        data_type="TYPE_FP32",
        dims=(1, 4),
        reshape=spec.ModelTensorReshape(shape=(4,)),
    )
    assert tensorrt.profile_of([flat], 2, Plan()) == {"x": ((1, 4), (2, 4), (2, 4))}


@given(
    least=st.integers(1, 9),
    grow=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    batch=st.integers(1, 64),
    most=st.integers(1, 64),
)
def test_shapes_rise_from_smallest_to_largest(
    least: int, grow: tuple[int, int], batch: int, most: int
) -> None:
    plan = Plan(batch=batch, lengths={"tokens": ((least, least + grow[0], least + sum(grow)),)})
    small, common, large = tensorrt.profile_of([TOKENS], most, plan)["tokens"]
    assert all(a <= b <= c for a, b, c in zip(small, common, large, strict=True))
    assert (small[0], large[0]) == (1, most)


@pytest.mark.parametrize(
    ("lengths", "says"),
    [
        ({}, r"dims \[-1\]: 1 of them vary, and `lengths` gives 0 ranges"),
        ({"tokens": ((1, 2, 3), (1, 2, 3))}, "gives 2 ranges"),
        ({"tokens": ((4, 2, 9),)}, r"\(4, 2, 9\), which does not rise"),
        ({"token": ((1, 2, 3),)}, "names 'token', and the inputs are tokens"),
    ],
)
def test_ranges_that_do_not_fit_are_refused(lengths: dict[str, Any], says: str) -> None:
    with pytest.raises(BuilderError, match=says) as caught:
        tensorrt.profile_of([TOKENS], 4, Plan(lengths=lengths))
    assert caught.value.objects["field"] == "lengths"


def test_the_line_to_write_is_one_that_works() -> None:
    with pytest.raises(BuilderError) as caught:
        tensorrt.profile_of([TOKENS], 4, Plan())
    line = str(caught.value.next_step).split("lengths=")[1].split(" into ")[0]
    assert tensorrt.profile_of([TOKENS], 4, Plan(lengths=eval(line)))


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"z": ((1, 8),) * 3}, "inputs are x; shapes are given for z"),
        ({"x": ((1, 8), (2, 8), (3, 9))}, r"input 'x' is \[-1, 8\] in the graph"),
        ({"x": ((8,), (8,), (8,))}, r"input 'x' is \[-1, 8\] in the graph"),
    ],
)
def test_shapes_that_do_not_fit_the_graph_are_refused(
    rtx: tensorrt.Library, layer: Path, shapes: Mapping[str, tensorrt.Shapes], says: str
) -> None:
    with pytest.raises(ExportError, match=says):
        tensorrt.compile(layer, shapes, OPTIONS, using=rtx)


# --- what is there --------------------------------------------------------------


def test_without_tensorrt_one_sentence_says_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="TensorRT is not installed here") as caught:
        tensorrt.library()
    assert "pip install 'modelport[tensorrt]'" in str(caught.value.next_step)
    assert "docker/README.md" in str(caught.value.next_step)


def test_engines_of_rtx_are_no_plans(rtx: tensorrt.Library) -> None:
    assert not rtx.makes_plans


DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return FAILS; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal; }
int cuDeviceGetName(char *name, int size, int device) {
  strncpy(name, device == 7 ? "NVIDIA L4" : "?", size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1; return 0; }
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.parametrize(
    ("fails", "said"),
    [(0, "Gpu(name='NVIDIA L4', compute_capability='8.9') None"), (100, "None None")],
)
def test_the_gpu_is_what_the_driver_says(tmp_path: Path, fails: int, said: str) -> None:
    """A library that answers as NVIDIA's driver does stands in for it."""
    (tmp_path / "driver.c").write_text(DRIVER)
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DFAILS={fails}", "-o", "libcuda.so.1", "driver.c"],
        cwd=tmp_path,
        check=True,
    )
    script = "from modelport.build.tensorrt import gpu; print(gpu(), gpu(1))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == said


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_without_a_driver_there_is_no_gpu() -> None:
    assert tensorrt.gpu() is None
