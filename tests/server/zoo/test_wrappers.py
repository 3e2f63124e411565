"""`clients/` is what the built zoo gives, and every wrapper answers as the model does."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from modelport.cli.interfaces import chosen
from modelport.client import Client
from modelport.codegen import files, python
from modelport.repository import interface
from modelport.repository.interface import Interface
from modelport.repository.layout import Repository
from modelport.repository.samples import FILE_NAME, Samples
from modelport.runtime.server import Server

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / "clients"
# Built by name only, so it is no part of what is served here.
BY_NAME = {"textgen"}
MODELS = sorted(path.stem for path in CLIENTS.glob("*.py") if path.stem not in BY_NAME)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"zoo_{name}", CLIENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def first(repository: Repository, name: str) -> Any:
    """A request of one item, as the version's own proof has it: its inputs by name."""
    folder = repository.folder(name)
    version = folder.served_versions()[-1]
    samples = Samples.read(folder.version_dir(version) / FILE_NAME)
    single = (one for one in samples.cases if len(next(iter(one.inputs.values()))) == 1)
    inputs = next(single, samples.cases[0]).inputs
    return {name: array[:1] for name, array in inputs.items()}


def arguments(one: Interface, inputs: Any) -> dict[str, Any]:
    """The same as a wrapper takes it: one item, text as text."""
    found = {}
    for tensor in one.inputs:
        if tensor.name not in inputs:
            continue
        value = inputs[tensor.name][0]
        if tensor.datatype == "BYTES":
            texts = [each if tensor.content == "image" else each.decode() for each in value]
            value = texts[0] if tensor.scalar else texts
        elif tensor.scalar:
            value = value.item()
        found[tensor.instead_of or tensor.name] = value
    return found


def plain(value: Any) -> Any:
    """Make a tensor's item comparable with a field of a result."""
    if isinstance(value, np.ndarray) and value.dtype == np.object_:
        texts = [each.decode() if isinstance(each, bytes) else each for each in value.ravel()]
        return texts[0] if value.shape == (1,) else texts
    return value.item() if isinstance(value, np.ndarray) and value.shape == (1,) else value


def assert_same(one: Interface, result: Any, answer: Any) -> None:
    for field, tensor in zip(dataclasses.fields(result), one.outputs, strict=True):
        assert_equal(getattr(result, field.name), plain(answer[tensor.name][0]))


def assert_equal(found: Any, expected: Any) -> None:
    """Floats may differ a little: rows of other batches are summed in another order."""
    if isinstance(expected, float) or getattr(expected, "dtype", np.dtype("O")).kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


def test_the_committed_wrappers_are_of_what_was_built(repository: Repository) -> None:
    built = interface.public(repository)
    assert {one.model for one in built if not one.described} <= BY_NAME
    # What is not built here has its words from its builder, so that all of every file is compared.
    declared = {one.model: one for one in chosen(ROOT, (), ROOT / "builders")}
    built = [one if one.described else declared[one.model] for one in built]
    content = python.modules(built, "clients")
    found = files.differences(
        CLIENTS, content, same=python.comparison(built), ours=python.is_generated, pattern="*.py"
    )
    assert found == [], "modelport codegen python"


def test_builders_say_what_was_built(repository: Repository) -> None:
    """So a checkout without weights can be checked: modelport codegen python --builders."""
    declared = {one.model: one.digest for one in chosen(ROOT, (), ROOT / "builders")}
    built = {one.model: one.digest for one in interface.public(repository) if one.described}
    assert built == {name: digest for name, digest in declared.items() if name not in BY_NAME}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrapper_answers_as_the_model(
    name: str, repository: Repository, server: Server, grpc: Client
) -> None:
    one, inputs, module = interface.read(repository, name), first(repository, name), load(name)
    wrapper = getattr(module, next(n for n in vars(module) if n.lower() == name.replace("_", "")))
    given, names = arguments(one, inputs), [tensor.name for tensor in one.outputs]
    with wrapper(server.endpoints.grpc) as asked:
        if one.decoupled:
            results = list(asked.stream(**given))
            for result, answer in zip(results, grpc.stream(name, inputs), strict=True):
                assert_same(one, result, answer)
        elif one.stateful:
            with asked.sequence() as sequence, grpc.sequence(name) as other:
                expected = other.send(inputs, outputs=names, end=True)
                assert_same(one, sequence.send(**given, end=True), expected)
        else:
            expected = grpc.infer(name, inputs, outputs=names)
            assert_same(one, asked(**given), expected)


@pytest.fixture
def asked_with(tmp_path: Path, repository: Repository) -> Iterator[Any]:
    """Words of the command line for the sample of a model."""

    def words(one: Interface) -> list[str]:
        given = arguments(one, first(repository, one.model))
        required = [tensor for tensor in one.inputs if not tensor.optional]
        alone = [tensor for tensor in one.inputs if tensor.content == "image"] or required
        subject = alone[0].name if len(alone) == 1 else ""
        found = []
        for name, value in given.items():
            path = tmp_path / name
            if isinstance(value, bytes):
                path.write_bytes(value)
                value = str(path)
            elif isinstance(value, np.ndarray):
                path = path.with_suffix(".npy")
                np.save(path, value)
                value = str(path)
            option = "" if name == subject else f"--{name.replace('_', '-')}"
            for each in value if isinstance(value, list) else [value]:
                found.append(f"{option}={each}" if option else str(each))
        return found

    return words


@pytest.mark.parametrize("name", MODELS)
def test_a_wrapper_is_a_program(
    name: str, repository: Repository, server: Server, grpc: Client, asked_with: Any
) -> None:
    one, inputs = interface.read(repository, name), first(repository, name)
    command = [sys.executable, str(CLIENTS / f"{name}.py"), "--url", server.endpoints.grpc]
    done = subprocess.run(
        [*command, "--json", *asked_with(one)], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if one.decoupled:
        answers = list(grpc.stream(name, inputs))
    elif one.stateful:
        answers = [grpc.sequence(name).send(inputs, end=True)]
    else:
        answers = [grpc.infer(name, inputs)]
    for line, answer in zip(lines, answers, strict=True):
        for tensor in one.outputs:
            assert_equal(line[tensor.name], plain(answer[tensor.name][0]))
