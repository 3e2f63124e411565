"""The model configuration against the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelport.errors import ConfigError
from modelport.serving.onnx.graph import ANY, Graph, TensorInfo
from modelport.serving.onnx.validation import config_dims


def check(config: Mapping[str, Any], graph: Graph) -> None:
    """Raise `ConfigError` for the first tensor of ``config`` that the engine does not have so."""
    batched = int(config.get("max_batch_size", 0)) > 0
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        named = {tensor["name"]: tensor for tensor in config.get(kind, ())}
        missing = tensors.keys() - named.keys() if kind == "input" else set()
        for name in sorted(missing | (named.keys() - tensors.keys())):
            raise _error(
                f"{kind} '{name}' is not in both: config.pbtxt has {', '.join(named)}, the plan"
                f" {', '.join(tensors)}",
                name,
            )
        for name, tensor in named.items():
            _check_tensor(kind, tensor, tensors[name], batched=batched)


def _check_tensor(kind: str, tensor: Mapping[str, Any], info: TensorInfo, *, batched: bool) -> None:
    if tensor["data_type"] != info.data_type:
        raise _error(
            f"{kind} '{info.name}': config.pbtxt has {tensor['data_type']}, the plan"
            f" {info.data_type}",
            info.name,
        )
    dims = (ANY, *config_dims(tensor)) if batched else config_dims(tensor)
    fits = len(dims) == len(info.shape) and all(
        ANY in (declared, have) or declared == have
        for declared, have in zip(dims, info.shape, strict=True)
    )
    if not fits:
        raise _error(
            f"{kind} '{info.name}': config.pbtxt has shape {list(dims)}, the plan"
            f" {list(info.shape)}",
            info.name,
        )


def _error(what: str, tensor: str) -> ConfigError:
    return ConfigError(
        what,
        cause="the plan was built from another graph, or config.pbtxt was edited",
        next_step="build the plan again: modelport plan",
        tensor=tensor,
    )
