"""How long `modelport up --once` takes, step by step: warm, or cold on an empty cache.

    python perf/startup.py             five warm starts, medians
    python perf/startup.py --cold      one start with nothing built and nothing fetched

The times are those of a clock outside the program. A start whose answers are not all
right fails the run; perf/README.md says how to read the result.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
# A net under a start that hangs; fetching and training take most of a cold one.
LIMIT_S = 900
_POLL_S = 0.005
# What a build writes; config.pbtxt, labels and model.py are the sources.
BUILT = ("manifest.json", "samples.json", "*.onnx", "__pycache__", ".modelport.*")

# Moments of a warm start, in order: (name, beginning of the line that tells it).
MOMENTS = (
    ("builders looked at", "models proven"),
    ("repository examined, tritonserver begins", ""),
    ("first model loaded", " loaded"),
    ("first model asked and right", "first answer"),
    ("last answer, drain begins", "waiting for requests in flight"),
    ("tritonserver ended", "tritonserver ended"),
    ("process ended", ""),
)


@dataclass
class Start:
    """One start: every line that it printed, with the seconds since the process began."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    server_s: float | None = None
    end_s: float = 0.0
    answers: int = 0

    def moments(self) -> dict[str, float]:
        """Give the seconds at which each of ``MOMENTS`` came."""
        found = {name: self._line(words) for name, words in MOMENTS if words}
        found[MOMENTS[1][0]] = self.server_s
        found[MOMENTS[-1][0]] = self.end_s
        return {name: seconds for name, _ in MOMENTS if (seconds := found[name]) is not None}

    def _line(self, words: str) -> float | None:
        return next((at for at, line in self.lines if words in line), None)


def run(folder: Path, variables: Mapping[str, str]) -> Start:
    """Run `modelport up --once` in ``folder`` and watch it; a wrong answer ends the program."""
    command = [sys.executable, "-m", "modelport.cli", "up", "--once", "--json"]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, *ports],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    start = Start()
    net = threading.Timer(LIMIT_S, process.terminate)
    net.daemon = True
    net.start()
    watcher = threading.Thread(target=_watch_for_server, args=(process, start, begin))
    watcher.start()
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stderr:
        start.lines.append((time.perf_counter() - begin, line.rstrip()))
    answer = process.stdout.read()
    process.wait()
    start.end_s = time.perf_counter() - begin
    net.cancel()
    watcher.join()
    start.answers = _checked(process.returncode, answer, start)
    return start


def _watch_for_server(process: subprocess.Popen[str], start: Start, begin: float) -> None:
    """Note when the program starts tritonserver's guardian, its last step before serving."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and start.server_s is None:
        try:
            pids = children.read_text().split()
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
        except OSError:  # one of them ended meanwhile
            continue
        if any(b"guardian.py" in command for command in commands):
            start.server_s = time.perf_counter() - begin
        time.sleep(_POLL_S)


def _checked(status: int, answer: str, start: Start) -> int:
    """Count the answers; end the program unless there are some and all are right."""
    answers = json.loads(answer)["answers"] if status == 0 else []
    if not answers or any(one["problem"] for one in answers):
        text = "\n".join(line for _, line in start.lines[-15:])
        raise SystemExit(f"modelport up ended with status {status}, or a wrong answer:\n{text}")
    return len(answers)


def cold() -> Start:
    """Start with an empty cache, on a copy of the repository in which nothing is built."""
    with tempfile.TemporaryDirectory(prefix="modelport-cold-") as name:
        folder = Path(name)
        for source in ("builders", "model_repository"):
            shutil.copytree(ROOT / source, folder / source, ignore=_built)
        return run(folder, {"MODELPORT_CACHE": str(folder / "cache")})


def _built(folder: str, names: list[str]) -> set[str]:
    """Name what a build wrote, and version folders that hold nothing else."""
    versions = {name for name in names if name.isdecimal()}
    with_code = {name for name in versions if (Path(folder) / name / "model.py").is_file()}
    return set(shutil.ignore_patterns(*BUILT)(folder, names)) | (versions - with_code)


def warm(count: int) -> list[Start]:
    """Start a few times; one start before them sees to it that everything is built."""
    run(ROOT, {})
    return [run(ROOT, {}) for _ in range(count)]


# --- showing --------------------------------------------------------------------


def medians(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """Give each moment's median, its range, and the median time since the moment before."""
    moments = [start.moments() for start in starts]
    rows, before = [], [0.0] * len(starts)
    for name in moments[0]:
        at = [one[name] for one in moments]
        steps = [now - then for now, then in zip(at, before, strict=True)]
        rows.append(
            {
                "moment": name,
                "at_s": round(statistics.median(at), 2),
                "fastest_s": round(min(at), 2),
                "slowest_s": round(max(at), 2),
                "step_s": round(statistics.median(steps), 2),
            }
        )
        before = at
    return rows


def lines(start: Start) -> list[dict[str, Any]]:
    """Give each printed line of a start, when it came and how long after the one before."""
    rows, before = [], 0.0
    for at, line in [*start.lines, (start.end_s, "process ended")]:
        if line:
            rows.append({"line": line, "at_s": round(at, 2), "step_s": round(at - before, 2)})
            before = at
    return rows


def show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print a table."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        text = column in {"moment", "line"}
        table.add_column(column.removesuffix("_s") + ("" if text else ", s"))
    for row in rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)


@click.command(help=__doc__.split("\n")[0])
@click.option("--count", type=click.IntRange(3, 20), default=5, show_default=True)
@click.option("--cold", "is_cold", is_flag=True, help="One start with nothing built or fetched.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(count: int, is_cold: bool, as_json: bool) -> None:
    """Measure and show."""
    load = round(os.getloadavg()[0], 2)
    starts = [cold()] if is_cold else warm(count)
    rows = lines(starts[0]) if is_cold else medians(starts)
    answers = starts[-1].answers
    if as_json:
        click.echo(json.dumps({"cold": is_cold, "load_before": load, "steps": rows}))
        return
    kind = "cold start" if is_cold else f"{count} warm starts, medians"
    cpus = len(os.sched_getaffinity(0))
    show(rows, f"{kind}; {answers} answers, all right; {cpus} CPUs, load {load} before")


if __name__ == "__main__":
    main()
