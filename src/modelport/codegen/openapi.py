"""An OpenAPI 3.1 document of the HTTP endpoints that tritonserver has for models.

It says what was tried on tritonserver 2.51, statuses and content types included; the extensions
of the protocol that need more than JSON (binary tensors, shared memory, classification) and the
control API, which Modelport restricts, are left out.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from importlib import resources
from typing import Any

from modelport.codegen import json_forms, openapi_models
from modelport.codegen.openapi_models import key as _key
from modelport.codegen.openapi_models import ref as _ref
from modelport.codegen.openapi_tensors import Schema
from modelport.errors import InterfaceError
from modelport.repository import digests
from modelport.repository.interface import Interface

VERSION = "3.1.0"

_ABOUT = """\
What tritonserver answers over HTTP for these models.

- Each path of a model also exists with `/versions/{number}` after the model's name.
- `/infer` takes and gives raw bytes instead of JSON lists with the header
  `Inference-Header-Content-Length`: Triton's binary tensor extension, faster and exact, and the
  only way for FP16 and BF16.
- NaN and infinities are written as `NaN`, `Infinity` and `-Infinity`, which is no JSON.
- Errors are `{"error": "…"}` whatever the content type says."""


def text(interfaces: Sequence[Interface]) -> str:
    """Give the document as JSON; the same interfaces give the same text.

    Raises:
        InterfaceError: two models would have operations of one name.
    """
    return json.dumps(document(interfaces), indent=2, ensure_ascii=False) + "\n"


def document(interfaces: Sequence[Interface]) -> dict[str, Any]:
    """Give the document.

    Raises:
        InterfaceError: two models would have operations of one name.
    """
    _check_names(interfaces)
    components = json.loads(
        (resources.files("modelport.codegen") / "data/openapi/components.json").read_text("utf-8")
    )
    paths = _server_paths()
    for interface in interfaces:
        components["schemas"].update(openapi_models.schemas(interface))
        paths.update(_model_paths(interface))
    return {
        "openapi": VERSION,
        "info": {
            "title": "Models",
            "description": _ABOUT,
            "version": digests.of_value([one.digest for one in interfaces])[:12],
        },
        "servers": [{"url": "http://127.0.0.1:8000"}],
        "tags": [
            {"name": "server"},
            *({"name": one.model, **_described(one)} for one in interfaces),
        ],
        "paths": paths,
        "components": components,
    }


def _check_names(interfaces: Sequence[Interface]) -> None:
    known: dict[str, str] = {}
    for interface in interfaces:
        other = known.setdefault(_key(interface), interface.model)
        if other != interface.model:
            raise InterfaceError(
                f"{interface.model!r} and {other!r} would have schemas and operations of one name",
                next_step="name one of them, and write a document of its own for the other",
                models=[interface.model, other],
            )


def _described(interface: Interface) -> Schema:
    limits = [f"- {limit}" for limit in interface.limits]
    words = [interface.doc, *(["", "What it is not good for:", "", *limits] if limits else [])]
    return {"description": "\n".join(words)} if interface.doc else {}


# --- paths ----------------------------------------------------------------------


def _server_paths() -> dict[str, Any]:
    return {
        "/v2/health/live": _get("live", "server", "Whether the server runs.", _ready()),
        "/v2/health/ready": _get(
            "ready", "server", "Whether the server and all its models answer now.", _ready()
        ),
        "/v2": _get(
            "serverMetadata", "server", "What the server is.", {"200": _json("ServerMetadata")}
        ),
        "/v2/models/stats": _get(
            "statistics", "server", "The counters of all models.", {"200": _json("Statistics")}
        ),
    }


def _model_paths(interface: Interface) -> dict[str, Any]:
    model, key = interface.model, _key(interface)
    root = f"/v2/models/{urllib.parse.quote(model, safe='')}"
    unknown = {"404": _response("NotFound")}
    paths = {
        root: _get(
            f"{key}_metadata",
            model,
            "Its tensors, and which versions serve.",
            {"200": _json("ModelMetadata"), **unknown},
        ),
        f"{root}/ready": _get(f"{key}_ready", model, "Whether it answers now.", _ready()),
        f"{root}/config": _get(
            f"{key}_config",
            model,
            "Its configuration.",
            {"200": _json("ModelConfig"), **unknown},
        ),
        f"{root}/stats": _get(
            f"{key}_statistics",
            model,
            "Its counters.",
            {"200": _json("Statistics"), "400": _response("Invalid")},
        ),
    }
    if not json_forms.why_not_infer(interface):
        paths[f"{root}/infer"] = _infer(interface)
    if not json_forms.why_not_generate(interface):
        name = "generate_stream" if interface.decoupled else "generate"
        paths[f"{root}/{name}"] = _generate(interface, name)
    return paths


def _infer(interface: Interface) -> dict[str, Any]:
    key = _key(interface)
    responses = {"200": _json(f"{key}.InferResponse"), **_failures("Invalid")}
    return _post(interface, "infer", f"{key}.InferRequest", responses)


def _generate(interface: Interface, name: str) -> dict[str, Any]:
    key = _key(interface)
    if interface.decoupled:
        content = {"text/event-stream": {"schema": _event(key)}}
        answer = {"description": "The responses, as server-sent events.", "content": content}
        responses = {"200": answer, **_failures("StreamRefused")}
    else:
        responses = {"200": _json(f"{key}.GenerateResponse"), **_failures("Invalid")}
    return _post(interface, name, f"{key}.GenerateRequest", responses)


def _event(key: str) -> Schema:
    """Give the schema of each event, which is what OpenAPI 3.1 has for a stream."""
    document = {"anyOf": [_ref(f"{key}.GenerateResponse"), _ref("Error")]}
    data = {
        "type": "string",
        "description": "One response; an Error is the last.",
        "contentMediaType": "application/json",
        "contentSchema": document,
    }
    return {"type": "object", "properties": {"data": data}, "required": ["data"]}


def _get(operation: str, tag: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    found = {"operationId": operation, "tags": [tag], "summary": summary, "responses": responses}
    return {"get": found}


def _post(
    interface: Interface, name: str, request: str, responses: dict[str, Any]
) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{request}"}
    found = {
        "operationId": f"{_key(interface)}_{name}",
        "tags": [interface.model],
        "summary": interface.doc or f"Run `{interface.model}`.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": responses,
    }
    return {"post": found}


def _json(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": "The answer.", "content": content}


def _response(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _ready() -> dict[str, Any]:
    return {"200": _response("Ready"), "400": _response("NotReady")}


def _failures(refused: str) -> dict[str, Any]:
    usual = {"404": "NotFound", "500": "Failed", "501": "Unsupported", "503": "Overloaded"}
    return {status: _response(name) for status, name in {"400": refused, **usual}.items()}
