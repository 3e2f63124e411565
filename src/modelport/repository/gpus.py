"""The GPU that models run on, as the driver describes it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_DRIVER = "libcuda.so.1"
# CUdevice_attribute: COMPUTE_CAPABILITY_MAJOR and _MINOR.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: such as ``NVIDIA H100 80GB HBM3``.
        compute_capability: such as ``9.0``.
    """

    name: str
    compute_capability: str

    @property
    def architecture(self) -> str:
        """As NVIDIA's compilers call its compute capability: ``sm_90``."""
        return "sm_" + self.compute_capability.replace(".", "")


def first(driver: str = _DRIVER) -> Gpu | None:
    """Describe the first GPU that CUDA shows this process; None where there is none.

    Source: the CUDA driver API, which every machine with the driver has (``libcuda.so.1``).
    """
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, _NAME_BYTES, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    return None if failed else Gpu(name.value.decode(), f"{major.value}.{minor.value}")
