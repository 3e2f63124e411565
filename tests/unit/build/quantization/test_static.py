from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelport.build.quantization import quantize
from modelport.build.quantization.symmetric import symmetric
from modelport.errors import ExportError
from modelport.spec.precision import Int8


def types(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def signature(path: Path) -> list[str]:
    graph = onnx.load(str(path)).graph
    return [str(value) for value in (*graph.input, *graph.output)]


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_pictures_are_told_as_before(convolutional, pictures, cosine, tmp_path, method) -> None:
    target = tmp_path / "int8.onnx"
    facts = quantize(convolutional, target, Int8(method=method), pictures)
    assert cosine(convolutional, target, pictures) > 0.98
    assert signature(target) == signature(convolutional)
    assert {"stem", "body", "head"} <= set(facts["quantized"])
    assert (facts["method"], facts["items"], facts["kept"]) == (method, 8, {})
    model = onnx.load(str(target))
    assert [entry.domain for entry in model.opset_import] == [""]
    assert facts["opset"] == model.opset_import[0].version == 18


def test_bytes_stay_bytes_and_the_last_layer_gives_floats(
    convolutional, pictures, tmp_path
) -> None:
    target = tmp_path / "int8.onnx"
    quantize(convolutional, target, Int8(), pictures)
    found = types(target)
    assert not {"Cast", "Sub", "Div"} & set(found)
    nodes = {node.name: node for node in onnx.load(str(target)).graph.node}
    assert nodes["head"].output == ["scores"]


def test_a_deviation_for_each_channel_is_spread_and_changes_nothing(
    convolutional, pictures, cosine, tmp_path
) -> None:
    model = onnx.load(str(convolutional))
    uneven = np.array([120.5, 110, 100], np.float32).reshape(1, 3, 1, 1)
    mean = next(t for t in model.graph.initializer if t.name == "mean")
    mean.CopyFrom(onnx.numpy_helper.from_array(uneven, "mean"))
    onnx.save(model, str(convolutional))
    target = tmp_path / "int8.onnx"
    quantize(convolutional, target, Int8(), pictures)
    wide = [t for t in onnx.load(str(target)).graph.initializer if t.name.endswith("_wide")]
    assert [list(t.dims) for t in wide] == [[1, 3, 1, 8]] * 2
    assert cosine(convolutional, target, pictures) > 0.98


@pytest.mark.parametrize("entry", ["body", "bo*", "Conv", "w2"])
def test_what_is_kept_stays_in_floats(convolutional, pictures, tmp_path, entry) -> None:
    target = tmp_path / "int8.onnx"
    facts = quantize(convolutional, target, Int8(keep=(entry,)), pictures)
    assert facts["kept"]["body"] == f"keep: {entry}"
    model = onnx.load(str(target))
    floats = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert "w2" in floats
    assert "w3" not in floats


def test_an_entry_that_names_nothing_is_refused(convolutional, pictures, tmp_path) -> None:
    with pytest.raises(ExportError, match="'boddy' names no node") as error:
        quantize(convolutional, tmp_path / "int8.onnx", Int8(keep=("boddy",)), pictures)
    assert "Conv" in str(error.value)
    assert "turn, cast, sub" in str(error.value)


def test_nothing_to_quantize_is_said(convolutional, pictures, tmp_path) -> None:
    target = tmp_path / "int8.onnx"
    with pytest.raises(ExportError, match="nothing to quantize for int8") as error:
        quantize(convolutional, target, Int8(keep=("Conv", "head")), pictures)
    assert "2 × keep: Conv" in str(error.value)
    assert not target.exists()


def test_words_are_read_as_before(transformer, texts, cosine, tmp_path) -> None:
    target = tmp_path / "int8.onnx"
    facts = quantize(transformer, target, Int8(), texts)
    assert cosine(transformer, target, texts) > 0.97
    assert signature(target) == signature(transformer)
    assert facts["quantized"] == ["down", "lookup", "query", "up"]
    assert facts["kept"] == dict.fromkeys(["attend", "mix"], "a product of two activations")
    assert target.stat().st_size < 0.35 * transformer.stat().st_size


def test_smoothing_makes_it_more_exact(transformer, texts, cosine, tmp_path) -> None:
    plain, smooth = tmp_path / "plain.onnx", tmp_path / "smooth.onnx"
    quantize(transformer, plain, Int8(keep=("lookup",)), texts)
    facts = quantize(transformer, smooth, Int8(smooth=0.6, keep=("lookup",)), texts)
    assert facts["smoothed"] == ["halved", "normal", "words"]
    assert cosine(transformer, smooth, texts) > cosine(transformer, plain, texts)


def test_tensorrt_gets_symmetric_integers(convolutional, pictures, cosine, tmp_path) -> None:
    middle, target = tmp_path / "int8.onnx", tmp_path / "symmetric.onnx"
    quantize(convolutional, middle, Int8(), pictures)
    symmetric(middle, target)
    assert cosine(convolutional, target, pictures) > 0.97
    assert signature(target) == signature(convolutional)
    model = onnx.load(str(target))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    steps = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [constants[n.input[2]] for n in steps]
    assert zeros
    assert {z.dtype for z in zeros} == {np.dtype(np.int8)}
    assert not any(z.any() for z in zeros)
    first = next(n for n in model.graph.node if "crop" in n.input)
    assert first.op_type == "Cast"
    # The quantizer had folded these into ranges that begin at 0.
    assert types(target)["Relu"] == 2


def test_a_table_of_floats_comes_back_for_tensorrt(transformer, texts, cosine, tmp_path) -> None:
    middle, target = tmp_path / "int8.onnx", tmp_path / "symmetric.onnx"
    quantize(transformer, middle, Int8(), texts)
    symmetric(middle, target)
    assert cosine(middle, target, texts) > 0.99


_AGAIN = """
import sys, pickle, pathlib
from modelport.build.quantization import quantize
from modelport.spec.precision import Int8
source, target, feeds = sys.argv[1:]
feeds = pickle.loads(pathlib.Path(feeds).read_bytes())
quantize(pathlib.Path(source), pathlib.Path(target), Int8(), feeds)
"""


def test_another_process_writes_the_same_bytes_and_says_nothing(
    convolutional, pictures, tmp_path
) -> None:
    feeds = tmp_path / "feeds.pickle"
    feeds.write_bytes(pickle.dumps(pictures))
    written = []
    for seed in ("1", "2"):
        target = tmp_path / f"{seed}.onnx"
        done = subprocess.run(
            [sys.executable, "-c", _AGAIN, convolutional, target, feeds],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert done.stdout + done.stderr == b""
        written.append(target.read_bytes())
    assert written[0] == written[1]
    # ONNX Runtime 1.32 notes its own session in .ses when it is imported.
    left = {path.name for path in tmp_path.iterdir()} - {".ses"}
    assert left == {"conv.onnx", "feeds.pickle", "1.onnx", "2.onnx"}
