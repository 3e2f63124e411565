"""A TypeScript package that calls models over `fetch`: types from interfaces, no dependencies.

The protocol's part is written by hand (``data/typescript``) and copied; a module for each model
says what it takes and gives. It runs as it is under node, deno and bun, and `tsc` makes
JavaScript and declarations of it for browsers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from modelport.codegen import json_forms, typescript_types
from modelport.errors import InterfaceError
from modelport.repository.interface import Interface, TensorInterface

RUNTIME = "modelport"
# What a class must not be called: what the runtime offers, beside which it stands in index.ts, and
# what modules, or code that uses them, mean something else by.
RESERVED = {
    "CallCancelledError", "CallFacts", "CallOptions", "Client", "ClientError", "ClientOptions",
    "ConnectionLostError", "Data", "Datatype", "DeadlineExceededError", "Element", "HeaderSource",
    "InferOptions", "InvalidInputError", "Model", "ModelNotFoundError", "ModelSpec", "Nd",
    "NotReadyError", "OverloadedError", "ProtocolError", "Reply", "Sequence", "SequenceModel",
    "SequenceStep", "ServerFaultError", "ServerUnreachableError", "StreamingModel", "Tensor",
    "TensorSpec", "UnauthorizedError", "SPEC",
    "Array", "ArrayBuffer", "BigInt", "BigInt64Array", "BigUint64Array", "Boolean", "DataView",
    "Date", "Error", "Float32Array", "Float64Array", "Function", "Int16Array", "Int32Array",
    "Int8Array", "Intl", "Iterator", "JSON", "Map", "Math", "Number", "Object", "Promise",
    "Proxy", "Readonly", "Record", "Reflect", "RegExp", "Request", "Response", "Set", "String",
    "Symbol", "URL", "Uint16Array", "Uint32Array", "Uint8Array", "WeakMap", "WeakRef", "WeakSet",
}  # fmt: skip
_HEADER = "// Written by `modelport codegen typescript`; generate it again, do not edit it."


def package(interfaces: Sequence[Interface], *, name: str = "models") -> dict[str, str]:
    """Give the files of a package for some models, by path.

    Models whose streams cannot be had over HTTP are left out (:func:`left_out`), unless no other
    is there.

    Args:
        interfaces: of the models.
        name: of the npm package.

    Raises:
        InterfaceError: two models would have classes of one name, or no model can be called.
    """
    files = dict(_runtime())
    files["package.json"] = _package_json(name)
    modules: dict[str, Interface] = {}
    without = left_out(interfaces)
    wanted = [one for one in interfaces if one.model not in without] or interfaces
    for interface in wanted:
        stem = file_stem(interface.model)
        if (other := modules.get(stem)) is not None:
            _refuse_twins(interface, other)
        modules[stem] = interface
        files[f"{stem}.ts"] = module(interface)
    files["index.ts"] = _index(modules, without)
    return files


def left_out(interfaces: Sequence[Interface]) -> dict[str, str]:
    """Give the models that cannot be called over HTTP in JSON, and why."""
    whys = {one.model: json_forms.why_not_generate(one) for one in interfaces if one.decoupled}
    return {model: why for model, why in whys.items() if why}


def module(interface: Interface) -> str:
    """Give the module of one model.

    Raises:
        InterfaceError: its stream cannot be had over HTTP.
    """
    if why := left_out([interface]).get(interface.model):
        raise InterfaceError(
            f"{interface.model!r} cannot be called from TypeScript: {why}",
            cause="over HTTP a stream comes from /generate_stream, in JSON",
            next_step="name the models that are wanted, or call this one over gRPC",
            model=interface.model,
        )
    name = class_name(interface.model)
    base = _base(interface)
    inputs = tuple(t for t in interface.inputs if not interface.decoupled or _streams(t))
    labels = {t.name: t.labels for t in interface.outputs if t.labels}
    nd = any(typescript_types.is_nd(t) for t in (*inputs, *interface.outputs))
    names = ["Client", "ClientOptions", "ModelSpec", *(["Nd"] if nd else [])]
    types = ", ".join(f"type {one}" for one in names)
    parts = [
        _HEADER,
        "",
        f'import {{ {base} }} from "./{RUNTIME}/index.ts";',
        f'import {{ {types} }} from "./{RUNTIME}/index.ts";',
        "",
        _spec(interface, inputs),
        *_record(f"{name}Inputs", f"What `{interface.model}` takes.", inputs, answer=False),
        *_record(f"{name}Result", _result_doc(interface), interface.outputs, answer=True),
        *typescript_types.comment(_class_doc(interface)),
        f"export class {name} extends {base}<{name}Inputs, {name}Result> {{",
        *_labels(labels),
        "  /** @param server - a client to share, or the URL of the server's HTTP endpoint. */",
        "  constructor(server: Client | string | URL, options?: ClientOptions) {",
        "    super(server, SPEC, options);",
        "  }",
        "}",
    ]
    return "\n".join(parts) + "\n"


def file_stem(model: str) -> str:
    """Give the name of a model's module, without its suffix."""
    stem = re.sub(r"[^\w-]+", "_", model, flags=re.ASCII)
    return f"{stem}_model" if stem == "index" else stem


def class_name(model: str) -> str:
    """Give the name of a model's class: ``summarizer_stream`` is ``SummarizerStream``."""
    words = re.split(r"[^a-zA-Z0-9]+", model)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    name = name if name[:1].isalpha() else f"Model{name}"
    while not RESERVED.isdisjoint(_exported(name)):
        name += "Model"
    return name


