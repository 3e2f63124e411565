"""Inputs that a network is called with for its export: one example, and others to compare with."""

from __future__ import annotations

from typing import NamedTuple

import torch

from modelport.spec.model import TorchModel
from modelport.spec.parts import Tensor

TORCH_TYPES = {
    "BOOL": torch.bool, "UINT8": torch.uint8, "INT8": torch.int8, "INT16": torch.int16,
    "INT32": torch.int32, "INT64": torch.int64, "FP16": torch.float16, "FP32": torch.float32,
    "FP64": torch.float64, "BF16": torch.bfloat16, "UINT16": torch.uint16,
    "UINT32": torch.uint32, "UINT64": torch.uint64,
}  # fmt: skip


class Size(NamedTuple):
    """Items of a batch, and the length of each dimension that varies."""

    items: int
    length: int

    def of(self, model: TorchModel) -> str:
        """Say it of a model, by what it has of them."""
        lengths = any(-1 in tensor.dims for tensor in model.inputs)
        words = [f"a batch of {self.items}"] * bool(model.max_batch_size)
        return " and ".join(words + [f"length {self.length}"] * lengths) or "other values"


# Two items: with one, torch.export takes the batch dimension for the constant 1. The length is a
# prime, so that it is no width of a layer; long enough for a network that cuts windows.
EXAMPLE = Size(2, 67)
# A little larger: what takes the example takes this, unless its size stands in the network.
LARGER = Size(3, 71)
# One item, an even length; and next to nothing. A network may refuse them.
OTHERS = (Size(1, 64), Size(2, 3))


def zeros(model: TorchModel) -> tuple[torch.Tensor, ...]:
    """Make the example: zeros of the declared shapes."""
    return tuple(
        torch.zeros(_shape(model, tensor, EXAMPLE), dtype=TORCH_TYPES[tensor.datatype])
        for tensor in model.inputs
    )


def drawn(model: TorchModel, size: Size) -> tuple[torch.Tensor, ...]:
    """Draw inputs of a size: normal floats, integers of 0 and 1, which every vocabulary has."""
    random = torch.Generator().manual_seed(size.items * size.length)
    return tuple(_draw(model, tensor, size, random) for tensor in model.inputs)


def _draw(model: TorchModel, tensor: Tensor, size: Size, random: torch.Generator) -> torch.Tensor:
    shape, kind = _shape(model, tensor, size), TORCH_TYPES[tensor.datatype]
    if kind.is_floating_point:
        return torch.randn(shape, generator=random).to(kind)
    return torch.randint(0, 2, shape, generator=random).to(kind)


def _shape(model: TorchModel, tensor: Tensor, size: Size) -> list[int]:
    items = [size.items] if model.max_batch_size else []
    return items + [size.length if dim == -1 else dim for dim in tensor.dims]
