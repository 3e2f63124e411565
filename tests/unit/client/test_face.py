"""What the package shows, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import modelport.client
from modelport import errors

HEAVY = [
    "asyncio",
    "torch",
    "onnx",
    "onnxruntime",
    "pydantic",
    "tritonclient",
    "grpc",
    "gevent",
    "rich",
]


def loaded_after(code: str, modules: list[str]) -> list[str]:
    script = (
        f"{code}\nimport json, sys\nprint(json.dumps([m for m in {modules} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def test_all_names_everything_public_and_nothing_else() -> None:
    import types

    public = {
        name
        for name in dir(modelport.client)
        if not name.startswith("_")
        and not isinstance(getattr(modelport.client, name), types.ModuleType)
    }
    assert public - {"annotations", "TYPE_CHECKING", "Any"} == set(modelport.client.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = modelport.client.Klient


def test_every_client_error_is_exported() -> None:
    def tree(kind: type) -> set[str]:
        return {kind.__name__}.union(*(tree(leaf) for leaf in kind.__subclasses__()))

    assert tree(errors.ClientError) <= set(modelport.client.__all__)


def test_importing_loads_neither_servers_nor_transports() -> None:
    assert loaded_after("import modelport.client", HEAVY) == []


@pytest.mark.parametrize(("scheme", "there"), [("http", []), ("grpc", ["grpc", "tritonclient"])])
def test_a_client_loads_its_own_transport_only(scheme: str, there: list[str]) -> None:
    code = f"from modelport.client import Client; Client('{scheme}://127.0.0.1:1')"
    others = ["gevent", "geventhttpclient", "aiohttp", "torch", "onnx", "pydantic"]
    assert loaded_after(code, ["grpc", "tritonclient", *others]) == there
