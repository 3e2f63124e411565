"""JSON Schemas of tensors, as `/infer` and `/generate` carry them."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from modelport.repository.interface import Interface, TensorInterface

Schema: TypeAlias = dict[str, Any]

_LARGEST = {"FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}
_FORMATS = {"FP32": "float", "FP64": "double", "INT32": "int32", "INT64": "int64"}
# A dimension that varies: no tensor is larger, and products of some stay below 2**63.
_MOST = 2**20


def infer_input(tensor: TensorInterface, interface: Interface) -> Schema:
    """Give the schema of an input in the request of `/infer`."""
    return _named(tensor, interface, "Values in row-major order; nested lists are taken too.", {})


def infer_output(tensor: TensorInterface, interface: Interface) -> Schema:
    """Give the schema of an output in the answer of `/infer`."""
    return _named(tensor, interface, "Values in row-major order.", labels(tensor), answer=True)


def flat(tensor: TensorInterface, *, answer: bool = False) -> Schema:
    """Give the schema of a tensor of one item in `/generate`: one value, or a flat list.

    In an answer Triton writes a list of one value as that value.
    """
    one = element(tensor, answer=answer)
    about = labels(tensor) if answer else {}
    if tensor.scalar or prod(tensor.dims) == 1:
        return {**one, **_described(tensor), **about}
    many: Schema = {"type": "array", "items": one}
    known = prod(dim for dim in tensor.dims if dim != -1)
    if -1 not in tensor.dims:
        many |= {"minItems": known, "maxItems": known}
    if answer and -1 in tensor.dims and known == 1:
        many = {"oneOf": [one, many]}
    return {**many, **_described(tensor), **about}


def element(tensor: TensorInterface, *, answer: bool = False) -> Schema:
    """Give the schema of one value.

    Of what is sent, the bounds of its datatype are part of it: Triton does not check them, and
    sends on 44 for a UINT8 of 300.
    """
    if tensor.datatype == "BOOL":
        return {"type": "boolean"}
    if tensor.datatype == "BYTES":
        return {"type": "string", "enum": list(tensor.values)} if tensor.values else _string(tensor)
    low, high = _bounds(tensor, answer=answer)
    whole = "INT" in tensor.datatype
    schema: Schema = {"type": "integer" if whole else "number"}
    if tensor.datatype in _FORMATS:
        schema["format"] = _FORMATS[tensor.datatype]
    # Whole bounds of a whole number; 0.0 would be written for 0 otherwise.
    bounds = {"minimum": low, "maximum": high}
    spelled = {k: int(v) if whole else v for k, v in bounds.items() if v is not None}
    return {**schema, **spelled}


def labels(tensor: TensorInterface) -> Schema:
    """Give the names of a tensor's classes, which JSON Schema has no word for."""
    return {"x-labels": list(tensor.labels)} if tensor.labels else {}


def _named(
    tensor: TensorInterface,
    interface: Interface,
    order: str,
    more: Schema,
    *,
    answer: bool = False,
) -> Schema:
    dims = tensor.dims
    # Of a sequence, Triton takes one item at a time, and batches those of several sequences.
    largest = 1 if interface.stateful else max(1, interface.max_batch_size)
    batch: list[Schema] = []
    if interface.batching:
        batch = [{"type": "integer", "minimum": 1, "maximum": largest}]
    shape = [*batch, *(_dimension(dim) for dim in dims)]
    data: Schema = {"type": "array", "description": order, "items": element(tensor, answer=answer)}
    if -1 not in dims:
        size = prod(dims)
        data |= {"minItems": size, "maxItems": size * largest}
    return {
        "type": "object",
        **_described(tensor),
        **more,
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": {
                "type": "array",
                "description": "Its product is the number of values.",
                **({"prefixItems": shape} if shape else {}),
                "items": False,
                "minItems": len(shape),
            },
            "data": data,
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _dimension(dim: int) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": _MOST} if dim == -1 else {"const": dim}


def _string(tensor: TensorInterface) -> Schema:
    if tensor.content == "json":
        return {"type": "string", "contentMediaType": "application/json"}
    return {"type": "string"}


def _bounds(tensor: TensorInterface, *, answer: bool) -> tuple[float | None, float | None]:
    low, high = _held(tensor.datatype) if not answer else (None, None)
    return (
        low if tensor.minimum is None else tensor.minimum,
        high if tensor.maximum is None else tensor.maximum,
    )


def _held(datatype: str) -> tuple[float, float]:
    """Give the least and the greatest value of a datatype."""
    if datatype in _LARGEST:
        return -_LARGEST[datatype], _LARGEST[datatype]
    bits = int(datatype.partition("INT")[2])
    if datatype.startswith("U"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _described(tensor: TensorInterface) -> Schema:
    doc = f"{tensor.doc[:1].upper()}{tensor.doc[1:]}." if tensor.doc else ""
    unit = f"In {tensor.unit}." if tensor.unit else ""
    instead = f"In place of `{tensor.instead_of}`." if tensor.instead_of else ""
    binary = tensor.content in ("image", "file")
    carried = "JSON carries text only: send its bytes by the binary extension." if binary else ""
    words = " ".join(part for part in (doc, unit, instead, carried) if part)
    return {"description": words} if words else {}
