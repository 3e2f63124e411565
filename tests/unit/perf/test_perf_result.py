"""`result.json`: read as it was written, and refused when it is none."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from modelport.errors import ResultError
from modelport.perf.result import Level, Machine, Part, Result

MACHINE = Machine(processor="p", cores=2, memory_bytes=1, kernel="6", python="3.11")
LEVEL = Level(name="concurrency 8", kind="closed", duration_s=1, replies=3, replies_per_s=3)
RESULT = Result(
    model="digits",
    started=datetime(2026, 1, 2, tzinfo=timezone.utc),
    machine=MACHINE,
    levels=[LEVEL],
    verdict="pass",
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    RESULT.write(tmp_path / "result.json")
    assert Result.read(tmp_path / "result.json") == RESULT
    assert Result.read(tmp_path) == RESULT


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("{", "the file: Invalid JSON"),
        ("{}", "model: Field required; started: Field required"),
        ('{"model": "m", "typo": 1}', ": typo: Extra inputs"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str | None, complaint: str) -> None:
    file = tmp_path / "result.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ResultError) as refused:
        Result.read(file)
    assert str(file) in refused.value.what
    assert complaint in str(refused.value)


def test_nan_is_no_figure() -> None:
    with pytest.raises(ValueError, match="finite number"):
        Level.model_validate({**LEVEL.model_dump(), "spread": float("nan")})


def test_the_mean_batch_is_that_of_executions() -> None:
    times = dict.fromkeys(
        ["queue_ms", "compute_input_ms", "compute_infer_ms", "compute_output_ms"], 1.0
    )
    part = Part(**times, requests=10, executions=4, batches={1: 2, 4: 2})
    assert part.mean_batch == 2.5
    assert part.compute_ms == 3
    assert Part(**times, requests=0, executions=0).mean_batch is None
