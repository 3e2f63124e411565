"""Generated wrappers on the real server, of models whose builders say nothing of their tensors."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from modelport.client import Client
from modelport.codegen import files, python
from modelport.errors import InterfaceMismatchError, InvalidInputError
from modelport.repository import interface
from modelport.repository.layout import Repository
from modelport.runtime.server import Server

HERE = Path(__file__).parent / "repository"
Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    models = interface.public(Repository(HERE))
    files.write(folder, python.modules(models, folder.as_posix()))
    return folder


@pytest.fixture(scope="module")
def load(clients: Path) -> Iterator[Load]:
    added = []

    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"typed_{name}", clients / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        added.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield loaded
    for name in added:
        sys.modules.pop(name, None)


def test_one_and_many(load: Load, client: Client) -> None:
    upper = load("upper").Upper(client)
    assert upper("lovely").loud == b"LOVELY"
    many = [f"text {number}" for number in range(20)]  # more than the model takes at once
    assert [row.loud.decode() for row in upper.batch(many)] == [one.upper() for one in many]


def test_a_stream(load: Load, server: Server) -> None:
    with load("stream").Stream(server.endpoints.grpc) as stream:
        assert [response.number for response in stream.stream(3)] == [0, 1, 2]


def test_sequences_are_kept_apart(load: Load, client: Client) -> None:
    total = load("total").Total(client)
    with total.sequence() as one, total.sequence() as other:
        assert (one.send(1).total, other.send(100).total) == (1, 100)
        assert one.send(2, end=True).total == 3
        assert other.send(200, end=True).total == 300


def test_as_a_program(clients: Path, server: Server) -> None:
    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(clients / f"{name}.py"), *arguments]
        url = server.endpoints.grpc
        return subprocess.run([*command, "--url", url], capture_output=True, text=True, check=False)

    assert run("stream", "2", "--json").stdout == (
        '{"count": "2", "number": 0}\n{"count": "2", "number": 1}\n'
    )
    sequence = run("total", "1", "2", "x", "4")
    assert sequence.stdout.splitlines() == [
        "1  total 1  live 1",
        "2  total 3  live 1",
        "4  total 7  live 1",
    ]
    assert sequence.returncode == 41
    assert "error: x: x: 'x' cannot be read as int" in sequence.stderr


def test_another_model_is_noticed_at_once(
    load: Load, repository: Path, start: Callable[..., tuple[Server, Client]]
) -> None:
    """The served model has another size, and asks for an input that the wrapper has not."""
    config = repository / "scale" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 4 ]", "dims: [ 2 ]"))
    _, client = start(repository, models=["scale", "upper"])
    with pytest.raises(InterfaceMismatchError) as refusal:
        load("scale").Scale(client)(np.ones(4, np.float32))
    assert "input 'x' is" in str(refusal.value)
    assert "expected FP32 [-1, 4]" in str(refusal.value)
    # others of the same server are as they were
    assert load("upper").Upper(client)("a").loud == b"A"


def test_arrays_of_another_rank_are_refused(load: Load, client: Client) -> None:
    scale = load("scale").Scale(client)
    with pytest.raises(InvalidInputError, match=r"one item, FP32 \[4\].*got float32\[1, 4\]"):
        scale(np.ones((1, 4), np.float32))
