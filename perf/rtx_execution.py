"""An engine of TensorRT-RTX, run on the GPU of this machine; for perf/gpu.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import click
import numpy as np


class Execution:
    """An engine with its memory on the GPU; calling it copies there, runs, and copies back.

    Args:
        trt: the module ``tensorrt_rtx``.
        engine: what :func:`modelport.build.tensorrt.compile` made.

    Raises:
        click.ClickException: there is no GPU, or the engine is not for it.
    """

    def __init__(self, trt: Any, engine: bytes) -> None:
        from cuda.bindings import runtime

        self._trt, self._cuda = trt, runtime
        self._stream = self._done(runtime.cudaStreamCreate())
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise click.ClickException("TensorRT-RTX does not load the engine: not for this card?")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        output = trt.TensorIOMode.OUTPUT
        self._outputs = [n for n in names if self._engine.get_tensor_mode(n) == output]
        self._memory: dict[str, tuple[int, int]] = {}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch."""
        kinds = self._cuda.cudaMemcpyKind
        for name, array in inputs.items():
            self._context.set_input_shape(name, array.shape)
            given = np.ascontiguousarray(array)
            place = self._place(name, given.nbytes)
            self._copy(place, given.ctypes.data, given.nbytes, kinds.cudaMemcpyHostToDevice)
        answers = {name: self._empty(name) for name in self._outputs}
        places = {name: self._place(name, array.nbytes) for name, array in answers.items()}
        if not self._context.execute_async_v3(self._stream):
            raise click.ClickException("TensorRT-RTX did not run the engine")
        self._done(self._cuda.cudaStreamSynchronize(self._stream))
        for name, array in answers.items():
            self._copy(array.ctypes.data, places[name], array.nbytes, kinds.cudaMemcpyDeviceToHost)
        return answers

    def _empty(self, name: str) -> np.ndarray:
        kind = self._trt.nptype(self._engine.get_tensor_dtype(name))
        return np.empty(tuple(self._context.get_tensor_shape(name)), kind)

    def _place(self, name: str, size_bytes: int) -> int:
        """Give memory on the GPU for a tensor: what it has, if that is large enough."""
        address, room = self._memory.get(name, (0, -1))
        if room < size_bytes:
            if address:
                self._done(self._cuda.cudaFree(address))
            address = self._done(self._cuda.cudaMalloc(size_bytes))
            self._memory[name] = (address, size_bytes)
        self._context.set_tensor_address(name, address)
        return address

    def _copy(self, target: int, source: int, size_bytes: int, kind: Any) -> None:
        self._done(self._cuda.cudaMemcpy(target, source, size_bytes, kind))

    def _done(self, result: tuple[Any, ...]) -> Any:
        if int(result[0]):
            raise click.ClickException(f"CUDA says {result[0].name}: is there an NVIDIA GPU here?")
        return result[1] if len(result) > 1 else None

    def __enter__(self) -> Execution:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the memory back."""
        for address, _ in self._memory.values():
            self._cuda.cudaFree(address)
        self._cuda.cudaStreamDestroy(self._stream)
