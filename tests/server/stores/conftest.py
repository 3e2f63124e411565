"""A real S3 server for all tests of stores, and the settings to reach it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Modules beside the tests are found by name; repositories are made as in the unit tests.
sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "repository" / "stores"))
sys.path.insert(0, str(Path(__file__).parent))

import seaweed
from seaweed import S3


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Started once for all tests."""
    with seaweed.running(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, with the settings of somebody who may write."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def behind(server: S3) -> Any:
    """A boto3 client, to look behind the store's back."""
    return seaweed.boto3_client(server)
