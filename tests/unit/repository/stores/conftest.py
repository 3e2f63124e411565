"""Modules beside the tests are found by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from proven import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A repository with two versions of a network and an ensemble over it."""
    shelf = Shelf(tmp_path / "home")
    shelf.publish("net", labels=("cat", "dog"))
    shelf.publish("net", labels=("cat", "dog"))
    shelf.publish("chain", part="net")
    return shelf


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """Another machine's repository, not made yet."""
    return tmp_path / "away"
