"""Triton's own backends: their names, platforms and usual model files.

Source: ``GetBackendTypeFromPlatform`` and ``AutoCompleteBackendFields`` in
``src/model_config_utils.cc`` of Triton's core.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelport.spec.config import ModelConfig


@dataclass(frozen=True)
class Backend:
    """A backend that ships with Triton, and what it expects on disk."""

    name: str
    platform: str = ""
    model_file: str = ""
    """Default of ``default_model_filename``; empty where the backend needs no file."""


BACKENDS = (
    Backend("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    Backend("python", "", "model.py"),
    Backend("tensorrt", "tensorrt_plan", "model.plan"),
    Backend("pytorch", "pytorch_libtorch", "model.pt"),
    Backend("pytorch", "torch_aoti", "model.pt2"),
    Backend("openvino", "", "model.xml"),
    Backend("tensorflow", "tensorflow_graphdef", "model.graphdef"),
    Backend("tensorflow", "tensorflow_savedmodel", "model.savedmodel"),
    Backend("vllm", "", "model.json"),
    Backend("dali", "", ""),
    Backend("fil", "", ""),
    Backend("tensorrtllm", "", ""),
    Backend("identity", "", ""),
    Backend("repeat", "", ""),
    Backend("square", "", ""),
)
NAMES = sorted({backend.name for backend in BACKENDS})
PLATFORMS = sorted({backend.platform for backend in BACKENDS if backend.platform} | {"ensemble"})


def backend_of(config: ModelConfig, files: Collection[str]) -> Backend | None:
    """Find the backend as Triton does: by name, by platform, else by the model's file.

    Args:
        config: the model's configuration.
        files: names of the files in its version folders.
    """
    named = [b for b in BACKENDS if config.backend in (b.name, "") and _fits(b, config)]
    if config.backend:
        return named[0] if named else None
    if config.platform:
        return next((b for b in named if b.platform == config.platform), None)
    if config.ensemble_scheduling is not None:
        return None
    wanted = [config.default_model_filename] if config.default_model_filename else files
    return next((b for b in BACKENDS if b.model_file and b.model_file in wanted), None)


def _fits(backend: Backend, config: ModelConfig) -> bool:
    return not config.platform or not backend.platform or backend.platform == config.platform
