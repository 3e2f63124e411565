"""Refuses a Python environment that would give wrong answers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from modelport.errors import ToolchainError


def require_numpy_1(version: str = np.__version__) -> None:
    """Raise `ToolchainError` unless numpy is older than 2.

    Triton 24.10's python stub is compiled against a pybind11 that misreads the
    arrays of numpy 2: inputs arrive as zeros and outputs leave with 0 bytes,
    while the server reports READY. pybind11 supports numpy 2 since 2.12.
    """
    if int(version.split(".", maxsplit=1)[0]) < 2:
        return
    raise ToolchainError(
        f"the server's Python environment has numpy {version}, expected numpy < 2",
        cause="this Triton's python stub misreads numpy 2 arrays and would answer zeros",
        next_step="install numpy==1.26.4 in the server's own environment",
        version=version,
    )


def import_onnxruntime() -> Any:
    """Return the `onnxruntime` module; raise `ToolchainError` when it cannot be imported."""
    # From 1.29 on it reports what it runs to its maker: names of models, and errors.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolchainError(
            f"onnxruntime cannot be imported in the server's Python environment: {error}",
            cause="the python3 that tritonserver found on PATH is not the server's own",
            next_step="install onnxruntime there, or start the server with `modelport serve`",
        ) from error
    return onnxruntime
