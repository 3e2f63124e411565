"""A workplace of the test's own, with a cache that shares tritonserver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelport.runtime import cache, toolchain

# Modules beside the tests are found by name.
sys.path.insert(0, str(Path(__file__).parent))

from workplace import Workplace

# What is fetched or made once for all; steps and the index are the test's own.
SHARED = ("triton", "server-env", "backends")


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache without steps, beside the real toolchain."""
    toolchain.ensure()
    folder = tmp_path_factory.mktemp("cache")
    for name in SHARED:
        real = cache.root() / name
        if real.is_dir():
            (folder / name).symlink_to(real)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv(cache.VARIABLE, str(own_cache))
    return Workplace(tmp_path)
