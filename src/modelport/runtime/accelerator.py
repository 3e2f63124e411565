"""What TensorRT plans meet here: the GPU, and the TensorRT of the tritonserver in use."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from modelport.repository import gpus
from modelport.repository.plans import BACKEND, Place
from modelport.runtime import toolchain as toolchains
from modelport.runtime.toolchain import Toolchain

# Named with its whole version: libnvinfer.so.10.5.0.
_LIBRARY = re.compile(r"libnvinfer\.so\.(\d+\.\d+\.\d+)$")
_NATIVE = "libtriton_tensorrt.so"
# Distributions that hold the Python package `tensorrt`, for the python-based backend.
_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
_USUAL = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/tensorrt/lib")


def detect(toolchain: Toolchain | None = None) -> Place:
    """Look for a GPU and for the TensorRT that the server would load plans with.

    Args:
        toolchain: which tritonserver; None for the one that is found or fetched.
    """
    gpu = gpus.gpu()
    # Without a GPU no plan runs, whatever library is there.
    return Place(gpu, tensorrt_of(toolchain or toolchains.ensure())) if gpu else Place()


def looking(toolchain: Toolchain, here: Place | None = None) -> Callable[[], Place]:
    """Make a function that looks once, when it is first asked; with ``here`` it says that."""
    return cache(lambda: here or detect(toolchain))


def tensorrt_of(toolchain: Toolchain) -> str | None:
    """Give the version of TensorRT that a server loads plans with; None where it has none.

    Triton's own backend loads ``libnvinfer``; where it is missing, the python-based one takes
    the package ``tensorrt`` of the server's environment.
    """
    if (toolchain.backends / BACKEND / _NATIVE).is_file():
        return library_version(_places(toolchain))
    return _package_version(toolchain)


def library_version(folders: Iterable[Path]) -> str | None:
    """Give the version of the ``libnvinfer`` that the loader would find in these folders first."""
    for folder in folders:
        for path in sorted(folder.glob("libnvinfer.so*")) if folder.is_dir() else ():
            # What the loader asks for, libnvinfer.so.10, is a link to the file with the version.
            if found := _LIBRARY.search(path.resolve().name):
                return found[1]
    return None


def _places(toolchain: Toolchain) -> Iterator[Path]:
    variable = os.environ.get("LD_LIBRARY_PATH", "")
    yield from toolchain.library_path
    yield from (Path(folder) for folder in variable.split(":") if folder)
    yield from map(Path, _USUAL)


def _package_version(toolchain: Toolchain) -> str | None:
    if toolchain.environment is not None:
        installed = toolchain.environment.packages()
        names = {name.replace("_", "-"): version for name, version in installed.items()}
        return next((names[package] for package in _PACKAGES if package in names), None)
    # An image that brings its own Python: the stubs run on the python3 of PATH.
    script = "import importlib.metadata as m; print(m.version('tensorrt'))"
    try:
        done = subprocess.run(
            ["python3", "-c", script], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
