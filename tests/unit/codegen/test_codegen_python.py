"""Generated modules, whatever models and tensors are called and said to be."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interfaces import NAMES, interfaces

from modelport.client import Client
from modelport.codegen import python, python_names
from modelport.errors import InvalidInputError
from modelport.repository.interface import Interface, TensorInterface
from modelport.runtime import cache

FILE = TensorInterface(name="photo", datatype="BYTES", dims=(1,), optional=True, content="image")
PIXELS = TensorInterface(
    name="pixels", datatype="UINT8", dims=(-1, -1), optional=True, instead_of="photo"
)
COUNT = TensorInterface(name="count", datatype="INT32", dims=(1,), optional=True)
LABEL = TensorInterface(name="label", datatype="BYTES", dims=(1,), content="text", values=("a",))
TAGS = TensorInterface(name="items", datatype="BYTES", dims=(-1,), content="text")
BLOB = TensorInterface(name="class", datatype="BYTES", dims=(1,))
SCORES = TensorInterface(name="scores", datatype="FP32", dims=(2,), labels=("a", "b"))
PICTURES = Interface(
    model="pictures",
    described=True,
    max_batch_size=4,
    inputs=(FILE, PIXELS, COUNT),
    outputs=(LABEL, TAGS, BLOB, SCORES),
)


def loaded(interface: Interface, folder: Path) -> ModuleType:
    [(name, text)] = python.modules([interface], "clients").items()
    path = folder / name
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"generated_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Answering(Client):
    """A client that notes what is asked, and has its answer from the test."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.asked: list[dict[str, Any]] = []
        self.answer = answer

    def metadata(self, model: str, version: str | int = "", **given: Any) -> Any:
        from interfaces import served

        return served(PICTURES)

    def infer(self, model: str, inputs: Any, **given: Any) -> Any:
        self.asked.append(dict(inputs))
        size = len(next(iter(inputs.values())))
        return {name: np.stack([value] * size) for name, value in self.answer.items()}


ANSWER = {
    "label": np.array([b"a"], np.object_),
    "items": np.array([b"x", b"\xc3\xa9"], np.object_),
    "class": np.array([b"\xff"], np.object_),
    "scores": np.array([0.5, 0.5], np.float32),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return loaded(PICTURES, tmp_path_factory.mktemp("clients"))


def test_an_item_and_its_answer(pictures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    client = Answering(ANSWER)
    result = pictures.Pictures(client)(str(tmp_path / "a.png"), count=3)
    assert client.asked == [{"photo": [[b"png"]], "count": [[3]]}]
    assert (result.label, result.items, result.class_) == ("a", ["x", "é"], b"\xff")
    np.testing.assert_array_equal(result.scores, ANSWER["scores"])
    assert pictures.SCORES_LABELS == ("a", "b")


def test_items_that_fit_go_together_and_come_back_in_order(pictures: ModuleType) -> None:
    client = Answering(ANSWER)
    small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    results = pictures.Pictures(client).batch([small, b"file", large, small])
    assert len(results) == 4
    shapes = [{name: np.shape(value) for name, value in asked.items()} for asked in client.asked]
    assert shapes == [{"pixels": (2, 2, 2)}, {"photo": (1, 1)}, {"pixels": (1, 3, 3)}]
    assert pictures.Pictures(client).batch([]) == []


def test_a_failure_says_which_items_it_is_about(pictures: ModuleType) -> None:
    class Failing(Answering):
        def infer(self, model: str, inputs: Any, **given: Any) -> Any:
            if np.shape(inputs["pixels"])[1:] == (3, 3):
                raise InvalidInputError("too large")
            return super().infer(model, inputs, **given)

    small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    with pytest.raises(InvalidInputError) as failure:
        pictures.Pictures(Failing(ANSWER)).batch([small, large, small, large])
    assert failure.value.objects["items"] == [1, 3]


def test_colour_is_not_taken_for_a_batch(pictures: ModuleType) -> None:
    with pytest.raises(InvalidInputError, match=r"\[-1, -1\] \(-1: any size\), got uint8\[8, 8, 3"):
        pictures.Pictures(Answering(ANSWER))(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InvalidInputError, match="expected bytes or the path of a file, got int"):
        pictures.Pictures(Answering(ANSWER))(7)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_names_are_python_and_differ(names: list[str]) -> None:
    for choose in (python_names.parameters, python_names.fields):
        found = list(choose(names).values())
        assert len(set(found)) == len(names)
        assert all(name.isidentifier() and not name.startswith("__") for name in found)


@given(st.lists(interfaces(), min_size=1, max_size=3, unique_by=lambda one: one.model))
@hypothesis_settings(max_examples=25)
def test_modules_are_python(models: list[Interface]) -> None:
    found = python.modules(models, "clients")
    assert len(found) == len(models)
    for name, text in found.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that is none
            ast.parse(text)
        assert Path(name).stem not in sys.stdlib_module_names
        assert python.is_generated(text)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Modules of random interfaces, the same in every run."""
    found: list[Interface] = []

    @hypothesis_settings(max_examples=40, derandomize=True, database=None, phases=[Phase.generate])
    @given(interfaces())
    def draw(one: Interface) -> None:
        found.append(one.model_copy(update={"model": f"{one.model} {len(found)}"}))

    draw()
    folder = tmp_path_factory.mktemp("odd")
    for name, text in python.modules([PICTURES, *found], "clients").items():
        (folder / name).write_text(text)
    return folder


def test_they_are_formatted(odd: Path) -> None:
    command = ["format", "--diff", "--line-length", "100", "--isolated", str(odd)]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_they_are_strictly_typed(odd: Path) -> None:
    command = ["--strict", "--config-file", "", "--python-version", "3.10", str(odd)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MYPY_CACHE_DIR": str(cache.folder("tests") / "mypy")},
    )
    assert done.returncode == 0, done.stdout
