"""The fields that a model configuration leaves out, filled in from the ONNX graph.

The rules are ``AutoCompleteConfig``, ``AutoCompleteMaxBatch`` and
``AutoCompleteIO`` of onnxruntime_backend/src/onnxruntime.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelport.errors import ConfigError
from modelport.serving.onnx.graph import Graph, TensorInfo


def is_complete(config: dict[str, Any]) -> bool:
    """Whether inputs and outputs are given: then nothing is filled in, not even batching."""
    return bool(config.get("input") or config.get("batch_input")) and bool(config.get("output"))


def complete(config: dict[str, Any], graph: Graph, *, default_max_batch_size: int) -> None:
    """Fill in what ``config`` leaves out, in place; what it gives stays.

    Raises:
        ConfigError: max_batch_size is given but the graph cannot batch.
    """
    _complete_batching(config, graph, default_max_batch_size)
    batched = int(config["max_batch_size"]) > 0
    if not (config.get("input") or config.get("batch_input")):
        config["input"] = _tensors(graph.inputs.values(), batched=batched)
    if not config.get("output"):
        config["output"] = _tensors(graph.outputs.values(), batched=batched)


def _complete_batching(config: dict[str, Any], graph: Graph, default: int) -> None:
    given = int(config.get("max_batch_size", 0))
    if not graph.can_batch:
        if given:
            raise _cannot_batch(config, given)
        config["max_batch_size"] = 0
        return
    config["max_batch_size"] = given or default
    scheduled = "sequence_batching" in config or "dynamic_batching" in config
    if config["max_batch_size"] > 1 and not scheduled:
        config["dynamic_batching"] = {}


def _tensors(infos: Iterable[TensorInfo], *, batched: bool) -> list[dict[str, Any]]:
    return [_tensor(info, batched=batched) for info in infos]


def _tensor(info: TensorInfo, *, batched: bool) -> dict[str, Any]:
    dims = list(info.shape[1:] if batched else info.shape)
    tensor: dict[str, Any] = {"name": info.name, "data_type": info.data_type, "dims": dims or [1]}
    if batched and not dims:
        # Triton's dims cannot be empty: the graph's [batch] is the client's [batch, 1].
        tensor["reshape"] = {"shape": []}
    return tensor


def _cannot_batch(config: dict[str, Any], given: int) -> ConfigError:
    name = config.get("name", "")
    return ConfigError(
        f"autofill failed for model '{name}': model does not support batching while non-zero "
        f"max_batch_size ({given}) is specified",
        cause="an input or output of the graph has a fixed first dimension, or none",
        next_step="export the network with a dynamic first dimension, or set max_batch_size: 0",
        model=name,
        field="max_batch_size",
    )
