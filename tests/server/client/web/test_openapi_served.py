"""The generated OpenAPI document, held against tritonserver by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from modelport.client import Client
from modelport.codegen import openapi
from modelport.repository import interface
from modelport.repository.interface import Interface
from modelport.repository.layout import Repository
from modelport.runtime.server import Server

HERE = Path(__file__).parent
# `stream` would count for hours; `fussy` dies and `sleepy` sleeps when asked to.
MODELS = ("scale", "stream", "total", "upper")
# Sums of the largest numbers are infinite, which JSON cannot say.
_SMALL = {"minimum": -1e6, "maximum": 1e6}
BOUNDED = {"count": {"minimum": 0, "maximum": 20}, "x": _SMALL, "offset": _SMALL}


def interfaces() -> list[Interface]:
    found = interface.public(Repository(HERE.parent / "repository"))
    return [_bounded(one) for one in found if one.model in MODELS]


def _bounded(one: Interface) -> Interface:
    inputs = tuple(t.model_copy(update=BOUNDED.get(t.name, {})) for t in one.inputs)
    return one.model_copy(update={"inputs": inputs})


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(openapi.text(interfaces()), encoding="utf-8")
    validate(json.loads(path.read_text(encoding="utf-8")))
    return path


def explore(document: Path, server: Server, *options: str) -> str:
    """Run schemathesis; gives what it printed, whose last lines say what was tested."""
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis as st; st()"]
    config = ["--config-file", str(HERE / "schemathesis.toml")]
    run = ["run", str(document), "--url", server.endpoints.http, *options]
    done = subprocess.run(
        [*command, *config, *run], cwd=HERE, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_valid_requests_are_answered_as_the_document_says(document: Path, server: Server) -> None:
    printed = explore(document, server, "--mode", "positive")
    operations = sum(len(path) for path in json.loads(document.read_text())["paths"].values())
    assert f"Tested: {operations}" in printed


def test_invalid_requests_get_a_status_of_the_document(document: Path, server: Server) -> None:
    """Triton answers 500 to what is no JSON, and takes much that the document does not allow."""
    only = ["--mode", "negative", "--checks", "status_code_conformance", "--max-examples", "5"]
    explore(document, server, *only, "--include-path-regex", "/(infer|generate)$")
    with Client(server.endpoints.http) as client:
        assert client.infer("scale", {"x": [1, 2, 3, 4]})["total"].item() == 20


@pytest.mark.parametrize("model", MODELS)
def test_answers_say_what_the_document_says(server: Server, model: str, document: Path) -> None:
    """Of each tensor: its name, datatype and shape."""
    schemas: dict[str, Any] = json.loads(document.read_text())["components"]["schemas"]
    with Client(server.endpoints.http) as client:
        served = client.metadata(model)
    for side, tensors in (("input", served.inputs), ("output", served.outputs)):
        told = {k: v for k, v in schemas.items() if k.startswith(f"{model}.{side}.")}
        if model == "stream":  # which has no /infer
            assert not told
            continue
        for tensor in tensors:
            schema = told[f"{model}.{side}.{tensor.name}"]["properties"]
            assert schema["datatype"] == {"const": tensor.datatype}
            dims = [one.get("const", -1) for one in schema["shape"]["prefixItems"]]
            assert dims == list(tensor.shape)
        assert len(told) == len(tensors)
