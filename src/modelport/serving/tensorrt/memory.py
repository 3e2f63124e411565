"""Memory and a stream of the GPU, by the CUDA driver (``libcuda.so.1``), which every GPU has."""

from __future__ import annotations

import ctypes
from typing import Any

from modelport.errors import ToolchainError
from modelport.serving.onnx.tensors import Array

_DRIVER = "libcuda.so.1"


class Device:
    """The first GPU that this process sees, with one stream.

    Raises:
        ToolchainError: there is no GPU, or the driver refuses.
    """

    def __init__(self, driver: str = _DRIVER) -> None:
        try:
            self._cuda = ctypes.CDLL(driver)
        except OSError as error:
            raise ToolchainError(
                f"there is no GPU here: {error}",
                next_step="serve the ONNX version that the plan comes from",
            ) from error
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        # The context that TensorRT works in too.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        self._context = context
        self.stream = stream.value or 0

    def enter(self) -> None:
        """Make this GPU that of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size_bytes: int) -> int:
        """Give the address of new memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size_bytes, 1)))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: Array) -> None:
        """Copy a contiguous array there, in the order of the stream."""
        source, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        stream = ctypes.c_void_p(self.stream)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, size, stream)

    def download(self, array: Array, address: int) -> None:
        """Copy into a contiguous array, in the order of the stream."""
        target, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        stream = ctypes.c_void_p(self.stream)
        self._call("cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), size, stream)

    def wait(self) -> None:
        """Wait until all of the stream is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._cuda, function)(*arguments)
        if status:
            raise ToolchainError(
                f"{function}: the GPU's driver answers with error {status}",
                cause="the GPU is out of memory, or another process has it for itself",
                next_step="nvidia-smi shows who uses it",
            )


class Buffers:
    """Memory for named tensors, kept from run to run and grown where that is too little."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kept: dict[str, tuple[int, int]] = {}

    def of(self, name: str, size_bytes: int) -> int:
        """Give the address of at least this much memory for a tensor."""
        address, size = self._kept.get(name, (0, -1))
        if size < size_bytes:
            if address:
                self._device.free(address)
            address = self._device.allocate(size_bytes)
            self._kept[name] = (address, size_bytes)
        return address

    def free(self) -> None:
        """Give all of it back."""
        for address, _ in self._kept.values():
            self._device.free(address)
        self._kept.clear()
