"""Ranges of activations, found by running a network on calibration data."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnx

from modelport.build.quantization.calibration import Item
from modelport.build.quantization.graphs import Graph, quiet
from modelport.spec.precision import Int8


def find(graph: Graph, batches: Sequence[Item], variant: Int8, types: Collection[str]) -> Any:
    """Find the ranges of what nodes of some types take and give.

    Args:
        graph: whose shapes are inferred.
        batches: named arrays, as ONNX Runtime takes them; their shapes may differ.
        variant: the method.
        types: of the nodes.

    Returns:
        ``onnxruntime.quantization.calibrate.TensorsData``.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    methods = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "entropy": (CalibrationMethod.Entropy, {}),
        # A range of its own on either side of zero: what follows a ReLU has no other side.
        "percentile": (
            CalibrationMethod.Percentile,
            {"percentile": variant.percentile, "symmetric": False},
        ),
    }
    method, options = methods[variant.method]
    with tempfile.TemporaryDirectory(prefix="modelport-ranges-") as folder, quiet():
        source = Path(folder) / "model.onnx"
        onnx.save(graph.model, str(source))
        calibrator: Any = create_calibrator(
            source,
            sorted(types),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        for batch in batches:
            # One at a time: the histograms take no arrays of several shapes, and the
            # activations of many pictures at once would fill the memory.
            calibrator.collect_data(_One(batch))
        return calibrator.compute_data()


class _One:
    """What ONNX Runtime calls a calibration data reader, of one batch."""

    def __init__(self, batch: Item) -> None:
        self._left = [batch]

    def get_next(self) -> Item | None:
        return self._left.pop() if self._left else None

    def __iter__(self) -> _One:
        return self
