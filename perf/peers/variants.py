"""What the sweep tries: the same batches for every server that has them, one worker or one a CPU.

The names are those of each server's settings; settings.toml beside its program says what they do
and where that is documented. A list of stages: the best of one is the ground of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from peers.cores import WORD

Settings = Mapping[str, object]
Stages = Sequence[Sequence[Settings]]
ALONE = (1, 0.0)
BATCHES: Sequence[tuple[int, float]] = (
    ALONE,
    *((size, wait_ms) for size in (4, 8, 16) for wait_ms in (0.0, 1.0, 5.0)),
)
"""The largest batch, and how long (ms) its first item waits for others; first, no batching."""


def _batches(of: Callable[[int, float], Settings | None]) -> list[Settings]:
    """Translate all batches; None is one that the server cannot be told of."""
    return [found for batch in BATCHES if (found := of(*batch)) is not None]


def _either(name: str, *values: object) -> list[Settings]:
    return [{name: value} for value in values]


def _modelport(size: int, wait_ms: float) -> Settings:
    return {"max_batch_size": size, "delay_us": round(wait_ms * 1e3)}


def _litserve(size: int, wait_ms: float) -> Settings:
    return {"max_batch_size": size, "batch_timeout_s": wait_ms / 1e3}


def _rayserve(size: int, wait_ms: float) -> Settings:
    app = "app_alone" if (size, wait_ms) == ALONE else "app"
    return {"app": app, "max_batch_size": size, "batch_timeout_s": wait_ms / 1e3}


def _bentoml(size: int, wait_ms: float) -> Settings | None:
    # It finds out by itself how long to wait.
    if wait_ms:
        return None
    return {"service": "service" if size == 1 else "service_batched", "max_batch_size": size}


def _mlserver(size: int, wait_ms: float) -> Settings | None:
    # Zero switches its batching off.
    if (size, wait_ms) == ALONE:
        return {"max_batch_size": 0, "max_batch_time": 0.0}
    return {"max_batch_size": size, "max_batch_time": wait_ms / 1e3} if wait_ms else None


STAGES: Mapping[str, Stages] = {
    "modelport": [_batches(_modelport), _either("instances", 1, WORD)],
    "fastapi": [
        [
            {"app": app, "workers": workers}
            for app in ("app_async", "app_def")
            for workers in (1, WORD)
        ]
    ],
    "litserve": [_batches(_litserve), _either("workers", 1, WORD)],
    "bentoml": [_batches(_bentoml), _either("workers", 1, WORD)],
    "mlserver": [_batches(_mlserver), _either("parallel_workers", 0, WORD)],
    "kserve": [_either("workers", 1, WORD)],
    "rayserve": [_batches(_rayserve), _either("workers", 1, WORD)],
}
