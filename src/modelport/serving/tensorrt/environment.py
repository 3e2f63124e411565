"""Imports TensorRT, or says what is missing."""

from __future__ import annotations

from typing import Any

from modelport.errors import ToolchainError


def import_tensorrt() -> Any:
    """Return the `tensorrt` module; raise `ToolchainError` when it cannot be imported."""
    try:
        import tensorrt
    except ImportError as error:
        raise ToolchainError(
            f"tensorrt cannot be imported in the server's Python environment: {error}",
            cause="this tritonserver has neither NVIDIA's tensorrt backend nor the package",
            next_step="serve the plan in NVIDIA's image; `modelport serve` takes the ONNX version"
            " that the plan comes from",
        ) from error
    return tensorrt
