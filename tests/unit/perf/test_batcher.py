"""The model of Triton's batcher: laws that hold whatever comes, and what the real one did."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.perf.batcher import Batcher, Batching

SERVICE_S = 1.0


class Run:
    """Requests at set times through a batcher whose executions all take a second."""

    def __init__(self, batching: Batching, arrivals: list[float]) -> None:
        self.begun: list[tuple[float, list[int]]] = []
        self.idle_at: list[tuple[float, float]] = []
        self._batcher, self._ends = Batcher(batching), list[float]()
        coming, now = list(enumerate(sorted(arrivals))), 0.0
        while coming or self._ends or self._batcher.wake_at < inf:
            arrives = coming[0][1] if coming else inf
            ends = self._ends[0] if self._ends else inf
            now = min(arrives, ends, self._batcher.wake_at)
            if now == ends:
                heappop(self._ends)
                self._begin(now, self._batcher.free(now))
            elif now == arrives:
                self._begin(now, self._batcher.enqueue(coming.pop(0)[0], now))
            else:
                self._begin(now, self._batcher.wake(now))

    def _begin(self, now: float, batches: object) -> None:
        for batch in batches:  # type: ignore[attr-defined]
            self.begun.append((now, batch))
            heappush(self._ends, now + SERVICE_S)


batchings = st.integers(1, 9).flatmap(
    lambda most: st.builds(
        Batching,
        instances=st.integers(1, 3),
        max_batch_size=st.just(most),
        dynamic=st.booleans(),
        preferred=st.lists(st.integers(1, most), max_size=3).map(tuple),
        delay_s=st.sampled_from([0.0, 0.3, 1.5]),
        shapes=st.lists(st.integers(0, 2), max_size=4).map(tuple),
    )
)
times = st.lists(st.floats(0, 12, allow_nan=False).map(lambda t: round(t, 2)), max_size=60)


@given(batchings, times)
def test_every_request_runs_once_in_its_turn(batching: Batching, arrivals: list[float]) -> None:
    run = Run(batching, arrivals)
    order = [request for _, batch in run.begun for request in batch]
    assert order == list(range(len(arrivals)))


@given(batchings, times)
def test_no_batch_is_too_large_or_of_two_shapes(batching: Batching, arrivals: list[float]) -> None:
    for _, batch in Run(batching, arrivals).begun:
        assert len(batch) <= (batching.max_batch_size if batching.dynamic else 1)
        if batching.dynamic and batching.shapes:
            assert len({batching.shapes[one % len(batching.shapes)] for one in batch}) == 1


@given(batchings, times)
def test_an_idle_instance_waits_no_longer_than_the_delay(
    batching: Batching, arrivals: list[float]
) -> None:
    """While an instance is free, no request has waited longer than it may."""
    run = Run(batching, arrivals)
    came = sorted(arrivals)
    ends = sorted(begin + SERVICE_S for begin, _ in run.begun)
    for begin, batch in run.begun:
        due = came[batch[0]] + (batching.delay_s if batching.dynamic else 0.0)
        busy = sum(other <= begin and other + SERVICE_S > begin - 1e-9 for other, _ in run.begun)
        # Later than it should have been: because every instance was busy until just now.
        assert begin <= due + 1e-6 or begin in ends or busy >= batching.instances


def sizes(batching: Batching, arrivals: list[float]) -> list[int]:
    return [len(batch) for _, batch in Run(batching, arrivals).begun]


@pytest.mark.parametrize(
    ("batching", "expected"),
    [
        pytest.param(Batching(1, 8, False), [1] * 10, id="without batcher"),
        pytest.param(Batching(1, 64), [1, 9], id="all that wait"),
        pytest.param(Batching(1, 4), [1, 4, 4, 1], id="up to the largest"),
        pytest.param(Batching(1, 64, preferred=(4,)), [1, 4, 4, 1], id="stops at the preferred"),
        pytest.param(Batching(1, 64, delay_s=0.3), [10], id="delay gathers"),
        pytest.param(Batching(1, 8, preferred=(3,), delay_s=1.5), [3, 4, 3], id="preferred grows"),
        pytest.param(Batching(1, 8, preferred=(3,), delay_s=0.3), [3, 7], id="late ones merge"),
        pytest.param(Batching(2, 64), [1, 1, 8], id="two instances"),
    ],
)
def test_ten_at_once(batching: Batching, expected: list[int]) -> None:
    assert sizes(batching, [0.0] * 10) == expected


def test_a_delay_that_is_over_sends_what_there_is() -> None:
    run = Run(Batching(1, 8, delay_s=0.3), [0.0, 0.2, 0.5])
    assert run.begun[0] == (pytest.approx(0.3), [0, 1])


def test_another_shape_closes_a_batch() -> None:
    assert sizes(Batching(1, 8, shapes=(0, 1, 1, 0, 2)), [0.0] * 5) == [1, 2, 1, 1]
