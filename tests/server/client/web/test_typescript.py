"""The generated TypeScript client under node, held against the Python client's answers."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.client import Client
from modelport.codegen import files, typescript
from modelport.repository import interface
from modelport.repository.layout import Repository
from modelport.runtime.server import Server

HERE = Path(__file__).parent
ZOO = HERE.parents[3] / "model_repository"
FLOATS = [0, -0.0, 1 / 3, -2.5, 65504, 65519, 65520, 6e-8, 1e-7, 3e-8, 6.1e-5, 2049]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, node: Any, tsc: Path) -> Path:
    """Packages for the models that are tested and for the zoo, and a program that uses one."""
    folder = tmp_path_factory.mktemp("typescript")
    ours = interface.public(Repository(HERE.parent / "repository"))
    files.write(folder, typescript.package(ours))
    files.write(folder / "zoo", typescript.package(interface.public(Repository(ZOO))))
    shutil.copy(HERE / "calls.ts", folder)
    node(tsc, "-p", folder)  # tsconfig.json asks for strict and more; what is wrong is printed
    return folder


@pytest.fixture(scope="module")
def found(package: Path, node: Any, server: Server) -> dict[str, Any]:
    """What the program printed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
        printed = node(package / "dist" / "calls.js", server.endpoints.http, closed)
    return dict(json.loads(printed))


def test_it_runs_as_it_is_without_being_compiled(package: Path, node: Any) -> None:
    script = "import { Scale } from './index.ts'; console.log(typeof Scale)"
    assert node("--input-type=module", "-e", script, cwd=package).strip() == "function"


def test_every_datatype_comes_back(found: dict[str, Any], client: Client) -> None:
    got = {name: value["data"] for name, value in found["echo"].items()}
    halves = [*FLOATS, 65504, np.inf, np.nan]
    brains = [*FLOATS, 1e38, -np.inf, np.nan]
    assert got["bool_out"] == [True, False]
    assert got["uint32_out"] == [0, 2**32 - 1]
    assert got["uint64_out"] == [str(2**64 - 1), "1"]
    assert got["int64_out"] == [str(-(2**63)), str(2**63 - 1)]
    assert got["bytes_out"] == ["grüße", "", "hi"]
    assert got["fp64_out"] == [0.1, 1e300]
    assert found["echo"]["fp32_out"]["shape"] == [2, 2]
    with np.errstate(over="ignore"):
        _equal(got["fp16_out"], np.array(halves, np.float16))
    asked = client.infer("echo", {"bf16": np.array([brains], "float32").astype(_bf16())})
    _equal(got["bf16_out"], asked["bf16_out"][0].astype(np.float32))
    _equal(got["fp32_out"], np.array([0.1, -np.inf, np.nan, 3e38], np.float32))


def test_items_and_batches_are_those_of_the_python_client(
    found: dict[str, Any], client: Client
) -> None:
    answer = client.infer("scale", {"x": [1, 2, 3, 4], "offset": 0.5})
    assert found["scale"] == {"y": answer["y"][0].tolist(), "total": answer["total"].item()}
    rows = np.array([[at, 1, 2, 3] for at in range(20)], np.float32)
    parts = [client.infer("scale", {"x": rows[at : at + 8]})["y"] for at in (0, 8, 16)]
    assert [row["y"] for row in found["batch"]] == np.concatenate(parts).tolist()
    assert found["json"] == [{"loud": "GRüßE"}, {"loud": "B"}]


def test_streams_and_sequences(found: dict[str, Any]) -> None:
    assert found["stream"] == [0, 1, 2, 3, 4]
    assert found["left early"] == [0, 1, 2]
    assert found["sequence"] == [1, 11, 5]


@pytest.mark.parametrize(
    ("case", "kind", "status"),
    [
        ("too few values", "InvalidInputError", None),
        ("no number", "InvalidInputError", None),
        ("too large", "InvalidInputError", None),
        ("missing", "InvalidInputError", None),
        ("unknown", "InvalidInputError", None),
        ("refused by the server", "InvalidInputError", 400),
        ("refused by the model", "InvalidInputError", 400),
        ("fault", "ServerFaultError", 500),
        ("no model", "ModelNotFoundError", 404),
        ("no version", "ModelNotFoundError", 404),
        ("restricted", "UnauthorizedError", 403),
        ("no server", "ServerUnreachableError", None),
        ("no protocol", "ProtocolError", 404),
        ("deadline", "DeadlineExceededError", None),
        ("cancelled", "CallCancelledError", None),
        ("stream", "InvalidInputError", 400),
    ],
)
def test_each_failure_has_its_class(
    found: dict[str, Any], case: str, kind: str, status: int | None
) -> None:
    failure = found["failures"][case]
    assert (failure["name"], failure.get("status")) == (kind, status), failure


def test_failures_tell_what_is_known(found: dict[str, Any]) -> None:
    failures = found["failures"]
    assert failures["refused by the server"]["requestId"] == "r-1"
    assert failures["refused by the server"]["attempts"] == 1
    assert failures["too few values"]["attempts"] == 0
    assert failures["no server"]["attempts"] == 2
    assert "expected shape [4], got [2]" in failures["too few values"]["message"]
    assert found["is a class"] is True


def test_questions(found: dict[str, Any]) -> None:
    assert found["ready"] == [True, True, False]
    assert found["metadata"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]
    assert found["config"] == 8
    assert found["statistics"][0]["name"] == "upper"


def _bf16() -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def _equal(got: list[Any], expected: np.ndarray[Any, Any]) -> None:
    """Compare values, zeros with their signs."""
    values = np.array([float(value) for value in got])
    np.testing.assert_array_equal(values, expected.astype(np.float64))
    np.testing.assert_array_equal(np.signbit(values), np.signbit(expected))
