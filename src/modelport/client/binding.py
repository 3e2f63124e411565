"""From the arguments of a call to values by tensor name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.client import foreign, refusals
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.errors import InvalidInputError


def bind(
    metadata: ModelMetadata, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Give the values of a call by tensor name.

    ``model("text")`` is the value of the only input (or of the only one that is not optional),
    ``model(text="text")`` and ``model({"text": "text"})`` name it. A data frame has a column for
    each input, or is the one 2-D tensor.

    Args:
        metadata: what the server says of the model.
        args: the positional arguments.
        kwargs: the named arguments: values by tensor name.

    Raises:
        InvalidInputError: there are several positional arguments, both kinds name the same
            input, or it is open which input is meant.
    """
    named = kwargs or {}
    if not args:
        return named
    if len(args) > 1:
        raise _by_name(metadata, f"{len(args)} inputs were given without their names")
    given = of_one(metadata, args[0])
    twice = given.keys() & named.keys()
    if twice:
        raise _by_name(metadata, f"input {min(twice)!r} was given twice")
    return {**given, **named} if named else given


def of_one(metadata: ModelMetadata, value: Any) -> Mapping[str, Any]:
    """Give the values that one argument holds, by tensor name.

    Raises:
        InvalidInputError: it is open which input is meant.
    """
    if isinstance(value, Mapping):
        return value
    columns = _columns(value)
    if columns and metadata.input_by_name.keys() >= set(columns):
        return {name: value[name] for name in columns}
    only = _only_input(metadata)
    if columns is None or (only is not None and only.shape[-1:] in ((-1,), (len(columns),))):
        if only is None:
            kind = type(value).__name__
            article = "an" if kind[0] in "aeiou" else "a"
            raise _by_name(metadata, f"{article} {kind} was given without its name")
        return {only.name: value}
    if only is not None:
        raise refusals.refusal(
            only,
            metadata,
            f"takes rows of the shape {list(only.shape[1:])}, and the data frame has"
            f" {len(columns)} columns",
            "choose the columns: frame[[…]]",
        )
    raise refusals.unknown("input", sorted(columns, key=str), metadata.input_by_name, metadata)


def _columns(value: Any) -> list[str] | None:
    """Give the names of a data frame's columns in their order; ``None`` for anything else."""
    if not foreign.is_frame(value) or not hasattr(value, "to_numpy"):
        return None
    return list(value.columns)


def _only_input(metadata: ModelMetadata) -> TensorMetadata | None:
    if len(metadata.inputs) == 1:
        return metadata.inputs[0]
    required = [tensor for tensor in metadata.inputs if not tensor.optional]
    return required[0] if len(required) == 1 else None


def _by_name(metadata: ModelMetadata, what: str) -> InvalidInputError:
    example = ", ".join(f"{tensor.name!r}: …" for tensor in metadata.inputs)
    return InvalidInputError(
        f"{what}; {metadata.name!r} takes {refusals.described(metadata.inputs) or 'no inputs'}",
        next_step=f"give each by its name: {{{example}}}" if example else None,
        model=metadata.name,
    )
