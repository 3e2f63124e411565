"""The inputs and outputs that an ONNX graph has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelport.errors import ConfigError
from modelport.serving.onnx.tensors import triton_type

ANY = -1  # a dimension of variable size


@dataclass(frozen=True)
class TensorInfo:
    """One input or output: Triton's datatype (``TYPE_FP32``) and shape, -1 where it varies."""

    name: str
    data_type: str
    shape: tuple[int, ...]

    @property
    def can_batch(self) -> bool:
        """Whether the first dimension exists and varies."""
        return bool(self.shape) and self.shape[0] == ANY


@dataclass(frozen=True)
class Graph:
    """What a graph takes and gives, by name.

    ``defaulted`` are the inputs with an initializer: the ones that a request
    may leave out.
    """

    inputs: Mapping[str, TensorInfo]
    defaulted: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    @classmethod
    def of(cls, session: Any) -> Graph:
        """Read the graph of an `onnxruntime.InferenceSession`.

        Raises:
            ConfigError: an input or output is no tensor (a sequence, map, …).
        """
        return cls(
            inputs=_infos(session.get_inputs()),
            defaulted=_infos(session.get_overridable_initializers()),
            outputs=_infos(session.get_outputs()),
        )

    @property
    def can_batch(self) -> bool:
        """Whether every input and output has a variable first dimension."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return all(tensor.can_batch for tensor in tensors)


def _infos(nodes: Iterable[Any]) -> dict[str, TensorInfo]:
    return {node.name: _info(node) for node in nodes}


def _info(node: Any) -> TensorInfo:
    if not node.type.startswith("tensor("):
        raise ConfigError(
            f"unsupported ONNX type '{node.type}' of '{node.name}', expected a tensor",
            cause="Triton carries tensors only; the graph takes or gives something else",
            next_step="export the model with plain tensors (for scikit-learn: zipmap=False)",
            tensor=node.name,
        )
    shape = tuple(size if isinstance(size, int) else ANY for size in node.shape)
    return TensorInfo(node.name, triton_type(node.type), shape)
