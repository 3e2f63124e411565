"""What Triton's statistics say of a level: waiting, computing, and the batches formed.

Source: the statistics extension of Triton's protocol. Its counts run from the load of a model, so
two readings are subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.client import Client
from modelport.perf.result import Part

_NS_PER_MS = 1e6
_STAGES = ("queue", "compute_input", "compute_infer", "compute_output")

Statistics = Mapping[str, Mapping[str, Any]]


def read(client: Client, models: Sequence[str]) -> Statistics:
    """Read the statistics of models, summed up over their versions.

    Raises:
        ClientError: the server does not answer, or does not have a model.
    """
    return {model: _summed(client.statistics(model)) for model in models}


def between(before: Statistics, after: Statistics) -> dict[str, Part]:
    """Give the part that each model had, of those that answered anything."""
    found = {}
    for model, later in after.items():
        earlier = before.get(model, {})
        requests = later["success"] - earlier.get("success", 0)
        if requests > 0:
            found[model] = _part(earlier, later, requests)
    return found


def cached(before: Statistics, after: Statistics) -> dict[str, int]:
    """Count the answers that came from the response cache, of models of which any did."""
    hits = {
        model: later["cache_hit"] - before.get(model, {}).get("cache_hit", 0)
        for model, later in after.items()
    }
    return {model: count for model, count in hits.items() if count > 0}


def _part(earlier: Mapping[str, Any], later: Mapping[str, Any], requests: int) -> Part:
    batches = {
        size: count - earlier.get("batches", {}).get(size, 0)
        for size, count in later["batches"].items()
    }
    times = {
        f"{stage}_ms": max(later[stage] - earlier.get(stage, 0), 0) / requests / _NS_PER_MS
        for stage in _STAGES
    }
    return Part(
        **times,
        requests=requests,
        executions=later["executions"] - earlier.get("executions", 0),
        batches={size: count for size, count in sorted(batches.items()) if count > 0},
    )


def _summed(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum the versions up; numbers come as texts over one of the transports."""
    found: dict[str, Any] = dict.fromkeys(("success", "cache_hit", "executions", *_STAGES), 0)
    batches: dict[int, int] = {}
    for document in documents:
        stats = document.get("inference_stats", {})
        found["success"] += int(stats.get("success", {}).get("count", 0))
        found["cache_hit"] += int(stats.get("cache_hit", {}).get("count", 0))
        found["executions"] += int(document.get("execution_count", 0))
        for stage in _STAGES:
            found[stage] += int(stats.get(stage, {}).get("ns", 0))
        for batch in document.get("batch_stats", []):
            size = int(batch["batch_size"])
            count = int(batch.get("compute_infer", {}).get("count", 0))
            batches[size] = batches.get(size, 0) + count
    return {**found, "batches": batches}
