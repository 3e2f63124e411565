"""What TypeScript calls the values of a tensor, and how it is described to people there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from modelport.repository.interface import TensorInterface, bounds

# Typed arrays by datatype; FP16 and BF16 are widened, because not every browser has halves.
_ARRAYS = {
    "UINT8": "Uint8Array",
    "UINT16": "Uint16Array",
    "UINT32": "Uint32Array",
    "UINT64": "BigUint64Array",
    "INT8": "Int8Array",
    "INT16": "Int16Array",
    "INT32": "Int32Array",
    "INT64": "BigInt64Array",
    "FP16": "Float32Array",
    "FP32": "Float32Array",
    "FP64": "Float64Array",
    "BF16": "Float32Array",
}
_LONG = ("INT64", "UINT64")
# More names than these make no union that anybody reads.
_MOST_VALUES = 64


def of(tensor: TensorInterface, *, answer: bool) -> str:
    """Give the type of one item's value, as it is answered or (wider) as it is taken."""
    one = _element(tensor, answer=answer)
    if tensor.scalar:
        return one
    many = _many(tensor, one, answer=answer)
    return f"Nd<{many}>" if is_nd(tensor) else many


def is_nd(tensor: TensorInterface) -> bool:
    """Whether an item is an array of several dimensions, which needs its shape."""
    return len(tensor.dims) > 1


def is_binary(tensor: TensorInterface) -> bool:
    """Whether the tensor's bytes are no text."""
    return tensor.datatype == "BYTES" and tensor.content in ("image", "file")


def _element(tensor: TensorInterface, *, answer: bool) -> str:
    if tensor.datatype == "BOOL":
        return "boolean"
    if tensor.datatype == "BYTES":
        return _text(tensor, answer=answer)
    if tensor.datatype in _LONG:
        return "bigint" if answer else "number | bigint"
    return "number"


def _text(tensor: TensorInterface, *, answer: bool) -> str:
    if tensor.values and len(tensor.values) <= _MOST_VALUES:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in tensor.values)
    if is_binary(tensor):
        return "Uint8Array"
    # Nobody says what it is: text comes out of it, and anything may go in.
    return "string" if answer or tensor.content else "string | Uint8Array"


def _many(tensor: TensorInterface, one: str, *, answer: bool) -> str:
    listed = f"({one})[]" if "|" in one else f"{one}[]"
    array = _ARRAYS.get(tensor.datatype)
    if answer:
        return array or listed
    return f"readonly {listed} | {array}" if array else f"readonly {listed}"


def doc(tensor: TensorInterface) -> list[str]:
    """Describe a tensor: its meaning, its unit and range, its type and shape on the wire."""
    lines = [tensor.doc[:1].upper() + tensor.doc[1:] + "."] if tensor.doc else []
    shape = ", ".join("any" if dim == -1 else str(dim) for dim in tensor.dims)
    facts = [tensor.datatype if tensor.scalar else f"{tensor.datatype} [{shape}]"]
    facts += [tensor.content] if tensor.content else []
    facts += [f"in {tensor.unit}"] if tensor.unit else []
    facts += [bounds(tensor.minimum, tensor.maximum)]
    facts += ["see `LABELS`"] if tensor.labels else []
    facts += [f"in place of `{tensor.instead_of}`"] if tensor.instead_of else []
    return [*lines, ", ".join(fact for fact in facts if fact) + "."]


def comment(lines: Sequence[str], indent: str = "") -> Iterable[str]:
    """Give lines as a TSDoc comment, however they end."""
    safe = [line.replace("*/", "*\\/") for text in lines for line in text.splitlines() or [""]]
    if len(safe) == 1:
        yield f"{indent}/** {safe[0]} */"
        return
    yield f"{indent}/**"
    yield from (f"{indent} * {line}".rstrip() for line in safe)
    yield f"{indent} */"
