"""The highest rate of one server, and what follows from it."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

from modelport.cli import command
from modelport.errors import ProfileError
from modelport.perf import capacity, objectives
from modelport.perf.batcher import Batching
from modelport.perf.capacity import Capacity
from modelport.perf.result import Disturbance
from modelport.perf.service_times import Point, ServiceTimes
from modelport.perf.settings import Settings

ALONE = Settings(Batching(1, 1, False), 1)
FOUND = Capacity(
    model="m",
    settings=ALONE,
    rate_per_s=500.0,
    objectives=(),
    cores=4,
    simulated_per_s=210.0,
    tried=(),
    sustained_per_s=200.0,
    spare=1,
    cpu_ms=1.0,
    price=None,
    energy_wh=0.0,
    energy_method="",
    disturbance=Disturbance(),
)


def test_what_one_cannot_do_many_can() -> None:
    assert (FOUND.needed, FOUND.servers) == (3, 4)
    assert FOUND.load == pytest.approx(500 / 800)
    assert dataclasses.replace(FOUND, rate_per_s=400.0).needed == 2
    assert dataclasses.replace(FOUND, sustained_per_s=0.0).servers == 0


def test_the_highest_rate_is_that_of_m_d_1() -> None:
    """A mean below 20 ms at 10 ms of service: at half the most that the server can do."""
    measured = ServiceTimes(
        model="m",
        tuned="m",
        cores=4,
        points=(
            Point(
                size=1,
                mean_size=1,
                instances=1,
                threads=1,
                executions=100,
                execution_size=1,
                execution_s=0.01,
                model_cpu_s=0.01,
                server_cpu_s=0.0,
                caller_cpu_s=0.0,
                latency_s=(0.01,) * 5,
                replies_per_s=100.0,
            ),
        ),
    )
    # mean = s + load * s / (2 * (1 - load)) = 1.5 * s, so load = 1/2
    found = capacity.highest(ALONE, measured, [objectives.parse("mean <= 15 ms")])
    assert found == pytest.approx(50, rel=0.06)


def test_an_objective_with_a_load_is_refused() -> None:
    with pytest.raises(ProfileError, match="names a load"):
        capacity._refuse_places([objectives.parse("p99 <= 5 ms at 20/s")])


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["tune", "m"], id="tune without an objective"),
        pytest.param(["capacity", "m", "--rate", "0", "--slo", "p99 <= 1 ms"], id="no rate"),
        pytest.param(["capacity", "m", "--slo", "p99 <= 1 ms"], id="rate left out"),
    ],
)
def test_commands_say_what_is_missing(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "--slo" in result.output or "--rate" in result.output