def _exported(name: str) -> tuple[str, str, str]:
    """Name all that the module of a class exports."""
    return name, f"{name}Inputs", f"{name}Result"


def _refuse_twins(one: Interface, other: Interface) -> None:
    raise InterfaceError(
        f"{one.model!r} and {other.model!r} would have one module in TypeScript",
        next_step="name one of them, and generate the other elsewhere",
        models=[one.model, other.model],
    )


def _base(interface: Interface) -> str:
    if interface.decoupled:
        return "StreamingModel"
    return "SequenceModel" if interface.stateful else "Model"


def _streams(tensor: TensorInterface) -> bool:
    return json_forms.in_generate(tensor)


# --- the parts of a module ------------------------------------------------------


def _spec(interface: Interface, inputs: Sequence[TensorInterface]) -> str:
    lines = [
        "const SPEC = {",
        f"  name: {json.dumps(interface.model)},",
        f"  maxBatchSize: {interface.max_batch_size},",
    ]
    for side, tensors in (("inputs", inputs), ("outputs", interface.outputs)):
        lines.append(f"  {side}: [")
        lines += [f"    {_literal(_tensor_spec(t, answer=side == 'outputs'))}," for t in tensors]
        lines.append("  ],")
    return "\n".join([*lines, "} as const satisfies ModelSpec;", ""])


def _tensor_spec(tensor: TensorInterface, *, answer: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "dims": list(tensor.dims),
    }
    if tensor.optional:
        spec["optional"] = True
    if answer and typescript_types.is_binary(tensor):
        spec["binary"] = True
    if not answer:
        bounds = {"minimum": tensor.minimum, "maximum": tensor.maximum}
        spec |= {name: bound for name, bound in bounds.items() if bound is not None}
        spec |= {"values": list(tensor.values)} if tensor.values else {}
    return spec


def _literal(value: Mapping[str, Any]) -> str:
    members = (f"{name}: {json.dumps(member)}" for name, member in value.items())
    return f"{{ {', '.join(members)} }}"


def _record(
    name: str, doc: str, tensors: Iterable[TensorInterface], *, answer: bool
) -> Iterable[str]:
    yield from typescript_types.comment([doc])
    yield f"export interface {name} {{"
    for tensor in tensors:
        yield from typescript_types.comment(typescript_types.doc(tensor), indent="  ")
        mark = "?" if tensor.optional else ""
        key = tensor.name if re.fullmatch(r"[A-Za-z_]\w*", tensor.name, re.ASCII) else None
        key = key or json.dumps(tensor.name)
        yield f"  readonly {key}{mark}: {typescript_types.of(tensor, answer=answer)};"
    yield from ("}", "")


def _labels(labels: Mapping[str, Sequence[str]]) -> Iterable[str]:
    if not labels:
        return
    yield "  /** Names of the classes along the last dimension of outputs. */"
    yield "  static readonly LABELS = {"
    for name, names in labels.items():
        yield f"    {json.dumps(name)}: {json.dumps(list(names), ensure_ascii=False)},"
    yield from ("  } as const;", "")


def _class_doc(interface: Interface) -> list[str]:
    limits = [f"- {limit}" for limit in interface.limits]
    doc = interface.doc or f"Calls the model `{interface.model}`."
    return [doc, *(["", "What it is not good for:", *limits] if limits else [])]


def _result_doc(interface: Interface) -> str:
    if interface.decoupled:
        return f"One of the responses that `{interface.model}` streams."
    return f"What `{interface.model}` answers."


# --- the parts of the package ---------------------------------------------------


def _runtime() -> Iterable[tuple[str, str]]:
    folder = resources.files("modelport.codegen") / "data" / "typescript"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        content = file.read_text(encoding="utf-8")
        if file.name.endswith(".ts"):
            yield f"{RUNTIME}/{file.name}", f"{_HEADER}\n{content}"
        else:
            yield file.name, content


def _index(modules: Mapping[str, Interface], without: Mapping[str, str]) -> str:
    notes = [f"// {model!r} is left out: {why}." for model, why in without.items()]
    lines = [_HEADER, *notes, "", f'export * from "./{RUNTIME}/index.ts";']
    owners: dict[str, Interface] = {}
    for stem, interface in modules.items():
        name = class_name(interface.model)
        for exported in _exported(name):
            if (other := owners.get(exported)) is not None:
                _refuse_twins(interface, other)
            owners[exported] = interface
        names = f"{name}, type {name}Inputs, type {name}Result"
        lines.append(f'export {{ {names} }} from "./{stem}.ts";')
    return "\n".join(lines) + "\n"


def _package_json(name: str) -> str:
    content = {
        "name": name,
        "version": "0.0.0",
        "private": True,
        "description": "Typed clients of models, written by `modelport codegen typescript`.",
        "type": "module",
        "exports": {
            ".": {"types": "./dist/index.d.ts", "default": "./dist/index.js"},
            "./*": {"types": "./dist/*.d.ts", "default": "./dist/*.js"},
        },
        "files": ["dist"],
        "scripts": {"build": "tsc"},
        "engines": {"node": ">=20.3"},
        "devDependencies": {"typescript": ">=5.8"},
    }
    return json.dumps(content, indent=2) + "\n"
