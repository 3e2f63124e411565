"""The batcher's model and the tuner, held against the real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import deeds
import numpy as np
import pytest

from modelport.client import Client
from modelport.perf import analyzer, capacity, objectives, tuning
from modelport.perf.batcher import Batching
from modelport.perf.series import Wish
from modelport.perf.settings import Settings
from modelport.perf.simulation import Callers, Costs, simulate
from modelport.repository import pbtxt
from modelport.repository.layout import Repository
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime.server import Server

# An execution sleeps, so that its time is known and other work on the machine does not matter.
SLEEPER = """\
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.020 + 0.002 * len(requests))
        y = [pb_utils.Tensor("y", request.inputs()[0].as_numpy()) for request in requests]
        return [pb_utils.InferenceResponse([one]) for one in y]
"""
CONFIG = """\
name: "sleeper"
backend: "python"
max_batch_size: 64
input { name: "x" data_type: TYPE_FP32 dims: [1] }
output { name: "y" data_type: TYPE_FP32 dims: [1] }
"""


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("repository") / "sleeper"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(SLEEPER)
    (folder / "config.pbtxt").write_text(CONFIG)
    server = Server.start(folder.parent, listed=False)
    yield server, folder / "config.pbtxt"
    server.kill()


def ask(url: str, callers: int, duration_s: float) -> dict[int, int]:
    """Ask by so many callers; gives the requests by batch size."""
    item = {"x": np.zeros((1, 1), np.float32)}
    with Client(url) as client:
        client.infer("sleeper", item)
        before = sizes(client)
        end = time.monotonic() + duration_s

        def caller() -> None:
            while time.monotonic() < end:
                client.infer("sleeper", item)

        threads = [threading.Thread(target=caller) for _ in range(callers)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        after = sizes(client)
    return {size: size * (n - before.get(size, 0)) for size, n in after.items()}


def sizes(client: Client) -> dict[int, int]:
    rows = client.statistics("sleeper")[0]["batch_stats"]
    return {int(row["batch_size"]): int(row["compute_infer"]["count"]) for row in rows}


@pytest.mark.parametrize(
    ("batching", "callers", "typical"),
    [
        pytest.param(Batching(1, 64, False), 4, {1}, id="without batcher"),
        pytest.param(Batching(1, 4), 8, {4}, id="largest"),
        pytest.param(Batching(1, 64, preferred=(4,)), 8, {4}, id="preferred"),
        pytest.param(Batching(1, 64, delay_s=0.04), 8, {8}, id="delay"),
        pytest.param(
            Batching(1, 64, preferred=(4,), delay_s=0.04), 10, {4, 5}, id="preferred and delay"
        ),
        pytest.param(
            Batching(1, 8, preferred=(3,), delay_s=0.005), 20, {5, 6, 7, 8}, id="late ones merge"
        ),
    ],
)
def test_the_real_batcher_forms_the_batches_of_the_model(
    sleeper: tuple[Server, Path], batching: Batching, callers: int, typical: set[int]
) -> None:
    server, path = sleeper
    config = Settings(batching, 0).applied(pbtxt.parse(CONFIG))
    path.write_text(pbtxt.render(config))
    server.load("sleeper")
    real = ask(server.endpoints.http, callers, 0.6)
    size = np.arange(65.0)
    wait, nothing = np.where(size > 0, 0.0205 + 0.002 * size, 0.0), np.zeros(65)
    costs = Costs(1e3, nothing, wait, nothing, outside_wait_s=7e-4)
    found = simulate(batching, costs, Callers(callers), requests=1000)
    modelled = {size: size * count for size, count in found.batches.items()}
    assert sum(modelled.get(size, 0) for size in typical) > 0.5 * sum(modelled.values())
    # A busy machine lets callers come late, so that there are others beside.
    assert any(real.get(size) for size in typical)
    most = batching.max_batch_size if batching.dynamic else 1
    assert max(size for size, count in real.items() if count) <= min(callers, most)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An ensemble that serves version 1, with a sample that it answers rightly."""
    deeds.make(tmp_path / "repository")
    case = Case({"x": np.ones((1, 1), np.float32)}, {"y": np.full((1, 1), 5, np.float32)})
    Samples((case,)).write(tmp_path / "repository" / "whole" / "1" / FILE_NAME)
    return Repository(tmp_path / "repository")


def test_a_model_is_measured_simulated_tuned_and_counted(repository: Repository) -> None:
    configs = {path: path.read_bytes() for path in repository.path.rglob("config.pbtxt")}
    wanted = [objectives.parse("p50 <= 10 s at concurrency 4"), objectives.parse("no error")]
    steps: set[str] = set()
    found = tuning.tune(
        repository,
        "whole",
        wanted,
        analyzer.ensure(),
        lambda step, *_: steps.add(step),
        Wish(count=1, rounds=1, duration_s=0.3, scale=0.2),
    )
    assert steps == {"measure", "simulate", "confirm"}
    assert found.tuned in {"part_a", "part_b"}
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.chosen is not None
    assert all(one.levels[0].replies for one in found.confirmed)
    assert max(point.mean_size for point in found.times.points) > 1
    assert configs == {path: path.read_bytes() for path in repository.path.rglob("config.pbtxt")}
    sized = capacity.estimate(
        repository,
        "whole",
        1e5,
        [objectives.parse("p50 <= 10 s")],
        analyzer.ensure(),
        lambda *_: None,
        capacity.Prices(per_core_hour=0.04, spare=1),
        Wish(rounds=1, duration_s=0.3, scale=0.2, rates=2),
        found.times,
    )
    assert sized.tried
    assert any(one.level and one.level.replies for one in sized.tried)
    # A busy machine may sustain neither of the two rates; then no number of servers does.
    assert bool(sized.servers) == any(one.holds for one in sized.tried) == bool(sized.price)
    assert sized.energy_wh > 0
    assert ("estimate" in sized.energy_method) == (sized.tried[0].energy_j is None)
