"""From a few measured runs to what the simulation needs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modelport.errors import ProfileError
from modelport.perf import service_times
from modelport.perf.batcher import Batching
from modelport.perf.service_times import Point, ServiceTimes
from modelport.perf.settings import Settings
from modelport.perf.simulation import Callers, simulate
from modelport.spec.config import ModelConfig, ModelDynamicBatching, ModelInstanceGroup


def run(size: int, *, instances: int = 1, threads: int = 1, cpu: float = 1.0) -> Point:
    """Say what was measured: ``1 ms + 0.1 ms`` an item, of it a fifth without a core."""
    took = 1e-3 + 1e-4 * size
    return Point(
        size=size,
        mean_size=size,
        instances=instances,
        threads=threads,
        executions=50,
        execution_size=size,
        execution_s=took,
        model_cpu_s=0.7 * took * cpu,
        server_cpu_s=2e-4 + 1e-4 / size,
        caller_cpu_s=1e-4,
        latency_s=(took + 5e-4, took + 6e-4, took + 7e-4, took + 2e-3, took + 4e-3),
        replies_per_s=size / took,
    )


MEASURED = ServiceTimes(
    model="m", tuned="m", cores=4, points=tuple(run(size) for size in (1, 2, 4, 8, 16))
)


def settings(instances: int = 1, most: int = 16, threads: int = 1) -> Settings:
    return Settings(Batching(instances, most), threads)


def test_sizes_between_those_measured_are_interpolated() -> None:
    costs = MEASURED.costs(settings())
    sizes = np.arange(17)
    assert (costs.work_s + costs.wait_s)[1:] == pytest.approx(1e-3 + 1e-4 * sizes[1:])
    # The model's processes, and the server's part that each execution costs once.
    assert costs.cpu_s[1:] == pytest.approx(0.7 * (1e-3 + 1e-4 * sizes[1:]) + 1e-4, rel=1e-3)
    assert costs.server_cpu_s == pytest.approx(2e-4)
    assert costs.outside_work_s == pytest.approx(3e-4)


def test_a_lone_caller_sees_what_was_measured() -> None:
    alone = Settings(Batching(1, 16, False), 1)
    found = simulate(alone.batching, MEASURED.costs(alone), Callers(1), requests=4000)
    for share, latency in zip((0.5, 0.9, 0.95, 0.99), MEASURED.points[0].latency_s, strict=False):
        assert found.quantile_ms(share) == pytest.approx(latency * 1e3, rel=0.03)


def test_executions_side_by_side_cost_what_was_measured_of_them() -> None:
    crowded = MEASURED.model_copy(
        update={"points": (*MEASURED.points, run(4, instances=4, cpu=1.3))}
    )
    alone = crowded.costs(settings(1)).cpu_s
    assert crowded.costs(settings(4)).cpu_s == pytest.approx(1.3 * alone)
    assert crowded.costs(settings(2)).cpu_s == pytest.approx(1.1 * alone)


def test_few_runs_are_planned() -> None:
    planned = service_times.plan(64, [1, 2], 2)
    assert len(planned) == 12
    sizes = {one.batching.preferred for one in planned}
    assert sizes == {(), *((size,) for size in (2, 4, 8, 16, 32, 64))}
    assert {one.batching.max_batch_size for one in planned} == {64}
    assert [one.threads for one in planned].count(2) == 3
    assert max(one.batching.instances for one in planned) == 2


@pytest.mark.parametrize("most", [2, 3, 4, 8, 64])
def test_further_threads_are_measured_up_to_the_largest_batch(most: int) -> None:
    """A curve with a single point would say that batches cost nothing."""
    sizes = [
        one.batching.preferred or (1,)
        for one in service_times.plan(most, [1, 2], 2)
        if one.threads == 2
    ]
    assert (sizes[0], sizes[-1]) == ((1,), (most,))


def test_of_many_cores_a_few_instances_are_measured() -> None:
    assert max(one.batching.instances for one in service_times.plan(8, [1], 96)) == 8


def test_batches_that_did_not_form_are_left_out_and_named() -> None:
    """Four callers of 16 came in time: what they took is no batch of 16."""
    late = run(4).model_copy(update={"size": 16})
    measured = MEASURED.model_copy(update={"points": (*(run(n) for n in (1, 2, 4)), late)})
    assert measured.costs(settings()).cpu_s == pytest.approx(MEASURED.costs(settings()).cpu_s)
    assert measured.notes == ["batches of 16 did not form (4 on average, 1 × 1 threads): left out"]
    assert MEASURED.notes == []


def test_sizes_that_ran_need_not_come_in_order() -> None:
    """Two runs of 8 callers executed 7 together: that is one figure, of 7."""
    twice = [run(8).model_copy(update={"size": 8, "execution_size": 7, "mean_size": 7.0})] * 2
    measured = MEASURED.model_copy(update={"points": (run(1), *twice, run(4))})
    costs = measured.costs(settings(most=8))
    assert (costs.work_s + costs.wait_s)[7] == pytest.approx(run(8).execution_s)
    assert np.all(np.diff(costs.cpu_s) > 0)


def test_a_single_size_says_nothing_of_larger_ones() -> None:
    """Where no batches form they are not taken for free."""
    alone = MEASURED.model_copy(update={"points": (run(1),)})
    cpu = alone.costs(settings(most=4)).cpu_s
    assert cpu[4] == pytest.approx(4 * cpu[1])


def test_the_start_of_the_load_generator_is_not_a_cost_of_requests() -> None:
    """Each run spends half a second before it asks, and 0.1 ms a request."""
    points = []
    for size in (1, 4, 16):
        requests = 50 * size
        spent = (0.5 + 1e-4 * requests) / requests
        points.append(run(size).model_copy(update={"caller_cpu_s": spent}))
    measured = MEASURED.model_copy(update={"points": tuple(points)})
    assert measured._caller() == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param({}, None, id="no limit"),
        pytest.param({"pods/mine": "max 100000", "pods": "100000 100000"}, 1, id="of a parent"),
        pytest.param({"pods/mine": "50000 100000"}, 1, id="half a core"),
        pytest.param({"": "999900000 100000"}, None, id="more than there are"),
    ],
)
def test_cores_are_those_that_a_container_may_use(
    tmp_path: Path, limits: dict[str, str], expected: int | None
) -> None:
    (tmp_path / "own").write_text("4:memory:/x\n0::/pods/mine\n")
    for folder, text in limits.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(text)
    found = service_times.cores(tmp_path, tmp_path / "own")
    assert found == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("most", [0, 1, 5, 64, 100])
def test_sizes_double_up_to_the_largest(most: int) -> None:
    sizes = service_times.sizes_to(max(1, most))
    assert sizes[0] == 1
    assert sizes[-1] == max(1, most)
    assert sizes == sorted(set(sizes))


def test_settings_are_read_from_a_configuration_and_written_into_it() -> None:
    config = ModelConfig(
        name="m",
        backend="onnxruntime",
        max_batch_size=8,
        instance_group=(ModelInstanceGroup(count=1),),
        parameters={"intra_op_thread_count": "2", "other": "x"},
        dynamic_batching=ModelDynamicBatching(preserve_ordering=True),
    )
    wanted = Settings(Batching(2, 4, preferred=(2, 4), delay_s=3e-4), 4)
    applied = wanted.applied(config)
    assert Settings.of(applied) == wanted
    assert applied.parameters["other"] == "x"
    assert applied.dynamic_batching is not None
    assert applied.dynamic_batching.preserve_ordering
    assert Settings.of(Settings(Batching(1, 8, False), 1).applied(config)).batching.dynamic is False


ONE, TWO = ModelInstanceGroup(count=1), ModelInstanceGroup(count=2)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        pytest.param(ModelConfig(instance_group=(ONE, TWO)), "2 instance groups", id="groups"),
        pytest.param(
            ModelConfig(parameters={"intra_op_thread_count": "0"}), "thread_count is '0'", id="0"
        ),
        pytest.param(
            ModelConfig(parameters={"intra_op_thread_count": "all"}), "is 'all'", id="a word"
        ),
    ],
)
def test_a_configuration_that_cannot_be_tuned_is_refused(config: ModelConfig, named: str) -> None:
    with pytest.raises(ProfileError, match=named):
        Settings.of(config)


@pytest.mark.parametrize(
    ("wanted", "parameters"),
    [
        pytest.param(Settings(Batching(0, 8), 1), {"intra_op_thread_count": "1"}, id="instances"),
        pytest.param(Settings(Batching(1, 8), 0), {"intra_op_thread_count": "1"}, id="no thread"),
        pytest.param(Settings(Batching(1, 8), 2), {}, id="threads of a model without"),
    ],
)
def test_settings_that_a_model_cannot_have_are_refused(
    wanted: Settings, parameters: dict[str, str]
) -> None:
    with pytest.raises(ProfileError):
        wanted.applied(ModelConfig(max_batch_size=8, parameters=parameters))
