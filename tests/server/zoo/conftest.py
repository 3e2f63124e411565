"""The models of this repository, built where users build them, and the real server on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelport.build import Dataset, loader, sources
from modelport.client import Client
from modelport.families import handwriting
from modelport.repository import edits
from modelport.repository.layout import Repository
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime.server import Server

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "builders" / "digits.py"


@pytest.fixture(scope="session")
def repository(zoo: Repository) -> Repository:
    return zoo


@pytest.fixture(scope="session")
def server(repository: Repository) -> Iterator[Server]:
    """One server on all models that are built, for tests that leave it as it was."""
    built = [folder.name for folder in repository.models() if not edits.not_built(folder)]
    with Server.start(repository.path, models=built) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(getattr(server.endpoints, request.param)) as connected:
        yield connected


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Client]:
    """For tests that ask often: a law that is tried on many examples."""
    with Client(server.endpoints.grpc) as connected:
        yield connected


@pytest.fixture(scope="session")
def learned_from() -> Callable[[str, str], Dataset]:
    """Read the data that a model of a builder file was trained and measured with."""

    def read(builder: str, name: str) -> Dataset:
        path = ROOT / "builders" / f"{builder}.py"
        model = loader.load(path).model(name)
        return model.data(*(sources.fetch(source, path).path for source in model.sources))

    return read


@pytest.fixture(scope="session")
def cases(repository: Repository) -> dict[str, list[Case]]:
    """Requests of one item with their proven answers, by public model that answers once."""
    found = {}
    for folder in repository.models():
        if not edits.not_built(folder):
            version = folder.served_versions()[-1]
            samples = Samples.read(folder.version_dir(version) / FILE_NAME)
            if folder.manifest(version).public and samples.delivery == "single":
                titled = [case for case in samples.cases if case.title]
                found[folder.name] = titled or list(samples.cases[:5])
    return found


@pytest.fixture(scope="session")
def unseen() -> tuple[np.ndarray, np.ndarray]:
    """Handwriting that training never saw: uint8[item, 28, 28] ink on black, and its digits."""
    [mnist] = loader.load(DIGITS).model("digits_cnn").sources
    test = handwriting.drawings(sources.fetch(mnist, DIGITS).path).test
    return test.inputs["pixels"], test.targets
