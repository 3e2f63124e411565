"""What is read of a builder file without running it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.build import outline, selection
from modelport.errors import BuilderError

Write = Callable[..., Path]

TWO = """
raise SystemExit("a builder file that is only read does not run")
models = (
    PythonModel(name="{name}_part", inputs=(Tensor(name="x"),)),
    spec.Ensemble.chain(first, last, name="{name}"),
)
"""


@pytest.fixture
def builders(write: Write) -> Path:
    write(TWO.format(name="flowers"), name="flowers.py")
    write(TWO.format(name="letters"), name="letters.py")
    return write("BY_NAME_ONLY: bool = True\n" + TWO.format(name="texts"), name="texts.py").parent


def test_models_are_read_and_tensors_are_not(builders: Path) -> None:
    assert outline.read(builders / "flowers.py").models == ("flowers_part", "flowers")


@pytest.mark.parametrize(
    ("line", "by_name"),
    [
        ("BY_NAME_ONLY = True", True),
        ("BY_NAME_ONLY: bool = True", True),
        ("BY_NAME_ONLY = False", False),
        ("BY_NAME_ONLY = bool(input())", False),
        ("if True:\n    BY_NAME_ONLY = True", False),
        ("models = ()", False),
    ],
)
def test_by_name_only_is_a_plain_statement(write: Write, line: str, by_name: bool) -> None:
    assert outline.read(write(line)).by_name_only is by_name


def test_a_file_that_does_not_parse_says_nothing(write: Write) -> None:
    assert outline.read(write("BY_NAME_ONLY = True\ndef (")) == outline.Outline()


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        ((), ["flowers", "letters"]),
        (("all",), ["flowers", "letters"]),
        (("texts",), ["texts"]),
        (("texts_part",), ["texts"]),
        (("all", "texts"), ["flowers", "letters", "texts"]),
        (("letters", "flowers_part"), ["flowers", "letters"]),
    ],
)
def test_what_is_built_by_name_is_left_out_of_all(
    builders: Path, names: tuple[str, ...], stems: list[str]
) -> None:
    assert [path.stem for path in selection.chosen(builders, names)] == stems


def test_a_file_that_is_named_itself_is_built(builders: Path) -> None:
    path = builders / "texts.py"
    assert selection.chosen(path, ()) == [path]
    assert selection.by_name_only(path) == []


def test_a_name_that_is_computed_is_found_by_running_the_files(write: Write) -> None:
    text = 'model = PythonModel(name="{}" + "_model", inputs=(X,), outputs=(X,), reference=dict)'
    write(text.format("one"), name="one.py")
    folder = write(text.format("two"), name="two.py").parent
    assert [path.stem for path in selection.chosen(folder, ["two_model"])] == ["two"]
    with pytest.raises(BuilderError, match="declares a model 'tow_model'") as caught:
        selection.chosen(folder, ["tow_model"])
    assert "two_model" in str(caught.value.cause)


def test_choosing_imports_nothing_heavy(builders: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from modelport.build import selection;"
        "selection.chosen(Path(sys.argv[1]), ['letters_part', 'all']);"
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(builders)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
