"""Inference requests and answers of the HTTP side: JSON, with binary tensors behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelport.client.dtypes import DTYPES, Array
from modelport.client.exchange import SequenceStep
from modelport.client.testing import content
from modelport.client.testing.content import Sent
from modelport.client.testing.core import Core
from modelport.client.testing.requests import Refusal, Request

_RESERVED = ("sequence_id", "sequence_start", "sequence_end", "binary_data_output")
_ONE_OF = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters',"
    " 'shared_memory_region' in 'parameters'. But"
)

Wanted = Mapping[str, Mapping[str, Any]]


def parse(body: bytes) -> Any:
    """Read JSON.

    Raises:
        Refusal: it is none.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise Refusal(f"failed to parse the request JSON buffer: {error}", "INTERNAL") from error


def field(document: Any, name: str) -> Any:
    """Give a field of a JSON object.

    Raises:
        Refusal: it has none of that name.
    """
    if not isinstance(document, dict) or name not in document:
        what = f"Unable to parse '{name}': attempt to access non-existing object member '{name}'"
        raise Refusal(what, "INTERNAL")
    return document[name]


def read(
    core: Core, name: str, version: str, body: bytes, headers: Mapping[str, str]
) -> tuple[Request, list[Sent], Wanted]:
    """Read a request: what it is, its inputs, and the parameters of each output.

    Raises:
        Refusal: in Triton's words.
    """
    head, binary = _parts(body, headers)
    document = parse(head)
    inputs = field(document, "inputs")
    parameters = document.get("parameters", {})
    request = request_of(name, version, str(document.get("id", "")), parameters, headers)
    rest = memoryview(binary)
    sent = []
    for tensor in inputs:
        one, used = _sent(core, name, tensor, rest)
        rest = rest[used:]
        sent.append(one)
    if len(rest):
        raise Refusal(f"unexpected additional input data for model '{name}'")
    outputs = document.get("outputs", [])
    request.outputs = [field(output, "name") for output in outputs]
    binary_output = {"binary_data": bool(parameters.get("binary_data_output"))}
    if not outputs:
        known = core.find(name, version).metadata.outputs
        return request, sent, {tensor.name: binary_output for tensor in known}
    return request, sent, {output["name"]: output.get("parameters", {}) for output in outputs}


def request_of(
    name: str, version: str, id_: str, parameters: Any, headers: Mapping[str, str]
) -> Request:
    """Make the record of a request.

    Raises:
        Refusal: its priority is no number above 0.
    """
    priority = parameters.get("priority", 0)
    if not isinstance(priority, int) or priority < 0:
        what = "Unable to parse 'priority': attempt to access JSON non-unsigned-integer as"
        raise Refusal(f"{what} unsigned-integer", "INTERNAL")
    number = parameters.get("sequence_id", 0)
    start, end = parameters.get("sequence_start"), parameters.get("sequence_end")
    return Request(
        model=name,
        version=version,
        id=id_,
        sequence=SequenceStep(number, bool(start), bool(end)) if number else None,
        parameters={n: value for n, value in parameters.items() if n not in _RESERVED},
        headers=headers,
        transport="http",
    )


def write(
    core: Core, request: Request, wanted: Wanted, version: str, outputs: Mapping[str, Array]
) -> tuple[bytes, bytes]:
    """Give the JSON of an answer, and the binary tensors behind it.

    Raises:
        Refusal: an output cannot be written in the way that was asked for.
    """
    known = core.find(request.model, request.version).metadata.output_by_name
    written, binary = [], []
    for name, array in outputs.items():
        datatype, parameters = known[name].datatype, wanted.get(name, {})
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if "shared_memory_region" in parameters:
            _place(core, parameters, content.to_bytes(datatype, array), name)
        elif parameters.get("binary_data"):
            binary.append(content.to_bytes(datatype, array))
            entry["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            entry["data"] = content.to_json(name, datatype, array)
        written.append(entry)
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    document |= {"model_name": request.model, "model_version": version, "outputs": written}
    return compact(document), b"".join(binary)


def compact(document: Any) -> bytes:
    """Write JSON as Triton does: no spaces, text as it is."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogateescape")


def _parts(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    given = headers.get("inference-header-content-length")
    if given is None:
        return body, b""
    size = int(given) if given.isdecimal() else -1
    if not 0 < size <= len(body):
        raise Refusal(f"inference header size should be in range (0, {len(body)}), got: {given}")
    return body[:size], body[size:]


def _sent(core: Core, model: str, tensor: Any, binary: memoryview) -> tuple[Sent, int]:
    """Read one input; give how many bytes of the binary part are its own."""
    name, datatype = field(tensor, "name"), field(tensor, "datatype")
    shape = tuple(int(size) for size in field(tensor, "shape"))
    if datatype not in DTYPES:
        raise Refusal(f"invalid datatype for input {name}")
    one, parameters = Sent(name, datatype, shape), tensor.get("parameters", {})
    ways = [
        "data" in tensor,
        "binary_data_size" in parameters,
        "shared_memory_region" in parameters,
    ]
    if sum(ways) != 1:
        raise Refusal(f"{_ONE_OF} {'no field is' if not any(ways) else 'multiple fields are'} set")
    if "data" in tensor:
        one.values = content.from_json(name, datatype, shape, tensor["data"])
        return one, 0
    if "shared_memory_region" in parameters:
        one.raw = core.memory.read(*_region(parameters))
        return one, 0
    size = int(parameters["binary_data_size"])
    if size > len(binary):
        raise Refusal(
            f"unexpected size for input '{name}', expecting {size - len(binary)} additional bytes"
            f" for model '{model}'"
        )
    one.raw = bytes(binary[:size])
    return one, size


def _region(parameters: Mapping[str, Any]) -> tuple[str, int, int]:
    return (
        str(parameters["shared_memory_region"]),
        int(parameters.get("shared_memory_offset", 0)),
        int(parameters.get("shared_memory_byte_size", 0)),
    )


def _place(core: Core, parameters: Mapping[str, Any], raw: bytes, output: str) -> None:
    region, offset, size = _region(parameters)
    core.memory.write(region, offset, size, raw, output)
