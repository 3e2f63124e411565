"""Which library code a builder's result depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.build import provenance


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small library of the same layout, which a test may change."""
    root = tmp_path / "modelport"
    for name, text in {
        "serving/images.py": "from modelport.serving.python_model import BadItemError\n",
        "serving/python_model.py": "from modelport.errors import X\n",
        "serving/text.py": "",
        "families/texts.py": "from modelport.families import words\n"
        "from modelport.build import evaluation\n",
        "families/words.py": "",
        "build/evaluation.py": "from modelport.build import training\n",
        "build/training.py": "",
        "errors.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "_PACKAGE", root)
    return root


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("serving/images.py", True),
        ("serving/python_model.py", True),  # by way of images
        ("families/texts.py", True),
        ("families/words.py", True),  # by way of texts
        ("build/evaluation.py", True),
        ("build/training.py", False),  # the pipeline's own, which has a place in its keys
        ("serving/text.py", False),
        ("errors.py", False),
    ],
)
def test_only_what_the_builder_imports_counts(library: Path, changed: str, counts: bool) -> None:
    builder = library.parent / "mine.py"
    builder.write_text(
        "from modelport.families import texts\ndef f():\n    from modelport.serving import images\n"
    )
    before = provenance.used_by(builder)
    (library / changed).write_text("# another\n")
    assert (provenance.used_by(builder) != before) is counts


def test_a_builder_that_is_no_python_file(library: Path) -> None:
    onnx = library.parent / "model.onnx"
    onnx.write_bytes(b"\x08\x07")
    assert provenance.used_by(onnx) == provenance.used_by(onnx)
