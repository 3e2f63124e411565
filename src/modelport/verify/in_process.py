"""Parity of an ONNX file with its reference, by ONNX Runtime in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelport.errors import ExportError
from modelport.repository.samples import Case
from modelport.spec.parts import Tolerance
from modelport.verify.parity import Arrays, Parity, compare


def session(onnx_file: Path) -> Any:
    """Open an ``onnxruntime.InferenceSession`` on the CPU, quiet, on one thread.

    Raises:
        ExportError: ONNX Runtime does not take the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(onnx_file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise ExportError(
            f"{onnx_file}: ONNX Runtime {onnxruntime.__version__} does not load it: {error}",
            cause="the file is damaged, or uses an operator that this version does not have",
            path=onnx_file,
        ) from error


def run(open_session: Any, inputs: Arrays) -> dict[str, np.ndarray]:
    """Run a session on named arrays; give all its outputs by name."""
    names = [output.name for output in open_session.get_outputs()]
    outputs = open_session.run(names, dict(inputs))
    return {name: _as_bytes(array) for name, array in zip(names, outputs, strict=True)}


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """Spell texts as servers do: ONNX Runtime gives ``str``, the V2 protocol ``bytes``."""
    if array.dtype != np.object_:
        return array
    texts = [text.encode() if isinstance(text, str) else text for text in array.flat]
    return np.array(texts, dtype=np.object_).reshape(array.shape)


def parity(onnx_file: Path, cases: Sequence[Case], tolerance: Tolerance) -> Parity:
    """Compare the ONNX file's answers with those of every case."""
    open_session = session(onnx_file)
    found = Parity()
    for index, case in enumerate(cases):
        got = run(open_session, case.inputs)
        comparison = compare(got, case.outputs, tolerance)
        found.add(comparison, case.inputs, where=f"case {index}, in process")
    return found
