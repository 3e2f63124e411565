"""One level of load on one model: perf_analyzer started, awaited, and its records read.

In a closed loop a number of callers each wait for their reply before they ask again. In an open
loop requests are sent when a schedule of ours wants them (``--request-intervals``), answered or
not, and latency counts from that moment: a server that stalls delays no request, and so is not
spared by its own slowness (coordinated omission).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from modelport.client.url import parse
from modelport.errors import LoadTestError
from modelport.perf import records
from modelport.perf.analyzer import Analyzer
from modelport.perf.questions import Questions
from modelport.perf.records import Records
from modelport.runtime import proc

# perf_analyzer judges the windows of a closed loop; all are taken, and judged by us.
_WINDOWS = 3
_ANY_SPREAD = "100000"
# Beyond what it is to take: perf_analyzer waits for the last replies and writes its records.
_PATIENCE_S = 30.0
# A program, but killed by the kernel when this process is (PR_SET_PDEATHSIG): a load that lived on
# would go to somebody's server.
_BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
# perf_analyzer 2.51.0 does not come to an end where replies stay far behind a schedule.
_UNENDING = "requests come faster than they are answered, or never are: it waits for the last reply"
_SAMPLE_S = 0.05


@dataclass(frozen=True)
class Closed:
    """Callers who wait for each reply; of a sequence model, sequences under way at once."""

    concurrency: int
    duration_s: float


@dataclass(frozen=True)
class Open:
    """Requests at their times.

    Attributes:
        intervals_s: seconds between arrivals: ``float64[n]``.
        duration_s: that the schedule is made for; the last request may come earlier.
    """

    intervals_s: np.ndarray
    duration_s: float

    @property
    def rate_per_s(self) -> float:
        """Requests a second, on average."""
        return len(self.intervals_s) / self.duration_s


Load: TypeAlias = Closed | Open


@dataclass(frozen=True)
class Outcome:
    """What came of a load.

    Attributes:
        records: of each request; None when perf_analyzer gave up.
        problem: why it did, in its own words.
        cpu_s: that perf_analyzer spent.
        measured: begin and end of it on the clock of :func:`time.monotonic`.
    """

    records: Records | None
    problem: str
    cpu_s: float
    measured: tuple[float, float]


def run(
    analyzer: Analyzer,
    url: str,
    questions: Questions,
    load: Load,
    *,
    folder: Path,
    on_tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Put a load on a model of a running server.

    Args:
        analyzer: makes the load.
        url: ``http://`` or ``grpc://``; its scheme chooses the protocol.
        questions: what is asked, again and again.
        load: how much.
        folder: an existing one, for perf_analyzer's files.
        on_tick: called some times a second while it runs; what it raises ends the load.

    Raises:
        LoadTestError: perf_analyzer cannot do this.
    """
    inputs, export = folder / "inputs.json", folder / "records.json"
    questions.write(inputs)
    export.unlink(missing_ok=True)
    command = [
        *_target(analyzer, url, questions),
        *("--input-data", str(inputs)),
        *("--profile-export-file", str(export)),
        *_load(load, questions, folder),
    ]
    began = time.monotonic()
    limit_s = 3 * load.duration_s + _PATIENCE_S
    status, output, cpu_s = _run(command, analyzer.variables(), limit_s, on_tick)
    measured = (began, time.monotonic())
    if status or not export.is_file():
        return Outcome(None, _words(output) or f"it ended with status {status}", cpu_s, measured)
    schedule = np.cumsum(load.intervals_s) if isinstance(load, Open) else None
    try:
        found = records.read(export, questions, schedule, load.duration_s)
    except LoadTestError as error:
        return Outcome(None, f"{error.what} ({error.cause})", cpu_s, measured)
    finally:
        export.unlink()  # a hundred megabytes, and read
    return Outcome(found, "", cpu_s, measured)


def _target(analyzer: Analyzer, url: str, questions: Questions) -> Iterator[str]:
    endpoint = parse(url)
    if endpoint.secure:
        raise LoadTestError(
            f"{url}: a load over TLS is not made",
            cause="what is measured then is TLS",
            next_step="give the address of the server itself, http:// or grpc://",
        )
    protocol = endpoint.scheme
    yield from (str(analyzer.binary), "-m", questions.model, "-i", protocol)
    yield from ("-u", f"{endpoint.host}:{endpoint.port}")
    if questions.delivery == "stream":
        if protocol != "grpc":
            raise LoadTestError(
                f"{questions.model}: its answers come as a stream, which perf_analyzer takes over"
                " gRPC alone",
                next_step='set transport = "grpc" in the profile',
            )
        yield "--streaming"


def _load(load: Load, questions: Questions, folder: Path) -> Iterator[str]:
    if isinstance(load, Closed):
        yield "--async" if questions.delivery == "stream" else "--sync"
        yield from ("--concurrency-range", str(load.concurrency))
        window_ms = max(1, round(load.duration_s / _WINDOWS * 1e3))
        yield from ("--measurement-interval", str(window_ms))
        yield from ("--max-trials", str(_WINDOWS), "--stability-percentage", _ANY_SPREAD)
        return
    if questions.delivery == "sequence":
        raise LoadTestError(
            f"{questions.model}: the steps of a sequence follow one another, so they cannot be"
            " sent at set times",
            next_step='take load.kind = "sequences" in the profile',
        )
    intervals = folder / "intervals.txt"
    # Rounded as moments, not one by one: errors of half a microsecond would add up.
    moments = np.rint(np.cumsum(load.intervals_s) * 1e6).astype(np.int64)
    intervals.write_text("".join(f"{one}\n" for one in np.diff(moments, prepend=0)))
    yield "--async"
    yield from ("--request-intervals", str(intervals), "--request-count", str(len(moments)))


def _run(
    command: list[str], variables: dict[str, str], limit_s: float, on_tick: Callable[[], None]
) -> tuple[int, str, float]:
    """Run perf_analyzer; gives its status, what it said, and the CPU time that it spent."""
    # A session of its own: Ctrl-C in the terminal reaches this process alone, which ends it.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), *command],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    said: list[bytes] = []
    reader = threading.Thread(target=lambda out=process.stdout: said.append(out.read()))
    reader.start()
    end = time.monotonic() + limit_s
    try:
        # Not waited for yet, so that the kernel still knows what it spent.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            time.sleep(_SAMPLE_S)
            on_tick()
            if time.monotonic() > end:
                return -1, f"{_UNENDING}; offer less", proc.cpu_of_s(process.pid)
        cpu_s = proc.cpu_of_s(process.pid)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        process.stdout.close()
    return process.returncode, b"".join(said).decode(errors="replace"), cpu_s


def _words(output: str) -> str:
    """Choose the words that tell why it gave up."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r"error|fail|unable|cannot|can ?not", line, re.IGNORECASE)
    ]
    return " ".join((telling or lines)[-2:])
