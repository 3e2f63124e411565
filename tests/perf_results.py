"""Results of load tests that nobody ran, with everything that a report shows."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from modelport.perf import objectives
from modelport.perf.result import (
    Checked,
    Content,
    Disturbance,
    Latency,
    Level,
    Machine,
    Part,
    Result,
    Second,
    Settings,
)

MACHINE = Machine(
    processor="AMD EPYC 9R14",
    cores=2,
    memory_bytes=23 * 2**30,
    kernel="6.1.0",
    python="3.11.7",
    packages={"tritonserver": "2.51.0", "perf_analyzer": "2.51.0", "onnxruntime": "1.32.0"},
)


def latency(p50: float) -> Latency:
    """Times with a long tail."""
    tail = [1.1, 1, 1.6, 2.1, 3.4, 7, 11]
    names = ["mean", "p50", "p90", "p95", "p99", "p999", "max"]
    return Latency(**{name: p50 * times for name, times in zip(names, tail, strict=True)})


def part(p50: float, requests: int, size: int = 1) -> Part:
    batches = {size: requests // (2 * size), 1: requests // 2} if size > 1 else {1: requests}
    if size > 3:
        batches |= {size // 2: requests // size, size - 1: requests // (3 * size)}
    return Part(
        queue_ms=0.3 * p50,
        compute_input_ms=0.05 * p50,
        compute_infer_ms=0.4 * p50,
        compute_output_ms=0.03 * p50,
        requests=requests,
        executions=sum(batches.values()),
        batches=batches,
    )


def level(callers: int, **given: Any) -> Level:
    concurrency = callers
    p50 = 0.9 * math.sqrt(concurrency)
    rate = 1100 * concurrency / (concurrency + 2)
    replies = int(rate * 5)
    shares = [1 - 10 ** (-x / 10) for x in range(37)]
    known = Level(
        name=f"concurrency {concurrency}",
        kind="closed",
        concurrency=concurrency,
        duration_s=5.0,
        replies=replies,
        replies_per_s=rate,
        latency_ms=latency(p50),
        quantiles=[(q, p50 * (0.6 + 0.9 * -math.log10(1 - q))) for q in shares],
        timeline=[
            Second(at_s=i + 1.0, replies=int(rate * (1 + 0.05 * math.sin(i))), p99_ms=3.4 * p50)
            for i in range(5)
        ],
        parts={
            "digits": part(p50, replies),
            "digits_preprocess": part(p50 * 0.5, replies),
            "digits_cnn": part(p50 * 0.4, replies, min(concurrency, 16)),
        },
        server_cpu_ms=1.1 - 0.01 * concurrency,
        load_cpu_ms=0.2,
        memory_bytes=int((410 + concurrency) * 2**20),
        steal_share=0.01,
        others_share=0.02,
    )
    return known.model_copy(update=given)


OBJECTIVES = [
    "p99 <= 20 ms at concurrency 8",
    "p50 <= 2 ms",
    "throughput >= 800/s at concurrency 8",
    "p99 <= 5 ms at 200/s",
    "no error",
]


def result(**given: Any) -> Result:
    levels = given.pop("levels", [level(n) for n in (1, 2, 4, 8, 16, 32)])
    judged = objectives.judge(OBJECTIVES, levels)
    known = Result(
        profile={"model": "digits", "load": {"concurrency": [1, 2, 4, 8, 16, 32]}},
        model="digits",
        versions={"digits": 3, "digits_preprocess": 2, "digits_cnn": 5},
        started=datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc),
        machine=MACHINE,
        settings={
            "digits": Settings(ensemble=True, max_batch_size=32),
            "digits_cnn": Settings(
                instances=1, max_batch_size=32, preferred=[8, 16], delay_us=100, threads=1
            ),
        },
        levels=levels,
        content=Content(
            before=Checked(replies=50), during=Checked(replies=24000), after=Checked(replies=50)
        ),
        disturbance=Disturbance(steal_share=0.01, others_share=0.02),
        objectives=judged,
        verdict="fail",
        reasons=[f"{one.text}: {one.why}" for one in judged if one.holds is False],
    )
    return known.model_copy(update=given)
