"""The GPU of this machine, asked of NVIDIA's driver."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

# CUdevice_attribute of cuda.h.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """A GPU as plans are told apart by it.

    Args:
        name: such as ``NVIDIA L4``.
        compute_capability: such as ``8.9``; a plan runs on GPUs of the same one.
    """

    name: str
    compute_capability: str

    @property
    def architecture(self) -> str:
        """As NVIDIA's compilers call its compute capability: ``sm_89``."""
        return "sm_" + self.compute_capability.replace(".", "")


def gpu(ordinal: int = 0) -> Gpu | None:
    """Name a GPU of this machine; ``None`` where there is no driver or no such GPU.

    ``CUDA_VISIBLE_DEVICES`` is heeded, by the driver itself.

    Args:
        ordinal: the number of the GPU among those that are visible.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return None
    if ordinal >= count.value or driver.cuDeviceGet(ctypes.byref(device), ordinal):
        return None
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGetName(name, _NAME_BYTES, device):
        return None
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        numbers.append(str(value.value))
    return Gpu(name.value.decode(errors="replace"), ".".join(numbers))
