"""Tiny ONNX graphs, opened by the real onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from modelport.serving.onnx import session
from modelport.serving.onnx.settings import Settings

OpenGraph = Callable[..., object]


@pytest.fixture
def open_graph(tmp_path: Path):
    """Write nodes, inputs and outputs as a model, and open a session on it."""

    def opened(nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(*tensor) for tensor in inputs],
            [helper.make_tensor_value_info(*tensor) for tensor in outputs],
            list(constants),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return session.open_session(path, Settings(intra_op_threads=1))

    return opened
