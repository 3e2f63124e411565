"""The tensors that a wrapper was made for, and whether those of the served model fit them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.url import URL_VARIABLE, default_url
from modelport.errors import InterfaceMismatchError

# Triton's usual gRPC port; streams of tensors need gRPC.
_GRPC_URL = "grpc://127.0.0.1:8001"


class Tensor(NamedTuple):
    """One input or output; ``dims`` is the shape of one item, without the batch."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.dims)}"


@dataclass(frozen=True)
class Model:
    """A model as a wrapper knows it.

    Attributes:
        name: that the server knows it by.
        inputs: what a request carries.
        outputs: what an answer carries.
        max_batch_size: 0 for a model that does not batch.
        decoupled: it answers with a stream.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 0
    decoupled: bool = False

    @property
    def batching(self) -> bool:
        """Whether tensors have the batch before their ``dims``."""
        return self.max_batch_size > 0

    @cached_property
    def input_by_name(self) -> Mapping[str, Tensor]:
        """The inputs by their names."""
        return {tensor.name: tensor for tensor in self.inputs}

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs; a newer model may have more, which are not asked for."""
        return tuple(tensor.name for tensor in self.outputs)

    @property
    def default_url(self) -> str:
        """Where its server is, unless a caller says: the environment's, else the usual one."""
        streams = self.decoupled and not os.environ.get(URL_VARIABLE)
        return _GRPC_URL if streams else default_url()

    def check(self, served: ModelMetadata, client: str) -> None:
        """Compare with what the server of a client says of the model.

        A served model may take more (sizes, optional inputs) and give more outputs; what a
        wrapper sends and reads must be there, with its type and shape.

        Raises:
            InterfaceMismatchError: it has not.
        """
        found = list(self._differences(served))
        if not found:
            return
        listed = "\n".join(f"  {difference}" for difference in found)
        raise InterfaceMismatchError(
            f"the model {self.name!r} that serves is not the one that this wrapper was made for"
            f"\n{listed}",
            cause="it was built anew with other tensors, or the URL is that of another server",
            next_step="modelport codegen python makes the wrapper anew",
            client=client,
            model=self.name,
            differences=found,
        )

    def _differences(self, served: ModelMetadata) -> Iterator[str]:
        if served.decoupled != self.decoupled:
            kinds = ("one answer", "a stream")
            expected, got = kinds[self.decoupled], kinds[served.decoupled]
            yield f"a request is answered by {got}, expected {expected}"
        for tensor in self.inputs:
            there = served.input_by_name.get(tensor.name)
            yield from self._difference("input", tensor, there)
            if (
                there
                and tensor.optional
                and not there.optional
                and served.max_batch_size is not None
            ):
                yield f"input {tensor.name!r} is required, expected optional"
        for tensor in self.outputs:
            yield from self._difference("output", tensor, served.output_by_name.get(tensor.name))
        for new in served.inputs:
            if new.name not in self.input_by_name and not new.optional:
                yield f"input {new.name!r} is new and required"

    def _difference(self, kind: str, tensor: Tensor, there: TensorMetadata | None) -> Iterator[str]:
        expected = (-1, *tensor.dims) if self.batching else tensor.dims
        if there is None:
            yield f"there is no {kind} {tensor.name!r}"
        elif there.datatype != tensor.datatype or not _fits(kind, expected, there.shape):
            yield (
                f"{kind} {tensor.name!r} is {there.datatype} {list(there.shape)},"
                f" expected {tensor.datatype} {list(expected)}"
            )


def _fits(kind: str, expected: tuple[int, ...], there: tuple[int, ...]) -> bool:
    """Whether a size may vary where the one that takes the tensor is prepared for that."""
    if len(expected) != len(there):
        return False
    pairs = zip(expected, there, strict=True)
    taken = [(there, here) if kind == "input" else (here, there) for here, there in pairs]
    return all(takes in (-1, given) for takes, given in taken)
