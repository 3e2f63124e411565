"""What holds for every public model, whatever it is: an item's answer is its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelport.client import Client
from modelport.repository import edits
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime.server import Server
from modelport.spec import Tolerance
from modelport.verify.parity import compare

Arrays = dict[str, np.ndarray]


def built(repository: Repository) -> list[ModelFolder]:
    return [folder for folder in repository.models() if not edits.not_built(folder)]


def shape_of(case: Case) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Shapes of the answer too: one that varies, such as a count of items, is padded in company."""
    arrays = [*case.inputs.items(), *case.outputs.items()]
    return tuple(sorted((name, array.shape[1:]) for name, array in arrays))


def singles(samples: Samples) -> list[Case]:
    """The requests of one item, of the most frequent shape."""
    groups: dict[object, list[Case]] = {}
    for case in samples.cases:
        if all(len(array) == 1 for array in case.inputs.values()):
            groups.setdefault(shape_of(case), []).append(case)
    return max(groups.values(), key=len, default=[])


def joined(cases: Sequence[Case]) -> Arrays:
    return {n: np.concatenate([case.inputs[n] for case in cases]) for n in cases[0].inputs}


def test_an_item_gets_its_own_answer_in_any_company(server: Server, repository: Repository) -> None:
    """Batch invariance, and the order of items: for each public model that batches."""
    examined = []
    with Client(server.endpoints.grpc) as client:
        for folder in built(repository):
            version = folder.served_versions()[-1]
            manifest = folder.manifest(version)
            samples = Samples.read(folder.version_dir(version) / FILE_NAME)
            most = folder.config().max_batch_size
            cases = singles(samples)
            if manifest.public and samples.delivery == "single" and most > 1 and cases:
                bound = manifest.proof.tolerance
                tolerance = Tolerance(bound.absolute, bound.relative)
                examine(client, folder.name, cases, min(most, 8), tolerance)
                examined.append(folder.name)
    assert "digits" in examined


def examine(
    client: Client, model: str, cases: Sequence[Case], most: int, tolerance: Tolerance
) -> None:
    places = st.integers(0, len(cases) - 1)

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.lists(places, min_size=2, max_size=most))
    def law(chosen: list[int]) -> None:
        company = [cases[place] for place in chosen]
        answer = client.infer(model, joined(company))
        for place, case in enumerate(company):
            own = {name: array[place : place + 1] for name, array in answer.items()}
            comparison = compare(own, case.outputs, tolerance)
            assert comparison.ok, f"{model}, item {place} of {chosen}: {comparison.describe()}"

    law()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_every_public_model_gives_its_known_answers(
    server: Server, repository: Repository, scheme: str
) -> None:
    """What the builder knows to be true, whatever the reference says."""
    known = 0
    with Client(getattr(server.endpoints, scheme)) as client:
        for folder in built(repository):
            version = folder.served_versions()[-1]
            samples = Samples.read(folder.version_dir(version) / FILE_NAME)
            if not folder.manifest(version).public or samples.delivery != "single":
                continue
            for case in samples.cases:
                if case.truth:
                    comparison = compare(
                        client.infer(folder.name, case.inputs), case.truth, Tolerance()
                    )
                    assert comparison.ok, f"{folder.name}, {case.title}: {comparison.describe()}"
                    known += 1
    assert known
