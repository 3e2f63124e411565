"""What every test needs: nothing of the developer's own settings."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from modelport.build import pipeline
from modelport.repository.layout import Repository
from modelport.runtime import cache

ROOT = Path(__file__).parents[1]

# Modules beside the tests are found by name.
sys.path.insert(0, str(Path(__file__).parent))

# What a shell starts in the background ignores Ctrl-C, and hands that on; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Time never decides a test; these machines are shared.
settings.register_profile("modelport", deadline=None)
settings.load_profile("modelport")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: _rank(item.path.relative_to(ROOT / "tests").parts))


def _rank(place: tuple[str, ...]) -> int:
    ranked = (("docs",), ("server",))
    return next((n for n, head in enumerate(ranked) if place[: len(head)] == head), len(ranked))


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """MODELPORT_CACHE stays: it holds tritonserver, which is fetched once."""
    for name in ("MODELPORT_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def zoo() -> Repository:
    """This repository's models, all built; a build that is up to date does nothing."""
    path = ROOT / "model_repository"
    # Another process of this test run may want it at the same time.
    with FileLock(cache.folder("tests") / "zoo.lock"):
        pipeline.build((), builders=ROOT / "builders", repository=path)
    return Repository(path)
