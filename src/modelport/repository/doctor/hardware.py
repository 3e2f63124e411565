"""What models can use on a machine: cores, GPUs, TensorRT."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")


@dataclass(frozen=True)
class Machine:
    """What models can use here."""

    cores: int
    gpus: int
    tensorrt: str | None = None
    """Version of TensorRT, such as 10.5.0; None where there is none."""

    @classmethod
    def detect(cls) -> Machine:
        """Count the cores that this process may use and the GPUs that CUDA would show it."""
        cores = len(os.sched_getaffinity(0))
        return cls(cores=cores, gpus=_visible_gpus(), tensorrt=_tensorrt())


def _visible_gpus() -> int:
    present = len(list(Path("/dev").glob("nvidia[0-9]*")))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return present
    listed = [device for device in shown.split(",") if device.strip() not in ("", "-1")]
    return min(present, len(listed))


def _tensorrt() -> str | None:
    """Give the version of NVIDIA's container, or of the package; loads neither."""
    named = os.environ.get("TRT_VERSION") or os.environ.get("TENSORRT_VERSION")
    for package in () if named else _TENSORRT:
        try:
            named = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        break
    return ".".join(named.split(".")[:3]) if named else None
