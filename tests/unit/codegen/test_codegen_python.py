"""Generated modules, whatever models and tensors are called and said to be."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import textwrap
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

TWO_FILES = Interface(
    model="two files",
    max_batch_size=4,
    inputs=(
        FILE,
        PIXELS,
        FILE.model_copy(update={"name": "mask"}),
        PIXELS.model_copy(update={"name": "mask_pixels", "instead_of": "mask"}),
        COUNT.model_copy(update={"optional": False}),
    ),
    outputs=(LABEL,),
)
# Named as the functions that make what is sent of them.
CONTENTS = Interface(
    model="contents",
    max_batch_size=4,
    inputs=(
        TensorInterface(name="content", datatype="BYTES", dims=(1,), content="file"),
        TensorInterface(name="document", datatype="BYTES", dims=(1,), content="json"),
        TensorInterface(name="typed", datatype="BYTES", dims=(), content="json", optional=True),
    ),
    outputs=(LABEL,),
)
# Words that code has another use for.
WORDS = Interface(
    model='a """ Path',
    doc='Any Path of a Sequence\\d, an Iterator \\ """ Final np.array: "Literal"',
    limits=('"""', "C:\\new\\"),
    max_batch_size=4,
    inputs=(
        TensorInterface(name="x", datatype="FP32", dims=(1,), doc="\\x1 npt. dataclass"),
        *(
            TensorInterface(name=name, datatype="FP32", dims=(1,), optional=True)
            for name in ("item", "each", "item_2", "sent")
        ),
    ),
    outputs=(
        TensorInterface(name="a", datatype="FP32", dims=(1,), labels=('odd """ Any',)),
        TensorInterface(name="A", datatype="FP32", dims=(2,), labels=('"""', "Path")),
    ),
)
MANY = Interface(
    model="many",
    inputs=tuple(
        TensorInterface(name=f"measure {n}", datatype="FP32", dims=(1,)) for n in range(9)
    ),
    outputs=(LABEL,),
)
OPTIONAL = Interface(model="optional", inputs=(COUNT,), outputs=(LABEL,))
SPECIAL = [PICTURES, TWO_FILES, CONTENTS, WORDS, MANY, OPTIONAL]


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

    def __init__(self, answer: dict[str, Any], of: Interface = PICTURES) -> None:
        super().__init__("http://127.0.0.1:1")
        self.asked: list[dict[str, Any]] = []
        self.answer, self.of = answer, of

    def metadata(self, model: str, version: str | int = "", **given: Any) -> Any:
        from interfaces import served

        return served(self.of)

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


def test_an_array_may_stand_for_each_file(tmp_path: Path) -> None:
    module, client = loaded(TWO_FILES, tmp_path), Answering(ANSWER, TWO_FILES)
    array = np.zeros((1, 2), np.uint8)
    one, other = ({"photo": array, "mask": b"m"}, {"photo": b"p", "mask": array})
    wrapper = module.TwoFiles(client)
    wrapper(**one, count=1)
    wrapper.batch([module.TwoFilesInput(**other, count=2)])
    assert [sorted(asked) for asked in client.asked] == [
        ["count", "mask", "pixels"],
        ["count", "mask_pixels", "photo"],
    ]


def test_inputs_may_be_called_as_what_converts_them(tmp_path: Path) -> None:
    client = Answering(ANSWER, CONTENTS)
    loaded(CONTENTS, tmp_path).Contents(client)(content=b"c", document=[1], typed_={"a": 2})
    sent = {"content": [[b"c"]], "document": [["[1]"]], "typed": ['{"a": 2}']}
    assert client.asked == [sent]


def test_words_do_not_become_code(tmp_path: Path) -> None:
    answer = {"a": np.zeros(1, np.float32), "A": np.zeros(2, np.float32)}
    module, client = loaded(WORDS, tmp_path), Answering(answer, WORDS)
    assert module.A_LABELS == ('odd """ Any',)
    assert module.A_LABELS_2 == ('"""', "Path")
    assert module.__doc__ is not None
    for said in (f"{WORDS.doc}.", '- """.', "- C:\\new\\."):
        assert said in module.__doc__
    wrapper = next(one for name, one in vars(module).items() if name == "APath")
    assert "\\x1 npt. dataclass" in (wrapper.__call__.__doc__ or "")
    wrapper(client).batch([1.0, 2.0], item=3.0, each=4.0, item_2=5.0, sent_=6.0)
    assert client.asked == [
        {"x": [[1.0], [2.0]], "item": [[3.0]] * 2, "each": [[4.0]] * 2}
        | {"item_2": [[5.0]] * 2, "sent": [[6.0]] * 2}
    ]


@pytest.mark.parametrize(
    ("one", "called"),
    [
        (OPTIONAL, "optional(count=1)"),
        (MANY, "many(measure_0=1.0, measure_1=1.0, measure_2=1.0, measure_3=1.0, measure_4=1.0"),
        (CONTENTS, 'contents(content="file", document={})'),
        (CONTENTS.model_copy(update={"decoupled": True}), "contents.stream(content="),
        (MANY.model_copy(update={"stateful": True}), "sequence.send(measure_0=1.0"),
        (WORDS, "a_path(1.0)"),
    ],
)
def test_the_example_is_python(one: Interface, called: str) -> None:
    [text] = python.modules([one], "clients").values()
    doc = ast.get_docstring(ast.parse(text)) or ""
    example = doc.partition("In a program::\n\n")[2].partition("\nWhat it is not")[0]
    assert all(len(line) <= 100 for line in example.splitlines())
    tree = ast.parse(textwrap.dedent("    " + example.lstrip()))
    calls = [ast.unparse(node).replace("'", '"') for node in ast.walk(tree)]
    assert any(node.startswith(called) for node in calls)


@pytest.mark.parametrize("pair", [("async_m", "m"), ("m", "async_m"), ("m_result", "m")])
def test_no_two_modules_of_a_package_offer_one_name(pair: tuple[str, str]) -> None:
    models = [PICTURES.model_copy(update={"model": name}) for name in pair]
    offered = [name for naming in python.namings(models) for name in naming.classes]
    assert len(set(offered)) == len(offered)


def test_an_edit_is_noticed_where_the_words_are_known() -> None:
    [text] = python.modules([PICTURES], "clients").values()
    edited = text.replace('"pixels"', '"pixel"')
    assert edited != text
    assert not python.comparison([PICTURES])(edited, text)
    unknown = PICTURES.model_copy(update={"described": False})
    [wordless] = python.modules([unknown], "clients").values()
    assert python.comparison([unknown])(text, wordless)


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
    for name, text in python.modules([*SPECIAL, *found], "clients").items():
        (folder / name).write_text(text)
    return folder


def test_they_are_formatted(odd: Path) -> None:
    command = ["format", "--diff", "--line-length", "100", "--isolated", str(odd)]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_they_import_what_they_use_and_nothing_else(odd: Path) -> None:
    command = ["check", "--isolated", "--select", "F,I", "--line-length", "100", str(odd)]
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
