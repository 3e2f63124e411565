"""The command line of a generated wrapper, and the values that its examples have."""

from __future__ import annotations

import textwrap

from modelport.codegen.python_layout import WIDTH, Bracketed, Node, prefixed, quoted
from modelport.codegen.python_types import Parameter, Types, shape
from modelport.repository.interface import Interface, TensorInterface


def declared(interface: Interface, types: Types) -> Bracketed:
    """Write what the command line of a wrapper is like."""
    subject = types.subject
    options = [_argument(one) for one in types.parameters if one is not subject]
    about = interface.doc or f"Calls the model {interface.model}."
    fields: list[Node] = [f"description={quoted(_short(about))}"]
    if subject:
        fields.append(prefixed("subject=", _argument(subject)))
    if options:
        fields.append(Bracketed("options=(", options))
    shares = [one.name for one in types.results if _is_share(one.tensor)]
    if shares:
        fields.append(Bracketed("shares=(", [quoted(name) for name in shares]))
    if interface.decoupled:
        fields.append('way="stream"')
    elif interface.stateful:
        fields.append('way="sequence"')
    return Bracketed("PROGRAM = typed.Program(", fields)


def sample(one: Parameter) -> str:
    """Give a value for an example, as Python has it."""
    kind = _kind(one)
    samples = {"text": '"some text"', "file": '"file"', "texts": '["some text"]', "json": "{}"}
    if one.tensor.content == "image":
        return '"photo.png"'
    return {**samples, "int": "1", "float": "1.0", "bool": "True"}.get(kind, "[...]")


def sample_word(one: Parameter) -> str:
    """Give a value for an example, as a shell has it."""
    kind = _kind(one)
    if one.tensor.content == "image":
        return "photo.png"
    words = {"text": '"some text"', "file": "file", "texts": '"some text"', "json": "'{}'"}
    return {**words, "int": "1", "float": "1.0", "bool": "true"}.get(kind, "array.npy")


def _argument(one: Parameter) -> Bracketed:
    doc = "path of a file" if one.pixels else one.tensor.doc or shape(one.tensor)
    given = [quoted(one.name), quoted(_kind(one)), quoted(_short(doc))]
    required = ["required=True"] if one.required else []
    return Bracketed("typed.Argument(", given + required)


def _short(words: str) -> str:
    """Make words fit on a line of their own, deep in brackets."""
    return textwrap.shorten(words, WIDTH - 30, placeholder=" …")


def _kind(one: Parameter) -> str:
    tensor = one.tensor
    if tensor.datatype == "BYTES":
        if not tensor.scalar:
            return "texts" if len(tensor.dims) == 1 else "array"
        return {"image": "file", "file": "file", "json": "json"}.get(tensor.content, "text")
    return one.annotation if tensor.scalar else "array"


def _is_share(tensor: TensorInterface) -> bool:
    bounds = (tensor.minimum, tensor.maximum)
    return tensor.scalar and tensor.datatype.startswith("FP") and bounds == (0.0, 1.0)
