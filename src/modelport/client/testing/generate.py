"""Triton's generate extension: flat JSON in, flat JSON or server-sent events out.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelport.client.dtypes import Array
from modelport.client.testing import content
from modelport.client.testing.content import Sent
from modelport.client.testing.core import Core
from modelport.client.testing.inference import compact, parse, request_of
from modelport.client.testing.models import FakeModel
from modelport.client.testing.requests import Refusal, Request

_ONE = (
    "generate expects model to produce exactly 1 response, use generate stream for model that"
    " generates various number of responses"
)


def single(
    core: Core, name: str, version: str, body: bytes, headers: Mapping[str, str]
) -> Iterator[bytes]:
    """Give the one document of ``/generate``.

    Raises:
        Refusal: before the first part.
    """
    request, sent = _read(core, name, version, body, headers)
    responses = list(core.infer(request, sent))
    if len(responses) != 1:
        yield compact({"error": _ONE})
    else:
        yield compact(_flat(core, request, *responses[0]))


def events(
    core: Core, name: str, version: str, body: bytes, headers: Mapping[str, str]
) -> Iterator[bytes]:
    """Give the events of ``/generate_stream``; a refusal after the first is an event as well.

    Raises:
        Refusal: before the first part.
    """
    request, sent = _read(core, name, version, body, headers)
    begun = False
    try:
        for answered, outputs in core.infer(request, sent):
            yield b"data: " + compact(_flat(core, request, answered, outputs)) + b"\n\n"
            begun = True
    except Refusal as error:
        if not begun:
            raise
        yield b"data: " + compact({"error": error.message}) + b"\n\n"
    except GeneratorExit:  # the connection broke
        core.left(request)
        raise


def _read(
    core: Core, name: str, version: str, body: bytes, headers: Mapping[str, str]
) -> tuple[Request, list[Sent]]:
    model = core.find(name, version)
    document = parse(body)
    if not isinstance(document, dict):
        raise Refusal("the request must be a JSON object")
    known = model.metadata.input_by_name
    parameters = document.get("parameters")
    others = {n: v for n, v in document.items() if n not in known and n not in ("id", "parameters")}
    given = (parameters if isinstance(parameters, dict) else {}) | others
    request = request_of(name, version, str(document.get("id", "")), given, headers)
    sent = [_sent(model, n, value) for n, value in document.items() if n in known]
    return request, sent


def _sent(model: FakeModel, name: str, value: Any) -> Sent:
    """Give a tensor the only shape that as many values can have."""
    tensor = model.metadata.input_by_name[name]
    count = len(value) if isinstance(value, list) else 1
    fixed = [size for size in tensor.shape if size != -1]
    known = 1
    for size in fixed:
        known *= size
    opened = len(tensor.shape) - len(fixed)
    batching = model.metadata.batching and opened > 1
    if (not opened and count != known) or count % known or opened > 2:
        raise Refusal(f"The schema can not convert input '{name}' to tensor with proper shape")
    left = count // known
    shape = []
    for size in tensor.shape:
        if size != -1:
            shape.append(size)
        elif batching and not shape:
            shape.append(1)
        else:
            shape.append(left)
            left = 1
    values = content.from_json(name, tensor.datatype, shape, value)
    return Sent(name, tensor.datatype, tuple(shape), values=values)


def _flat(
    core: Core, request: Request, version: str, outputs: Mapping[str, Array]
) -> dict[str, Any]:
    known = core.find(request.model, request.version).metadata.output_by_name
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    document |= {"model_name": request.model, "model_version": version}
    for name, array in outputs.items():
        values = content.to_json(name, known[name].datatype, array)
        document[name] = values[0] if len(values) == 1 else values
    return dict(sorted(document.items()))
