"""Finding model.onnx, opening a session on it, and running it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelport.errors import IntegrityError, ModelportError
from modelport.serving.onnx import bfloat16
from modelport.serving.onnx.environment import import_onnxruntime
from modelport.serving.onnx.graph import Graph
from modelport.serving.onnx.settings import Settings
from modelport.serving.onnx.tensors import BF16, Array

DEFAULT_FILENAME = "model.onnx"

Run = Callable[[Sequence[str], Mapping[str, Array]], Sequence[Array]]


def model_path(version_dir: Path, filename: str) -> Path:
    """Return the ONNX file of a version; ``filename`` may name a folder that holds model.onnx.

    Raises:
        IntegrityError: there is no such file.
    """
    path = version_dir / (filename or DEFAULT_FILENAME)
    if path.is_dir():
        path = path / DEFAULT_FILENAME
    if not path.is_file():
        raise IntegrityError(
            f"unable to find '{path}'",
            cause="default_model_filename names another file, or the version was not built",
            next_step="build or import the model again, or correct default_model_filename",
            file=path,
        )
    return path


def open_session(path: Path, settings: Settings) -> Any:
    """Open an `onnxruntime.InferenceSession` on ``path`` for the CPU.

    Raises:
        IntegrityError: ONNX Runtime cannot load the file; the message holds its
            path, size and ONNX Runtime's reason.
    """
    onnxruntime = import_onnxruntime()
    options = _options(onnxruntime, settings)
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _unloadable(path, error) from error
    _return_freed_memory()
    return session


def _return_freed_memory() -> None:
    """Give back what opening a session has freed: the file's bytes, weights in their old layout.

    glibc keeps such memory for later, which never comes: 25 MiB of a network of 18 MiB.
    """
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def run_options(settings: Settings) -> Any:
    """Return `onnxruntime.RunOptions` with the settings' run entries; None when it has none."""
    if not settings.run_entries:
        return None
    options = import_onnxruntime().RunOptions()
    for key, value in settings.run_entries.items():
        options.add_run_config_entry(key, value)
    return options


def runner(session: Any, graph: Graph, options: Any = None) -> Run:
    """Return a function that runs ``session``: (output names, arrays by input name) to arrays.

    BF16 arrays are ``uint16`` bit patterns; see `bfloat16`.
    """
    tensors = (*graph.inputs.values(), *graph.defaulted.values(), *graph.outputs.values())
    if any(tensor.data_type == BF16 for tensor in tensors):
        return _run_with_bf16(session, graph, options)

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        outputs: Sequence[Array] = session.run(names, feeds, options)
        return outputs

    return run


def _run_with_bf16(session: Any, graph: Graph, options: Any) -> Run:
    """Run by `OrtValue` where BF16 demands it: ONNX Runtime gives no BF16 array to numpy."""
    inputs = {**graph.inputs, **graph.defaulted}
    bf16_inputs = {name for name, tensor in inputs.items() if tensor.data_type == BF16}
    bf16_outputs = {name for name, tensor in graph.outputs.items() if tensor.data_type == BF16}
    from_numpy = import_onnxruntime().OrtValue.ortvalue_from_numpy

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        values = {n: bfloat16.ort_value(a) if n in bf16_inputs else a for n, a in feeds.items()}
        if bf16_outputs.isdisjoint(names):
            outputs: Sequence[Array] = session.run(names, values, options)
            return outputs
        values = {n: v if n in bf16_inputs else from_numpy(v) for n, v in values.items()}
        return [
            bfloat16.bits(value) if name in bf16_outputs else value.numpy()
            for name, value in zip(
                names, session.run_with_ort_values(names, values, options), strict=True
            )
        ]

    return run


def _options(onnxruntime: Any, settings: Settings) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = _graph_level(onnxruntime, settings.graph_level)
    if settings.parallel:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    if settings.memory_arena is not None:
        options.enable_cpu_mem_arena = settings.memory_arena
    if settings.memory_pattern is not None:
        options.enable_mem_pattern = settings.memory_pattern
    for key, value in settings.session_entries.items():
        options.add_session_config_entry(key, value)
    for library in settings.op_libraries:
        options.register_custom_ops_library(library)
    return options


def _graph_level(onnxruntime: Any, level: int) -> Any:
    """Map ``optimization.graph.level`` as NVIDIA's backend does: anything else is "all"."""
    levels = onnxruntime.GraphOptimizationLevel
    return {
        -1: levels.ORT_ENABLE_BASIC,
        1: levels.ORT_ENABLE_EXTENDED,
        2: levels.ORT_DISABLE_ALL,
    }.get(level, levels.ORT_ENABLE_ALL)


def _unloadable(path: Path, error: Exception) -> ModelportError:
    size_bytes = path.stat().st_size
    reason = str(error)
    external = "external" in reason.lower()
    return IntegrityError(
        f"'{path}' ({size_bytes} bytes) cannot be loaded: {reason}",
        cause=(
            "the file that holds the weights (external data) did not travel with it"
            if external
            else "the file is truncated, or is not an ONNX model that this onnxruntime reads"
        ),
        next_step="restore the file, or build or import the model again",
        file=path,
        size_bytes=size_bytes,
    )
