"""Figures of a result as text: the rows that the terminal and the page show alike."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.perf.result import Judged, Latency, Level, Part, Result, Settings

# Times are milliseconds.
LEVEL_COLUMNS = (
    "level",
    "replies/s",
    "p50",
    "p90",
    "p99",
    "queue",
    "compute",
    "batch",
    "CPU",
    "MiB",
    "stable",
    "errors",
    "wrong",
)
LEVEL_NOTE = (
    "Times in ms: latencies; mean wait in all queues and mean compute of a reply, by Triton's"
    " statistics; the server's CPU time for each. Batch: mean size, of the part that forms the"
    " largest. MiB: memory of the server with all its processes."
)
OBJECTIVE_COLUMNS = ("", "objective", "found")
SETTING_COLUMNS = ("model", "version", "instances", "threads", "max batch", "preferred", "delay µs")
_MARKS = {True: "✓", False: "✗", None: "?"}
Row = tuple[object, ...]


def number(value: float | None, digits: int = 3) -> str | None:
    """Write a figure with three digits that count, thousands apart; None stays None."""
    if value is None:
        return None
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def levels(result: Result) -> list[Row]:
    """Give a row of each level, in the order of :data:`LEVEL_COLUMNS`."""
    return [_level(level, own_part(result, level)) for level in result.levels]


def own_part(result: Result, level: Level) -> Part | None:
    """Give what Triton says of the model that was asked.

    Of an ensemble Triton counts the computing of its steps and not their queues, so these are
    added, as often as a request goes through each. Code that calls other models waits for
    them while it computes: that is in its own figures already.
    """
    own = level.parts.get(result.model)
    serving = result.settings.get(result.model)
    if own is None or serving is None or not serving.ensemble or not own.requests:
        return own
    steps = [part for name, part in level.parts.items() if name != result.model]
    queue_ms = sum(step.queue_ms * step.requests for step in steps) / own.requests
    return own.model_copy(update={"queue_ms": own.queue_ms + queue_ms})


def mean_batch(level: Level) -> float | None:
    """Give the mean batch of the part that forms the largest: batches form inside an ensemble."""
    sizes = (part.mean_batch for part in level.parts.values())
    return max((size for size in sizes if size is not None), default=None)


def _level(level: Level, part: Part | None) -> Row:
    found = level.latency_ms
    memory = level.memory_bytes
    return (
        level.name,
        number(level.replies_per_s),
        *_times(found, ("p50", "p90", "p99")),
        number(part.queue_ms if part else None),
        number(part.compute_ms if part else None),
        number(mean_batch(level)),
        number(level.server_cpu_ms),
        number(None if memory is None else memory / 2**20),
        "yes" if level.stable else f"no ({level.spread:.0%})",
        number(level.errors),
        number(level.wrong),
    )


def _times(found: Latency | None, names: Sequence[str]) -> list[str | None]:
    return [number(getattr(found, name) if found else None) for name in names]


def objectives(judged: Sequence[Judged]) -> list[Row]:
    """Give a row of each objective, in the order of :data:`OBJECTIVE_COLUMNS`."""
    return [(_MARKS[one.holds], one.text, one.why) for one in judged]


def settings(result: Result) -> list[Row]:
    """Give a row of each model that took part, in the order of :data:`SETTING_COLUMNS`."""
    names = list(dict.fromkeys([*result.versions, *result.settings]))
    return [_settings(result, name, result.settings.get(name, Settings())) for name in names]


def _settings(result: Result, name: str, found: Settings) -> Row:
    return (
        name,
        result.versions.get(name),
        found.instances,
        found.threads,
        found.max_batch_size or None,
        ", ".join(map(str, found.preferred)) or None,
        None if found.delay_us is None else number(found.delay_us),
    )


def best(result: Result) -> Level | None:
    """Give the level with the most replies a second."""
    return max(result.levels, key=lambda level: level.replies_per_s, default=None)


def headline(result: Result) -> str:
    """Say in a sentence what the model does at its best."""
    level = best(result)
    if level is None or level.latency_ms is None:
        return "No level was measured."
    return (
        f"Up to {number(level.replies_per_s)} replies/s, at {level.name}: half of them within"
        f" {number(level.latency_ms.p50)} ms, 99 of 100 within {number(level.latency_ms.p99)} ms."
    )


def cautions(result: Result) -> list[str]:
    """Say what a reader has to know before relying on the figures."""
    found = []
    if result.disturbance.busy:
        note = result.disturbance.note or "measured on a busy machine"
        found.append(f"{note[0].upper()}{note[1:]}. Its neighbours are in these figures.")
    if unstable := [level.name for level in result.levels if not level.stable]:
        found.append(f"Not stable: {', '.join(unstable)}. The thirds of the level disagree.")
    if late := [level for level in result.levels if level.late_share > 0.01]:
        shares = ", ".join(f"{level.name} {level.late_share:.0%}" for level in late)
        found.append(
            f"The load generator sent requests over 1 ms late: {shares}."
            + (" Latency counts from when they were due." if all(x.corrected for x in late) else "")
        )
    timed = [level for level in result.levels if level.latency_ms is not None]
    if closed := [level.name for level in timed if not level.corrected]:
        who = f"Closed: {', '.join(closed)}." if len(closed) < len(timed) else "The load is closed."
        found.append(
            f"{who} Callers wait for replies, so a stall delays what would have been"
            " asked during it, and its latency is missing from the percentiles."
        )
    return found
