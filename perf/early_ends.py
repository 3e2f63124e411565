"""How often tritonserver dies of gRPC requests that end before their answer.

    python perf/early_ends.py            a table
    python perf/early_ends.py --json     one line

A model that answers at once, or after 50 ms, is asked by plain grpcio. Its requests are cancelled,
or run out of time, either when their answer is due or long before. A server that dies is started
again.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import grpc
import showing
import small_models
from tritonclient.grpc import service_pb2

from modelport.runtime.server import Server

MODEL = "echo"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
THREADS = 2

CODE = """
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        time.sleep(float(x[0]))
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", x)])
"""


@dataclass(frozen=True)
class Way:
    """How requests end early.

    Attributes:
        name: in words.
        busy_s: how long the model takes for each.
        after_s: between which times they end, from when they were sent.
        deadline: they have a deadline then, and are not cancelled.
    """

    name: str
    busy_s: float
    after_s: tuple[float, float]
    deadline: bool = False


WAYS = (
    Way("cancelled when the answer is due", 0.0, (0.0, 0.002)),
    Way("out of time when the answer is due", 0.0, (0.0002, 0.0015), deadline=True),
    Way("cancelled long before the answer", 0.05, (0.005, 0.04)),
    Way("out of time long before the answer", 0.05, (0.005, 0.04), deadline=True),
)


@dataclass
class Outcome:
    """How many requests of one way ended early, and of how many of them a server died."""

    name: str
    ended_early: int = 0
    deaths: int = 0


def request(seconds: float) -> bytes:
    """Write the request for an answer after so many seconds."""
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(seconds)
    written: bytes = message.SerializeToString()
    return written


def ask(way: Way, address: str, over: threading.Event) -> int:
    """Send requests that end early until it is over; gives how many did."""
    counts: list[int] = []
    message = request(way.busy_s)

    def caller(number: int) -> None:
        chance, count = random.Random(number), 0  # noqa: S311
        while not over.is_set():
            seconds = chance.uniform(*way.after_s)
            call = method.future(message, timeout=seconds if way.deadline else None)
            if not way.deadline:
                time.sleep(seconds)
                call.cancel()
            try:
                call.result()
            except (grpc.RpcError, grpc.FutureCancelledError):
                count += 1
        counts.append(count)

    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(METHOD)
        threads = [threading.Thread(target=caller, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts)


def measure(way: Way, repository: Path, seconds: float) -> Outcome:
    """End requests early for so long, with as many servers as it takes."""
    outcome, until_s = Outcome(way.name), time.monotonic() + seconds
    while time.monotonic() < until_s:
        with Server.start(repository) as server:
            over = threading.Event()
            watch = threading.Thread(target=_watch, args=(server, until_s, over))
            watch.start()
            outcome.ended_early += ask(way, server.endpoints.grpc.partition("://")[2], over)
            watch.join()
            outcome.deaths += server.status is not None
    return outcome


def _watch(server: Server, until_s: float, over: threading.Event) -> None:
    while server.status is None and time.monotonic() < until_s:
        time.sleep(0.02)
    over.set()


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    columns = {"name": "", "ended_early": "ended early", "deaths": "servers that died"}
    title = "requests over gRPC that end before their answer"
    console = showing.console(120)
    console.print(showing.table(title, columns, result["ways"]))
    console.print(showing.in_words(result["machine"]))


@click.command(help=__doc__.split("\n")[0])
@click.option("--seconds", type=click.FloatRange(5, 3600), default=45.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(seconds: float, as_json: bool) -> None:
    """Measure and show."""
    about = showing.machine()
    with tempfile.TemporaryDirectory() as folder:
        small_models.write(Path(folder), MODEL, CODE, instances=8)
        with showing.failures():
            ways = [asdict(measure(way, Path(folder), seconds)) for way in WAYS]
    result = {"machine": about, "seconds": seconds, "ways": ways}
    showing.give(result, show, as_json=as_json)


if __name__ == "__main__":
    main()
