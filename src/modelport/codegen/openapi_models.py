"""JSON Schemas of what a model takes and gives at `/infer` and `/generate`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelport.codegen import json_forms, openapi_tensors
from modelport.codegen.openapi_tensors import Schema
from modelport.repository.interface import Interface, TensorInterface


def key(interface: Interface) -> str:
    """Give a model's name as names of components may be."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", interface.model)


def schemas(interface: Interface) -> dict[str, Schema]:
    """Give the schemas of a model by the names that they have among the components."""
    root = key(interface)
    found: dict[str, Schema] = {}
    if not json_forms.why_not_infer(interface):
        inputs = [t for t in interface.inputs if json_forms.in_json(t)]
        for tensor, name in zip(inputs, _names(root, "input", inputs), strict=True):
            found[name] = openapi_tensors.infer_input(tensor, interface)
        outputs = interface.outputs
        for tensor, name in zip(outputs, _names(root, "output", outputs), strict=True):
            found[name] = openapi_tensors.infer_output(tensor, interface)
        found[f"{root}.InferRequest"] = _infer_request(interface, inputs)
        found[f"{root}.InferResponse"] = _infer_response(interface)
    if not json_forms.why_not_generate(interface):
        found[f"{root}.GenerateRequest"] = _generate_request(interface)
        found[f"{root}.GenerateResponse"] = _generate_response(interface)
    return found


def _names(root: str, side: str, tensors: Sequence[TensorInterface]) -> list[str]:
    """Name the schemas of tensors; signs that such names cannot have may make two alike."""
    found: list[str] = []
    for place, tensor in enumerate(tensors):
        name = f"{root}.{side}.{re.sub(r'[^A-Za-z0-9._-]', '_', tensor.name)}"
        found.append(f"{name}.{place}" if name in found else name)
    return found


def _infer_request(interface: Interface, inputs: Sequence[TensorInterface]) -> Schema:
    root = key(interface)
    names = {"name": {"enum": [tensor.name for tensor in interface.outputs]}}
    named = {"type": "object", "properties": names}
    parameters = "SequenceParameters" if interface.stateful else "RequestParameters"
    tensors = {
        "type": "array",
        "items": {"oneOf": [ref(name) for name in _names(root, "input", inputs)]},
        "minItems": 1,
        "maxItems": len(inputs),
    }
    if demands := _demands(interface, inputs):
        tensors["allOf"] = [_contains(names) for names in demands]
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Comes back in the answer."},
            "parameters": ref(parameters),
            "inputs": tensors,
            "outputs": {
                "type": "array",
                "description": "Which to answer with; all by default.",
                "items": {**named, "required": ["name"], "additionalProperties": False},
            },
        },
        "required": ["inputs", *(["parameters"] if interface.stateful else [])],
    }


def _demands(interface: Interface, inputs: Sequence[TensorInterface]) -> list[Sequence[str]]:
    """Say which inputs a request must have: exactly one of each list."""
    names = [tensor.name for tensor in inputs]
    found: list[Sequence[str]] = [[t.name] for t in inputs if not t.optional]
    for first in sorted({t.instead_of for t in interface.inputs if t.instead_of}):
        group = {first, *(t.name for t in interface.inputs if t.instead_of == first)}
        if given := [name for name in names if name in group]:
            found.append(given)
    return found


def _contains(names: Sequence[str]) -> Schema:
    name = {"const": names[0]} if len(names) == 1 else {"enum": list(names)}
    named = {"type": "object", "properties": {"name": name}, "required": ["name"]}
    return {"contains": named, "maxContains": 1}


def _infer_response(interface: Interface) -> Schema:
    root = key(interface)
    refs = [ref(name) for name in _names(root, "output", interface.outputs)]
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            **_answered_by(interface),
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": {"oneOf": refs}, "maxItems": len(refs)},
        },
        "required": ["model_name", "model_version", "outputs"],
    }


def _generate_request(interface: Interface) -> Schema:
    inputs = [tensor for tensor in interface.inputs if json_forms.in_generate(tensor)]
    request: Schema = {
        "type": "object",
        "properties": {tensor.name: openapi_tensors.flat(tensor) for tensor in inputs},
        "additionalProperties": False,
    }
    if required := [tensor.name for tensor in inputs if not tensor.optional]:
        request["required"] = required
    groups = _demands(interface, [tensor for tensor in inputs if tensor.optional])
    one_of = [{"oneOf": [{"required": [name]} for name in names]} for names in groups]
    return {**request, "allOf": one_of} if one_of else request


def _generate_response(interface: Interface) -> Schema:
    tensors = {t.name: openapi_tensors.flat(t, answer=True) for t in interface.outputs}
    return {
        "type": "object",
        "properties": {**_answered_by(interface), **tensors},
        "required": ["model_name", "model_version"],
    }


def _answered_by(interface: Interface) -> Schema:
    return {
        "model_name": {"const": interface.model},
        "model_version": {"type": "string", "pattern": "^[0-9]+$"},
    }


def ref(schema: str) -> Schema:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}
