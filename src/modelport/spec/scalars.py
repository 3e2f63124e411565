"""Scalar types of Triton's configuration, with the ranges that protobuf gives them."""

from __future__ import annotations

import struct
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

# Every dataclass of the specification refuses fields that it does not know.
STRICT = ConfigDict(defer_build=True, extra="forbid")


def _shortest_float32(value: float) -> float:
    """Return the shortest decimal that names the same float32.

    Protobuf stores 0.1 as a float32 and gives back 0.10000000149011612; its
    text format prints 0.1. With this both are one value.
    """
    try:
        stored = struct.pack("<f", value)
    except OverflowError:
        raise ValueError(f"{value} does not fit in a float32") from None
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short) < 3.4e38 and struct.pack("<f", short) == stored:
            return short
    return float(struct.unpack("<f", stored)[0])


def _dimension(value: int) -> int:
    if value < 1 and value != -1:
        raise ValueError(f"a dimension is 1 or more, or -1 for a variable one; got {value}")
    return value


Bool = Annotated[bool, Field(strict=True)]
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
UInt32 = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
UInt64 = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Float32 = Annotated[float, Field(strict=True), AfterValidator(_shortest_float32)]
Float64 = Annotated[float, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, Field(strict=True, min_length=1)]
Dimension = Annotated[Int64, AfterValidator(_dimension)]

DataType = Literal[
    "TYPE_INVALID",
    "TYPE_BOOL",
    "TYPE_UINT8",
    "TYPE_UINT16",
    "TYPE_UINT32",
    "TYPE_UINT64",
    "TYPE_INT8",
    "TYPE_INT16",
    "TYPE_INT32",
    "TYPE_INT64",
    "TYPE_FP16",
    "TYPE_FP32",
    "TYPE_FP64",
    "TYPE_STRING",
    "TYPE_BF16",
]


def at_most_one(owner: object, *fields: str) -> None:
    """Refuse an ``owner`` that sets more than one member of a protobuf oneof.

    Raises:
        ValueError: naming the members that exclude each other.
    """
    present = [name for name in fields if getattr(owner, name) is not None]
    if len(present) > 1:
        raise ValueError(f"{' and '.join(present)} exclude each other: keep one")


def unique(kind: str, names: list[str]) -> None:
    """Refuse ``names`` that repeat.

    Raises:
        ValueError: naming the first that appears twice.
    """
    repeated = [name for index, name in enumerate(names) if name in names[:index]]
    if repeated:
        raise ValueError(f"{kind} {repeated[0]!r} is declared twice")
