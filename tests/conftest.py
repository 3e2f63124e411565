"""What every test needs: nothing of the developer's own settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from modelport.build import pipeline
from modelport.repository.layout import Repository
from modelport.runtime import cache

ROOT = Path(__file__).parents[1]

# Time never decides a test; these machines are shared.
settings.register_profile("modelport", deadline=None)
settings.load_profile("modelport")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests run in one process where several share them, and the longest first.

    The zoo has one server for all its tests, a file its modules' fixtures; a document that is run
    stands for itself.
    """
    items.sort(key=lambda item: _rank(item.path.relative_to(ROOT / "tests").parts))
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))


def _rank(place: tuple[str, ...]) -> int:
    """Long tests start first, so that no process is left alone with one at the end."""
    ranked = (("docs",), ("server", "zoo"), ("server",))
    return next((n for n, head in enumerate(ranked) if place[: len(head)] == head), len(ranked))


def _group(item: pytest.Item) -> str:
    folder = item.path.parent.name
    if folder == "docs":
        return item.nodeid
    return folder if folder == "zoo" else str(item.path)


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
