"""What a server says of a model: its tensors, versions and batching."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modelport.client.dtypes import DTYPES


@dataclass(frozen=True)
class TensorMetadata:
    """One input or output of a model.

    Attributes:
        name: as the model calls it.
        datatype: V2 name, for example ``FP32`` or ``BYTES``.
        shape: dimensions, -1 for any size; of a batching model the first is the batch.
        optional: whether a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class ModelMetadata:
    """A model as its server describes it.

    Attributes:
        name: the model's name.
        versions: those that serve, as the server names them; empty when it does not say.
        platform: for example ``onnxruntime_onnx`` or ``ensemble``.
        inputs: tensors that a request carries.
        outputs: tensors that an answer carries.
        decoupled: whether it answers a request with a stream of responses.
        max_batch_size: largest batch; 0 when the model does not batch, ``None`` when the
            server does not tell (the model configuration is an extension of the protocol).
        stateful: whether its requests belong to sequences.
        binary: whether the server takes tensors as bytes over HTTP (an extension), or as JSON.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    max_batch_size: int | None = None
    decoupled: bool = False
    stateful: bool = False
    binary: bool = True

    @property
    def batching(self) -> bool:
        """Whether the first dimension of each tensor is the batch."""
        return bool(self.max_batch_size)

    @cached_property
    def input_by_name(self) -> Mapping[str, TensorMetadata]:
        """The inputs by their names."""
        return {tensor.name: tensor for tensor in self.inputs}

    @cached_property
    def output_by_name(self) -> Mapping[str, TensorMetadata]:
        """The outputs by their names."""
        return {tensor.name: tensor for tensor in self.outputs}

    @cached_property
    def output_bytes(self) -> Mapping[str, int]:
        """How large each output is, of a batching model for one row; 0 where that is open."""
        return {tensor.name: _size_bytes(tensor, batching=self.batching) for tensor in self.outputs}

    @cached_property
    def largest_output_bytes(self) -> int:
        """The largest of :attr:`output_bytes`."""
        return max(self.output_bytes.values(), default=0)


def _size_bytes(tensor: TensorMetadata, *, batching: bool) -> int:
    shape = tensor.shape[1:] if batching else tensor.shape
    dtype = DTYPES.get(tensor.datatype)
    if dtype is None or dtype.kind == "O" or min(shape, default=1) < 1:
        return 0
    return math.prod(shape) * dtype.itemsize


def read(
    metadata: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    server: Mapping[str, Any] | None = None,
) -> ModelMetadata:
    """Build metadata from the V2 documents of ``/v2/models/NAME``, ``…/config`` and ``/v2``.

    Args:
        metadata: the model metadata document.
        config: the model configuration, where the server gives it.
        server: the server metadata, of a server that does not: it lists extensions.

    Raises:
        KeyError, TypeError, ValueError: when a document is not what the protocol says.
    """
    optional = {
        tensor["name"] for tensor in (config or {}).get("input", ()) if tensor.get("optional")
    }
    policy = (config or {}).get("model_transaction_policy")
    return ModelMetadata(
        name=metadata["name"],
        versions=tuple(metadata.get("versions") or ()),  # KServe 0.21: null
        platform=metadata.get("platform") or "",
        inputs=_tensors(metadata["inputs"], optional),
        outputs=_tensors(metadata["outputs"], frozenset()),
        max_batch_size=None if config is None else int(config["max_batch_size"]),
        decoupled=bool(policy and policy.get("decoupled")),
        stateful="sequence_batching" in (config or {}),
        binary=server is None or "binary_tensor_data" in (server.get("extensions") or ()),
    )


def _tensors(
    documents: Iterable[Mapping[str, Any]], optional: Iterable[str]
) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(
            name=document["name"],
            datatype=document["datatype"],
            shape=tuple(int(size) for size in document["shape"]),
            optional=document["name"] in optional,
        )
        for document in documents
    )
