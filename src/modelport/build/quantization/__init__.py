"""Quantization of ONNX graphs: fewer bits for weights and activations, on files.

:func:`quantize` makes the file of a variant; the modules hold what each takes::

    calibration   what a builder gives, checked, and some items chosen; never of the test split
    static        int8: weights and activations, in QDQ form
    dynamic       int8-dynamic: weights, with ranges of activations found in each request
    weights       int8-weights, int4-weights: weights alone
    smoothing     moves the spread of activations into the weights first
    tables        tables of words or items as 8-bit integers
    images        bytes of pictures that stay bytes
    ranges        ranges of activations on calibration data
    symmetric     an int8 graph as TensorRT takes it
    sensitivity   which nodes a network can least afford to round
    graphs        reading, checking and writing the files
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelport.build.quantization import dynamic, static, weights
from modelport.build.quantization.calibration import Item
from modelport.spec.precision import Int4Weights, Int8, Int8Dynamic, Int8Weights, Variant

__all__ = ["KINDS", "quantize"]

# The variants that are made here.
KINDS = (Int8, Int8Dynamic, Int8Weights, Int4Weights)


def quantize(
    source: Path, target: Path, variant: Variant, batches: Sequence[Item] = ()
) -> Mapping[str, Any]:
    """Write the file of a variant.

    Args:
        source: the graph in FP32.
        target: the file to write; the same bytes each time.
        variant: one of :data:`KINDS`.
        batches: calibration data, of :func:`modelport.build.quantization.calibration.feeds`.

    Returns:
        Facts that JSON can hold: which nodes were quantized, which were kept and why, opset,
        library, method, items.

    Raises:
        ExportError: there is nothing to quantize, an entry of ``keep`` names no node, or a
            setting is none that ONNX Runtime knows.
    """
    if isinstance(variant, Int8):
        return static.quantize(source, target, variant, batches)
    if isinstance(variant, Int8Dynamic):
        return dynamic.quantize(source, target, variant, batches)
    if isinstance(variant, (Int8Weights, Int4Weights)):
        return weights.quantize(source, target, variant)
    raise TypeError(f"{variant.name} is not made by quantization")
