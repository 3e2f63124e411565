"""What callers feel when servers die or stall: failed calls, repeats, hedged requests.

    python perf/failover.py            a table
    python perf/failover.py --json     one line

Two real servers serve the same small model. First one of them is killed every five seconds, and
started again, while eight threads ask without a pause; then two threads ask, and one of the servers
takes 200 ms longer for one request in fifty, so that one call in a hundred is slow. Every answer is
compared.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import showing
import small_models

from modelport.client import Client, ClientError, Hedge, Retry
from modelport.errors import ParityError
from modelport.runtime.server import Server

MODEL = "double"
# Without a pause: eight keep both CPUs of a small machine busy, two leave them room, so that a
# second request costs what it costs in a service that is not at its limit.
THREADS, FEW_THREADS = 8, 2
KILL_EVERY_S = 5.0
STALL_S, STALL_EVERY = 0.2, 50

CODE = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.seen = 0

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        self.seen += 1
        if {stall_every} and self.seen % {stall_every} == 0:
            time.sleep({stall_s})
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * x)])
"""


@dataclass
class Outcome:
    """What the callers of one run saw.

    Attributes:
        times_s: how long each answered call took.
        failed: errors by class.
    """

    times_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def figures(self, name: str) -> dict[str, Any]:
        """Give counts and quantiles."""
        p50, p99, p999 = np.quantile(self.times_s, [0.5, 0.99, 0.999]) * 1e3
        return {
            "client": name,
            "calls": len(self.times_s) + sum(self.failed.values()),
            "failed": sum(self.failed.values()),
            "failed_with": dict(self.failed),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 1),
            "p999_ms": round(float(p999), 1),
            "worst_ms": round(max(self.times_s) * 1e3, 1),
        }


def write(folder: Path, *, instances: int, stall_every: int = 0) -> Path:
    """Write a repository with the model."""
    code = CODE.format(stall_every=stall_every, stall_s=STALL_S)
    return small_models.write(folder, MODEL, code, instances=instances)


def ask(client: Client, goes_on: Callable[[], bool], count: int = THREADS) -> Outcome:
    """Ask from several threads for as long as it goes on."""
    outcome = Outcome()

    def caller(number: int) -> None:
        count = 0
        while goes_on():
            count += 1
            sent = np.array([number, count], np.float32)
            begin = time.perf_counter()
            try:
                answer = client.infer(MODEL, {"x": sent}, timeout_s=10)["y"]
            except ClientError as error:
                outcome.failed[type(error).__name__] += 1
                continue
            outcome.times_s.append(time.perf_counter() - begin)
            if not np.array_equal(answer, 2 * sent):
                outcome.failed["wrong answer"] += 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if outcome.failed["wrong answer"]:
        raise ParityError("a client was given another caller's answer")
    return outcome


# --- servers that are killed ------------------------------------------------------


class Pair:
    """Two servers on ports that stay the same, one of which is killed now and then."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.servers = [Server.start(repository) for _ in range(2)]
        self.kills = 0

    def urls(self, scheme: str) -> list[str]:
        """Give where both are."""
        return [str(getattr(server.endpoints, scheme)) for server in self.servers]

    def kill_one(self) -> None:
        """Kill the one that has lived longer and start it again."""
        index = self.kills % 2
        old = self.servers[index]
        os.kill(old.pid, signal.SIGKILL)
        old.stop()
        ports = {
            f"{scheme}_port": int(str(getattr(old.endpoints, scheme)).rpartition(":")[2])
            for scheme in ("http", "grpc")
        }
        self.servers[index] = Server.start(self._repository, **ports)
        self.kills += 1

    def stop(self) -> None:
        """End both."""
        for server in self.servers:
            server.stop()


def killed(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Ask two servers of which one is killed every five seconds."""
    pair = Pair(write(folder, instances=1))
    rows = []
    try:
        for scheme in ("grpc", "http"):
            for name, retry in (("repeats", Retry()), ("no repeats", Retry(attempts=1))):
                kills = pair.kills
                with Client(pair.urls(scheme), retry=retry) as client, killing(pair):
                    end_s = time.monotonic() + seconds
                    outcome = ask(client, lambda end_s=end_s: time.monotonic() < end_s)
                row = outcome.figures(f"{scheme}, {name}")
                rows.append({**row, "kills": pair.kills - kills})
    finally:
        pair.stop()
    return rows


@contextmanager
def killing(pair: Pair) -> Iterator[None]:
    """Kill one of the pair every five seconds until the block ends."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(KILL_EVERY_S):
            pair.kill_one()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- a server that stalls -----------------------------------------------------------


def stalled(folder: Path, calls: int) -> list[dict[str, Any]]:
    """Ask two servers of which one takes long for one request in fifty."""
    rows = []
    with ExitStack() as stack:
        quick = Server.start(write(folder / "quick", instances=THREADS))
        slow = Server.start(write(folder / "slow", instances=THREADS, stall_every=STALL_EVERY))
        servers = [stack.enter_context(server) for server in (quick, slow)]
        for scheme in ("grpc", "http"):
            urls = [str(getattr(server.endpoints, scheme)) for server in servers]
            for name, hedge in (("no hedge", None), ("hedge", Hedge())):
                with Client(urls, hedge=hedge) as client:
                    time.sleep(2 * STALL_S)  # until the servers have done what was left to them
                    before = executions(client)
                    left = iter(range(calls))
                    lock = threading.Lock()

                    def goes_on(left: Iterator[int] = left, lock: Any = lock) -> bool:
                        with lock:
                            return next(left, None) is not None

                    outcome = ask(client, goes_on, FEW_THREADS)
                    time.sleep(2 * STALL_S)
                    extra = executions(client) - before - calls
                rows.append({**outcome.figures(f"{scheme}, {name}"), "extra": extra})
    return rows


def executions(client: Client) -> int:
    """Count the requests that both servers have executed."""
    return sum(int(entry["inference_count"]) for entry in client.statistics(MODEL))


# --- showing --------------------------------------------------------------------


COLUMNS = {
    "client": "",
    "kills": "kills",
    "calls": "calls",
    "failed": "failed",
    "extra": "sent twice",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "p999_ms": "p99.9, ms",
    "worst_ms": "worst, ms",
}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = showing.console(120)
    titles = {
        "killed": f"one of two servers killed every {KILL_EVERY_S:g} s",
        "stalled": f"one of two servers {STALL_S * 1e3:g} ms late for 1 request in {STALL_EVERY}",
    }
    for part, title in titles.items():
        columns = {key: name for key, name in COLUMNS.items() if key in result[part][0]}
        console.print(showing.table(title, columns, result[part]))
        for row in result[part]:
            if row["failed"]:
                console.print(f"  {row['client']}: {row['failed_with']}")
    console.print(showing.in_words(result["machine"]))


@click.command(help=__doc__.split("\n")[0])
@click.option("--seconds", type=click.FloatRange(6, 600), default=30.0, show_default=True)
@click.option("--calls", type=click.IntRange(500, 100_000), default=4000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(seconds: float, calls: int, as_json: bool) -> None:
    """Measure and show."""
    about = showing.machine()
    with tempfile.TemporaryDirectory() as folder, showing.failures():
        result = {
            "machine": about,
            "killed": killed(Path(folder) / "killed", seconds),
            "stalled": stalled(Path(folder) / "stalled", calls),
        }
    showing.give(result, show, as_json=as_json)


if __name__ == "__main__":
    main()
