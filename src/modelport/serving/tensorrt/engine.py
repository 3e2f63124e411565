"""Finding model.plan, opening an engine, and running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from modelport.errors import ConfigError, IntegrityError, InvalidInputError
from modelport.serving.onnx.graph import Graph, TensorInfo
from modelport.serving.onnx.tensors import Array
from modelport.serving.tensorrt.environment import import_tensorrt
from modelport.serving.tensorrt.memory import Buffers, Device

DEFAULT_FILENAME = "model.plan"

# TensorRT's name of a type to Triton's, and to numpy's.
_TYPES: Mapping[str, tuple[str, type[np.generic]]] = {
    "FLOAT": ("TYPE_FP32", np.float32),
    "HALF": ("TYPE_FP16", np.float16),
    "INT64": ("TYPE_INT64", np.int64),
    "INT32": ("TYPE_INT32", np.int32),
    "INT8": ("TYPE_INT8", np.int8),
    "UINT8": ("TYPE_UINT8", np.uint8),
    "BOOL": ("TYPE_BOOL", np.bool_),
}


class Engine(Protocol):
    """A plan that is ready to run."""

    @property
    def graph(self) -> Graph:
        """What it takes and gives."""

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Answer: the outputs of these names, for arrays by the names of the inputs."""

    def close(self) -> None:
        """Give its memory back."""


def plan_path(version_dir: Path, filename: str) -> Path:
    """Return the plan of a version.

    Raises:
        IntegrityError: there is no such file.
    """
    path = version_dir / (filename or DEFAULT_FILENAME)
    if path.is_file():
        return path
    raise IntegrityError(
        f"unable to find '{path}'",
        cause="default_model_filename names another file, or the version was not built",
        next_step="build the plan again: modelport plan",
        file=path,
    )


def open_engine(path: Path) -> Engine:
    """Open a plan on the first GPU.

    Raises:
        ToolchainError: there is no TensorRT or no GPU.
        IntegrityError: TensorRT cannot load the file.
        ConfigError: it has tensors that cannot be passed here.
    """
    return TensorRtEngine(path)


class TensorRtEngine:
    """An engine in TensorRT's own runtime; see :func:`open_engine`.

    Source: NVIDIA TensorRT, Python API, ``ICudaEngine`` and ``IExecutionContext``, as TensorRT 10
    and 11 have them.
    """

    def __init__(self, path: Path) -> None:
        tensorrt = import_tensorrt()
        self._device = Device()
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._runtime = tensorrt.Runtime(self._logger)
        # Version-compatible plans bring code of their own; a repository's models are code too.
        self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise IntegrityError(
                f"'{path}' cannot be loaded by TensorRT {tensorrt.__version__}",
                cause="it was built by another TensorRT or for another GPU, or is cut short",
                next_step="build it again on this machine: modelport plan",
                file=path,
            )
        self._inputs, self._outputs = _tensors(tensorrt, self._engine, path)
        self._context = self._engine.create_execution_context()
        self._buffers = Buffers(self._device)

    @property
    def graph(self) -> Graph:
        """What it takes and gives."""
        return Graph(inputs=self._inputs, defaulted={}, outputs=self._outputs)

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Run once; raises `InvalidInputError` for a shape outside of the profile."""
        self._device.enter()
        # Kept until the stream is done with them.
        arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        for name, array in arrays.items():
            self._feed(name, array)
        outputs = {name: self._room(info) for name, info in self._outputs.items()}
        self._context.execute_async_v3(self._device.stream)
        for name in names:
            array = outputs[name]
            self._device.download(array, self._buffers.of(name, array.nbytes))
        self._device.wait()
        return [outputs[name] for name in names]

    def close(self) -> None:
        """Give the memory of the GPU back."""
        self._buffers.free()
        self._context = self._engine = self._runtime = None

    def _feed(self, name: str, array: Array) -> None:
        if not self._context.set_input_shape(name, array.shape):
            least, _, most = self._engine.get_tensor_profile_shape(name, 0)
            raise InvalidInputError(
                f"input '{name}': shape {list(array.shape)} is outside of the plan's profile,"
                f" {list(least)} to {list(most)}",
                next_step="send a shape within it, or build the plan with --length",
                tensor=name,
            )
        address = self._buffers.of(name, array.nbytes)
        self._device.upload(address, array)
        self._context.set_tensor_address(name, address)

    def _room(self, info: TensorInfo) -> Array:
        """Make an array for an output, whose shape follows from those of the inputs."""
        shape = tuple(self._context.get_tensor_shape(info.name))
        array = np.empty(shape, _numpy_type(info.data_type))
        self._context.set_tensor_address(info.name, self._buffers.of(info.name, array.nbytes))
        return array


def _tensors(
    tensorrt: Any, engine: Any, path: Path
) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    inputs: dict[str, TensorInfo] = {}
    outputs: dict[str, TensorInfo] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _TYPES or engine.is_shape_inference_io(name):
            raise ConfigError(
                f"'{path}': tensor '{name}' ({kind}) cannot be passed by this backend",
                cause="it is of a type that numpy lacks, or its values decide shapes",
                next_step="serve the plan in NVIDIA's image, or keep FP32 at the graph's edges",
                tensor=name,
            )
        info = TensorInfo(name, _TYPES[kind][0], tuple(engine.get_tensor_shape(name)))
        given = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        (inputs if given else outputs)[name] = info
    return inputs, outputs


def _numpy_type(data_type: str) -> type[np.generic]:
    return next(numpy for triton, numpy in _TYPES.values() if triton == data_type)
