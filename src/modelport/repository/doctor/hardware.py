"""What models can use on a machine: cores, GPUs, TensorRT."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from modelport.repository import gpus
from modelport.repository.gpus import Gpu

_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")


@dataclass(frozen=True)
class Machine:
    """What models can use here."""

    cores: int
    gpus: int
    tensorrt: str | None = None
    """Version of TensorRT, such as 10.5.0; None where there is none."""
    gpu: Gpu | None = None
    """The first GPU, where its driver describes it."""

    @classmethod
    def detect(cls) -> Machine:
        """Count the cores that this process may use and the GPUs that CUDA would show it."""
        cores, visible = len(os.sched_getaffinity(0)), _visible_gpus()
        gpu = gpus.gpu() if visible else None
        return cls(cores=cores, gpus=visible, tensorrt=_tensorrt(), gpu=gpu)


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
