"""Builders of two versions, in the workplace of the build tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "build"))

from workplace import Workplace

from modelport.runtime import cache, toolchain

SHARED = ("triton", "server-env", "backends")


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache without steps, beside the real toolchain."""
    toolchain.ensure()
    folder = tmp_path_factory.mktemp("rollout-cache")
    for name in SHARED:
        real = cache.root() / name
        if real.is_dir():
            (folder / name).symlink_to(real)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv(cache.VARIABLE, str(own_cache))
    return Workplace(tmp_path)
