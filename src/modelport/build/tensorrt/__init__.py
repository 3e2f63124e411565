"""Engines for NVIDIA's GPUs, by the API that TensorRT 10, TensorRT 11 and TensorRT-RTX share.

=============================  ====================================================================
:func:`library`                the library that is installed, or one sentence on how to get it
:func:`gpu`                    the GPU of this machine, if there is one
:func:`profile_of`             the shapes that an engine is made for
:func:`compile`                from an ONNX file to an engine; its precision stands in the graph
:func:`check`                  whether every graph of a repository compiles; nothing is run
=============================  ====================================================================

TensorRT-RTX comes from PyPI and compiles without a GPU, so it can say whether a graph is fit for
TensorRT. Its engines are not plans: Triton's ``tensorrt`` backend does not load them.
"""

from modelport.build.tensorrt.checking import Verdict, check, lengths
from modelport.build.tensorrt.engine import Engine, EngineOptions, compile  # noqa: A004
from modelport.build.tensorrt.library import Library, library
from modelport.build.tensorrt.profile import Shapes, profile_of
from modelport.repository.gpus import Gpu, gpu

__all__ = [
    "Engine",
    "EngineOptions",
    "Gpu",
    "Library",
    "Shapes",
    "Verdict",
    "check",
    "compile",
    "gpu",
    "lengths",
    "library",
    "profile_of",
]
