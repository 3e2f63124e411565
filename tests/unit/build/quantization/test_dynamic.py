from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from modelport.build.quantization import dynamic, quantize
from modelport.errors import ExportError
from modelport.spec.precision import Int4Weights, Int8Dynamic, Int8Weights


def types(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path)).graph.node}


def test_an_lstm_says_the_same_in_a_quarter_of_the_file(recurrent, texts, cosine, tmp_path) -> None:
    target = tmp_path / "int8.onnx"
    facts = quantize(recurrent, target, Int8Dynamic())
    assert facts["quantized"] == ["lookup", "lstm"]
    assert facts["kept"] == {"head": "too few weights to gain by it"}
    assert "DynamicQuantizeLSTM" in types(target)
    assert cosine(recurrent, target, texts) > 0.99
    assert target.stat().st_size < 0.32 * recurrent.stat().st_size


def test_a_gemm_is_quantized_under_its_own_name(
    convolutional, pictures, cosine, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(dynamic, "_FEWEST", 1)
    target = tmp_path / "int8.onnx"
    facts = quantize(convolutional, target, Int8Dynamic())
    assert facts["quantized"] == ["head"]
    assert set(facts["kept"]) == {"stem", "body"}
    assert "MatMulInteger" in types(target)
    assert cosine(convolutional, target, pictures) > 0.99


def test_products_are_smoothed_where_data_are_given(transformer, texts, cosine, tmp_path) -> None:
    plain, smooth = tmp_path / "plain.onnx", tmp_path / "smooth.onnx"
    quantize(transformer, plain, Int8Dynamic(keep=("lookup",)))
    dynamic.quantize(transformer, smooth, Int8Dynamic(keep=("lookup",), smooth=0.6), texts)
    assert cosine(transformer, smooth, texts) > cosine(transformer, plain, texts) > 0.95


def test_what_is_kept_stays_in_floats(recurrent, tmp_path) -> None:
    target = tmp_path / "int8.onnx"
    facts = quantize(recurrent, target, Int8Dynamic(keep=("LSTM",)))
    assert facts["kept"]["lstm"] == "keep: LSTM"
    assert "LSTM" in types(target)


def test_nothing_to_quantize_is_said_with_the_reasons(convolutional, tmp_path) -> None:
    with pytest.raises(ExportError, match="nothing to quantize for int8-dynamic") as error:
        quantize(convolutional, tmp_path / "int8.onnx", Int8Dynamic())
    assert "2 × a convolution becomes slower" in str(error.value)


@pytest.mark.parametrize(
    ("variant", "least", "size"),
    [(Int8Weights(block=32), 0.99, 0.36), (Int4Weights(), 0.9, 0.33)],
)
def test_weights_alone_take_a_part_of_the_file(
    transformer, texts, cosine, tmp_path, variant, least, size
) -> None:
    target = tmp_path / "small.onnx"
    facts = quantize(transformer, target, variant)
    assert facts["quantized"] == ["down", "lookup", "query", "up"]
    assert "MatMulNBits" in types(target)
    assert cosine(transformer, target, texts) > least
    assert target.stat().st_size < size * transformer.stat().st_size


def test_a_gemm_takes_small_weights_as_a_product(convolutional, pictures, cosine, tmp_path) -> None:
    target = tmp_path / "small.onnx"
    assert quantize(convolutional, target, Int8Weights(block=16))["quantized"] == ["head"]
    assert cosine(convolutional, target, pictures) > 0.99


def test_a_block_that_no_kernel_has_is_refused(transformer, tmp_path) -> None:
    with pytest.raises(ExportError, match=r"expected a block of 16, 32, .* got 100"):
        quantize(transformer, tmp_path / "small.onnx", Int8Weights(block=100))


def test_a_table_that_a_product_shares_shrinks_too(recurrent, texts, cosine, tmp_path) -> None:
    model = onnx.load(str(recurrent))
    head = next(node for node in model.graph.node if node.name == "head")
    # Words are scored by the table itself, as decoders do.
    state = onnx.helper.make_node("MatMul", ["last", "turn_down"], ["narrow"], "narrow")
    turned = onnx.numpy_helper.from_array(np.eye(64, 32, dtype=np.float32), "turn_down")
    model.graph.initializer.append(turned)
    model.graph.node.insert(len(model.graph.node) - 1, state)
    head.input[:] = ["narrow", "table"]
    head.attribute.append(onnx.helper.make_attribute("transB", 1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1000
    onnx.save(model, str(recurrent))
    target = tmp_path / "int8.onnx"
    facts = quantize(recurrent, target, Int8Dynamic(keep=("narrow",)))
    assert facts["quantized"] == ["head", "lookup", "lstm"]
    assert cosine(recurrent, target, texts) > 0.99
    # Of the head, with a scale for each word, and of the rows that are looked up.
    assert target.stat().st_size < 0.55 * recurrent.stat().st_size
