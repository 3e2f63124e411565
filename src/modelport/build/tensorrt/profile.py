"""The shapes that an engine is made for: smallest, commonest, largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from modelport.errors import BuilderError
from modelport.spec.parts import Tensor
from modelport.spec.precision import Plan, Range
from modelport.spec.tensors import ModelInput

Shape: TypeAlias = tuple[int, ...]
# Smallest, commonest and largest shape of an input, the batch dimension included.
Shapes: TypeAlias = tuple[Shape, Shape, Shape]


def profile_of(
    inputs: Sequence[Tensor | ModelInput], max_batch_size: int, plan: Plan
) -> dict[str, Shapes]:
    """Give the optimization profile of a model.

    Args:
        inputs: as the builder or ``config.pbtxt`` declares them.
        max_batch_size: of the model; 0 where it does not batch.
        plan: gives the commonest batch, and the ranges of dimensions that vary.

    Raises:
        BuilderError: a dimension varies and has no range, or a range is not one; the message
            has the line to write.
    """
    names = [tensor.name for tensor in inputs]
    if strange := sorted(set(plan.lengths) - set(names)):
        _fail(f"`lengths` names {strange[0]!r}, and the inputs are {', '.join(names)}", strange[0])
    batch: list[Range] = []
    if max_batch_size:
        batch = [(1, min(plan.batch, max_batch_size), max_batch_size)]
    return {tensor.name: _shapes(tensor, batch, plan.lengths) for tensor in inputs}


def _shapes(
    tensor: Tensor | ModelInput, batch: Sequence[Range], lengths: Mapping[str, tuple[Range, ...]]
) -> Shapes:
    dims = tuple(tensor.dims)
    reshape = getattr(tensor, "reshape", None)
    if reshape is not None:  # what the backend gets instead
        dims = tuple(reshape.shape)
    varying, ranges = dims.count(-1), lengths.get(tensor.name, ())
    if len(ranges) != varying:
        line = ", ".join(["(1, 64, 256)"] * varying) + ("," if varying == 1 else "")
        _fail(
            f"input {tensor.name!r} has dims {list(dims)}: {varying} of them vary, and `lengths`"
            f" gives {len(ranges)} ranges for it",
            tensor.name,
            f'write lengths={{"{tensor.name}": ({line})}} into spec.Plan: smallest, commonest and'
            " largest of each"
            if varying
            else f"take {tensor.name!r} out of `lengths` of spec.Plan",
        )
    for given in ranges:
        if not given[0] <= given[1] <= given[2]:
            _fail(
                f"input {tensor.name!r}: `lengths` has {given}, which does not rise from the"
                " smallest to the largest",
                tensor.name,
            )
    left = iter(ranges)
    spans = [*batch, *(next(left) if dim == -1 else (dim, dim, dim) for dim in dims)]
    least, common, most = zip(*spans, strict=True) if spans else ((), (), ())
    return least, common, most


def _fail(what: str, tensor: str, next_step: str = "mend `lengths` of spec.Plan") -> NoReturn:
    raise BuilderError(
        f"plan: {what}",
        cause="an engine is made for ranges of shapes, and serves no other",
        next_step=next_step,
        field="lengths",
        tensor=tensor,
    )
