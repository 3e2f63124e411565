from __future__ import annotations

import numpy as np
import pytest

from modelport.build.quantization import normalization, smoothing
from modelport.build.quantization.graphs import Graph


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_network_in_fp32_says_the_same(transformer, texts, run, tmp_path, alpha) -> None:
    graph = Graph.load(transformer)
    products = [node for node in graph.nodes if node.name in ("query", "up", "down")]
    assert smoothing.smooth(graph, products, texts, alpha=alpha) == ["halved", "normal", "words"]
    graph.save(tmp_path / "smooth.onnx", transformer)
    for feed in texts:
        [before], [after] = run(transformer, feed), run(tmp_path / "smooth.onnx", feed)
        np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())


def test_factors_go_into_what_comes_before_where_nobody_else_takes_it(transformer, texts) -> None:
    graph = Graph.load(transformer)
    products = [node for node in graph.nodes if node.name in ("query", "up", "down")]
    smoothing.smooth(graph, products, texts, alpha=0.5)
    # The table's rows are also mixed and added: there a node divides them.
    assert [n.input[0] for n in graph.nodes if n.name.endswith("_smoothed")] == ["words"]
    assert len(graph.nodes) == 13


def test_the_spread_becomes_smaller(transformer, texts) -> None:
    graph = Graph.load(transformer)
    before = smoothing.largest(graph, ["normal"], texts)["normal"]
    smoothing.smooth(graph, [n for n in graph.nodes if n.name == "up"], texts, alpha=0.8)
    after = smoothing.largest(graph, ["normal"], texts)["normal"]
    assert after.max() / np.median(after) < 0.5 * before.max() / np.median(before)


def test_a_normalization_written_out_says_the_same(transformer, texts, run, tmp_path) -> None:
    graph = Graph.load(transformer)
    assert normalization.write_out(graph) == ["norm"]
    graph.save(tmp_path / "out.onnx", transformer)
    assert not [node for node in graph.nodes if node.op_type == "LayerNormalization"]
    for feed in texts:
        [before], [after] = run(transformer, feed), run(tmp_path / "out.onnx", feed)
        np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
