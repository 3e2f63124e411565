"""How long a served model takes to answer one caller who waits for each answer."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelport.client import Client
from modelport.repository.samples import Case, Samples
from modelport.spec.model import Delivery
from modelport.verify import asking, intervals

# Of each transport, whatever the time: a fast model needs no more, a slow one tells in few.
_MOST = 200
_LEAST = 3
# With fewer the interval of a ratio would claim too much.
_LEAST_COMPARED = intervals.LEAST
_WARM = 2


@dataclass(frozen=True)
class Latency:
    """Times of single requests, one after the other.

    Attributes:
        requests: how many were timed, over all transports.
        p50_ms: median by transport.
        p99_ms: nearly the worst, by transport.
        machine: where they were taken.
    """

    requests: int
    p50_ms: Mapping[str, float] = field(default_factory=dict)
    p99_ms: Mapping[str, float] = field(default_factory=dict)
    machine: str = ""


def measure(
    urls: Mapping[str, str], model: str, samples: Samples, *, limit_s: float = 1.0
) -> Latency:
    """Ask a model single items over each transport, at concurrency 1, and time each request.

    Of a sequence each frame is timed, of a stream all of it. The server must have no response
    cache, which would answer in the model's place.

    Args:
        urls: endpoint by transport: ``{"http": ..., "grpc": ...}``.
        model: name of the served model.
        samples: its questions; those with a title are asked, else those of one item.
        limit_s: about how long it may take in all; three requests of each transport are
            timed however slow they are.

    Raises:
        ClientError: a question is not answered.
    """
    cases = single_items(samples)
    times = {
        transport: _times(url, model, cases, samples.delivery, limit_s / len(urls))
        for transport, url in urls.items()
    }
    return Latency(
        requests=sum(map(len, times.values())),
        p50_ms={name: _milliseconds(statistics.median(found)) for name, found in times.items()},
        p99_ms={name: _milliseconds(_worst_but_1_percent(found)) for name, found in times.items()},
        machine=machine(),
    )


def machine() -> str:
    """Name this machine's processor and how many of its cores this process may use."""
    return f"{processor()}, {len(os.sched_getaffinity(0))} cores"


def processor() -> str:
    """Name this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def single_items(samples: Samples) -> Sequence[Case]:
    """Choose what a caller would ask: one item; those with a title where there are such."""
    titled = [case for case in samples.cases if case.title]
    if titled or samples.delivery != "single":
        return titled or samples.cases
    smallest = min(map(_items, samples.cases))
    return [case for case in samples.cases if _items(case) == smallest]


def _items(case: Case) -> int:
    shape = next(iter(case.inputs.values())).shape
    return shape[0] if shape else 1


def _times(
    url: str, model: str, cases: Sequence[Case], delivery: Delivery, limit_s: float
) -> list[float]:
    """Time requests until there are enough and the time is over."""
    found: list[float] = []
    with Client(url) as client:
        for _, _ in zip(range(_WARM), _answers(client, model, cases, delivery), strict=False):
            pass  # what the first request imports and allocates is not the model's speed
        end = time.monotonic() + limit_s
        for took in _answers(client, model, cases, delivery):
            found.append(took)
            over = time.monotonic() > end
            if len(found) >= _MOST or (over and len(found) >= _LEAST):
                return found
    return found


def _answers(
    client: Client, model: str, cases: Sequence[Case], delivery: Delivery
) -> Iterator[float]:
    """Ask the cases in turn, for ever; gives the seconds that each request took."""
    while True:
        for case in cases:
            if delivery == "sequence":
                yield from _frames(client, model, case)
            else:
                yield _timed(partial(asking.ask, client, model, case, delivery))


def _frames(client: Client, model: str, case: Case) -> Iterator[float]:
    length = len(next(iter(case.inputs.values())))
    with client.sequence(model) as sequence:
        for i in range(length):
            frame = {name: array[i : i + 1] for name, array in case.inputs.items()}
            yield _timed(partial(sequence.send, frame, end=i == length - 1))


def _timed(request: Callable[[], object]) -> float:
    start = time.perf_counter()
    request()
    return time.perf_counter() - start


def _worst_but_1_percent(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(0.99 * len(times)))]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


@dataclass(frozen=True)
class Ratio:
    """How much slower one server answers than another, asked in turn.

    Attributes:
        before_ms: median of the one.
        after_ms: median of the other.
        ratio: of the medians.
        low: of its 95 % bootstrap interval.
        high: of that interval.
    """

    before_ms: float
    after_ms: float
    ratio: float
    low: float
    high: float


def compare(
    before: str, after: str, model: str, samples: Samples, *, limit_s: float = 2.0
) -> Ratio:
    """Ask the same model of two servers in turn, so that what else the machine does hits both.

    Args:
        before: URL of the one server.
        after: URL of the other.
        model: name of the model, served by both.
        samples: its questions.
        limit_s: about how long it may take; six requests of each are timed however slow they are.

    Raises:
        ClientError: a question is not answered.
    """
    cases = single_items(samples)
    times: tuple[list[float], list[float]] = ([], [])
    with Client(before) as one, Client(after) as other:
        answers = [_answers(client, model, cases, samples.delivery) for client in (one, other)]
        for _ in range(_WARM):
            for answer in answers:
                next(answer)
        end = time.monotonic() + limit_s
        while len(times[0]) < _MOST and (time.monotonic() < end or len(times[0]) < _LEAST_COMPARED):
            for found, answer in zip(times, answers, strict=True):
                found.append(next(answer))
    medians = [_milliseconds(statistics.median(found)) for found in times]
    ratio = intervals.medians(times[1], times[0])
    return Ratio(medians[0], medians[1], ratio.ratio, ratio.low, ratio.high)
