"""Which builder files are chosen by a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.build import pipeline
from modelport.errors import BuilderError

Write = Callable[..., Path]

PYTHON = """
model = PythonModel(name="{name}", inputs=(X,), outputs=(X,), reference=dict)
"""


@pytest.fixture
def builders(write: Write) -> Path:
    for name in ("flowers", "letters"):
        write(PYTHON.format(name=f"{name}_model"), name=f"{name}.py")
    # Modules beside the builders are no builders.
    return write("", name="_shared.py").parent


def built(builders: Path, *names: str) -> str:
    """Tell by the first mistake which file was taken: none has its model.py."""
    with pytest.raises(BuilderError) as caught:
        pipeline.build(names, builders=builders, repository=builders.parent / "repository")
    return caught.value.what


@pytest.mark.parametrize("name", ["letters", "letters_model"])
def test_a_file_is_chosen_by_its_stem_or_by_a_model(builders: Path, name: str) -> None:
    assert "declares 'letters_model' as PythonModel" in built(builders, name)


@pytest.mark.parametrize("names", [(), ("all",), ("flowers", "letters"), ("letters", "flowers")])
def test_all_are_built_in_the_order_of_their_names(builders: Path, names: tuple[str, ...]) -> None:
    assert "declares 'flowers_model' as PythonModel" in built(builders, *names)


def test_one_file_can_be_named(builders: Path) -> None:
    assert "declares 'letters_model'" in built(builders / "letters.py")


def test_an_unknown_name_gets_the_nearest(builders: Path) -> None:
    with pytest.raises(BuilderError) as caught:
        pipeline.build(("flower",), builders=builders, repository=builders.parent / "repository")
    error = caught.value
    assert error.what == "no builder file declares a model 'flower'"
    assert "flowers" in str(error.cause)
    assert "flowers_model" in str(error.next_step)


def test_a_folder_without_builders(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match="there is no builder file"):
        pipeline.build((), builders=tmp_path, repository=tmp_path / "repository")


def test_a_python_model_without_its_code_says_where_to_write_it(builders: Path) -> None:
    what = built(builders, "letters")
    path = builders.parent / "repository" / "letters_model" / "model.py"
    assert what.startswith(f"{path}: there is no such file")
    assert not path.parent.exists()
