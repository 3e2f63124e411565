from __future__ import annotations

import numpy as np
import onnx
import pytest

from modelport.build.quantization.sensitivity import sensitivity, table
from modelport.errors import ExportError
from modelport.spec.precision import Int8, Int8Dynamic, Int8Weights


def test_the_node_that_suffers_most_comes_first(convolutional, pictures) -> None:
    model = onnx.load(str(convolutional))
    # One large weight takes all steps of a tensor's range; with a scale for each channel of
    # one output it would hurt that one alone.
    tensor = next(t for t in model.graph.initializer if t.name == "w2")
    spoilt = onnx.numpy_helper.to_array(tensor).copy()
    spoilt[0, 0, 0, 0] = 60
    tensor.CopyFrom(onnx.numpy_helper.from_array(spoilt, "w2"))
    onnx.save(model, str(convolutional))
    heard: list[tuple[int, int, str]] = []
    found = sensitivity(
        convolutional,
        pictures,
        Int8(per_channel=False),
        listener=lambda *progress: heard.append(progress),
    )
    assert found[0].node == "body"
    assert sorted(damage.node for damage in found) == ["body", "head", "stem"]
    assert found[0].noise > 10 * found[1].noise
    assert heard == [(0, 3, "stem"), (1, 3, "body"), (2, 3, "head")]
    assert table(found)[0]["sqnr_db"] < table(found)[1]["sqnr_db"]


def test_what_is_kept_is_not_scanned(convolutional, pictures) -> None:
    found = sensitivity(convolutional, pictures, Int8(keep=("stem",)))
    assert {damage.node for damage in found} == {"body", "head"}


def test_a_tensor_inside_is_looked_at(convolutional, pictures) -> None:
    found = sensitivity(convolutional, pictures, Int8(), tensor="sum")
    assert {damage.node for damage in found} == {"stem", "body"}


@pytest.mark.parametrize("variant", [Int8Dynamic(), Int8Weights(block=16)])
def test_other_variants_are_scanned_too(transformer, texts, variant) -> None:
    found = sensitivity(transformer, texts, variant)
    assert {damage.node for damage in found} == {"query", "up", "down"}
    assert all(0 < damage.noise < 0.1 and damage.cosine <= 1 for damage in found)
    assert np.isfinite([damage.sqnr_db for damage in found]).all()


def test_nothing_to_scan_is_said(convolutional, pictures) -> None:
    with pytest.raises(ExportError, match="nothing to quantize"):
        sensitivity(convolutional, pictures, Int8Dynamic())
