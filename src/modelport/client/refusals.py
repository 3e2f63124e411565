"""What a caller is told whose inputs a model does not take; nothing was sent then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelport.client.faults import near
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.errors import InvalidInputError


def refusal(
    tensor: TensorMetadata,
    metadata: ModelMetadata,
    what: str,
    hint: str | None = None,
    *,
    expected: object = None,
    got: object = None,
) -> InvalidInputError:
    """One input cannot be sent."""
    return InvalidInputError(
        f"input {tensor.name!r} of {metadata.name!r} {what}",
        next_step=hint,
        model=metadata.name,
        tensor=tensor.name,
        expected=expected,
        got=got,
    )


def wrong_datatype(
    tensor: TensorMetadata, metadata: ModelMetadata, got: str, hint: str | None = None
) -> InvalidInputError:
    """One input has values of another kind."""
    what = f"has the wrong datatype: expected {tensor.datatype}, got {got}"
    return refusal(tensor, metadata, what, hint, expected=tensor.datatype, got=got)


def wrong_shape(
    tensor: TensorMetadata, metadata: ModelMetadata, shape: tuple[int, ...]
) -> InvalidInputError:
    """One input has another shape."""
    return refusal(
        tensor,
        metadata,
        f"has the wrong shape: expected {list(tensor.shape)}, got {list(shape)}",
        "the first dimension is the batch" if metadata.batching else None,
        expected=list(tensor.shape),
        got=list(shape),
    )


def unknown(
    kind: str, names: Iterable[str], known: Mapping[str, TensorMetadata], metadata: ModelMetadata
) -> InvalidInputError:
    """The model has no tensor of the first name in ``names`` that is not in ``known``."""
    name = next(name for name in names if name not in known)
    return InvalidInputError(
        f"{metadata.name!r} has no {kind} {name!r}; it has {', '.join(map(repr, known))}",
        next_step=near(str(name), known),
        model=metadata.name,
        tensor=name,
    )


def missing(metadata: ModelMetadata, tensors: Iterable[TensorMetadata]) -> InvalidInputError:
    """Inputs that the model must have are not there."""
    lacking = list(tensors)
    lacks = "lacks" if lacking else "needs at least one of"
    return InvalidInputError(
        f"the request for {metadata.name!r} {lacks} {described(lacking or metadata.inputs)}",
        model=metadata.name,
        tensor=lacking[0].name if lacking else None,
    )


def described(tensors: Iterable[TensorMetadata]) -> str:
    """List tensors with datatype and shape."""
    return ", ".join(f"{t.name!r} ({t.datatype} {list(t.shape)})" for t in tensors)
