"""A cache of the test's own, and builder files of a few lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """\
import numpy as np
from torch import nn
from modelport.build import Dataset
from modelport.spec import *

X = Tensor("x", "FP32", (2,))
Y = Tensor("y", "FP32", (3,))
"""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MODELPORT_CACHE", str(folder))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a builder file: the imports, the tensors X and Y, and what the test gives."""

    def write(text: str, *, name: str = "tiny.py", head: str = HEAD) -> Path:
        path = tmp_path / "builders" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + textwrap.dedent(text), encoding="utf-8")
        return path

    return write
