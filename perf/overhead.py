"""What serving costs beside the bare computation, and Modelport's client beside tritonclient.

    python perf/overhead.py            a table
    python perf/overhead.py --json     one line

Everything that is compared is measured in one run, in turns, so that noise of the
machine falls on all alike; perf/README.md says how to read the result. Every answer
is compared with the proven one, and a wrong one fails the run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import onnxruntime
import showing
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

from modelport.client import Client
from modelport.errors import ParityError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime import proc
from modelport.runtime.server import Endpoints, Server
from modelport.serving import classes, glyphs
from modelport.spec import Tolerance
from modelport.verify.parity import compare

Arrays = Mapping[str, np.ndarray]
Call = Callable[[Case], Arrays]

NETWORK, ENSEMBLE = "digits_cnn", "digits"
BARE = "bare onnxruntime"
TRANSPORTS: dict[str, ModuleType] = {"gRPC": tritonclient.grpc, "HTTP": tritonclient.http}
# More are not needed for a median, and the answers are kept until they are compared.
MOST_CALLS = 500
CROWD = 8
# tritonclient's HTTP client cannot be shared between threads (gevent).
SHARED = {"modelport gRPC", "modelport HTTP", "tritonclient gRPC"}


@dataclass
class Way:
    """One way to ask a model, and what was measured of it, a number for each round."""

    name: str
    call: Call
    bare: bool = False
    latency_ms: list[float] = field(default_factory=list)
    client_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)

    def figures(self, base: Way, raw: Way | None) -> dict[str, Any]:
        """Give medians, and ratios as the median of the rounds' own ratios."""
        return {
            "way": self.name,
            "p50_ms": round(statistics.median(self.latency_ms), 4),
            "p50_over_bare": _ratio(self.latency_ms, base.latency_ms),
            "client_cpu_us": round(statistics.median(self.client_us), 1),
            "server_cpu_us": round(statistics.fmean(self.server_us), 1),
            "cpu_over_bare": round(self._cpu_us() / base._cpu_us(), 2),
            "p50_over_tritonclient": _ratio(self.latency_ms, raw.latency_ms) if raw else None,
            "client_cpu_over_tritonclient": _ratio(self.client_us, raw.client_us) if raw else None,
        }

    def _cpu_us(self) -> float:
        # The kernel tells a server's CPU time in steps of 10 ms: only the sum of all
        # rounds is exact enough.
        return statistics.fmean(self.client_us) + statistics.fmean(self.server_us)


def _ratio(values: Sequence[float], base: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(values, base, strict=True)), 2)


@dataclass
class Checked:
    """A model's proven cases, and the count of answers that were compared with them."""

    model: str
    cases: Sequence[Case]
    tolerance: Tolerance
    answers: int = 0

    @classmethod
    def of(cls, folder: ModelFolder) -> Checked:
        """Read the cases of one item of the version that serves."""
        served = folder.served_versions()[-1]
        bound = folder.manifest(served).proof.tolerance
        cases = Samples.read(folder.version_dir(served) / FILE_NAME).cases
        single = [case for case in cases if len(next(iter(case.inputs.values()))) == 1]
        return cls(folder.name, single[:10], Tolerance(bound.absolute, bound.relative))

    def check(self, way: str, replies: Sequence[tuple[Case, Arrays]]) -> None:
        """Compare answers with the proven ones; raises ParityError at the first wrong one."""
        for case, reply in replies:
            comparison = compare(reply, case.outputs, self.tolerance)
            if not comparison.ok:
                raise ParityError(
                    f"{self.model} by {way}: {comparison.describe()}",
                    next_step="modelport doctor, then modelport build",
                )
        self.answers += len(replies)


# --- the ways -------------------------------------------------------------------


def bare_session(folder: ModelFolder) -> onnxruntime.InferenceSession:
    """Open the network as the server does, with as many threads."""
    parameters = folder.config().parameters or {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters["intra_op_thread_count"])
    path = folder.version_dir(folder.served_versions()[-1]) / "model.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def in_process(session: onnxruntime.InferenceSession, model: str) -> Call:
    """Compute in this process what the server computes, with the same functions."""
    softmax = classes.Softmax(tuple("0123456789"))

    def network(case: Case) -> Arrays:
        return {"logits": session.run(["logits"], dict(case.inputs))[0]}

    def ensemble(case: Case) -> Arrays:
        [logits] = session.run(["logits"], glyphs.digits(case.inputs))
        return softmax({"logits": logits})

    return network if model == NETWORK else ensemble


def by_modelport(client: Client, model: str) -> Call:
    """Ask with this project's client, which also checks the arrays."""
    return lambda case: client.infer(model, case.inputs)


def by_tritonclient(module: ModuleType, client: Any, model: str, outputs: Sequence[str]) -> Call:
    """The shortest call with NVIDIA's client that gives the same arrays."""

    def call(case: Case) -> Arrays:
        tensors = []
        for name, array in case.inputs.items():
            tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        result = client.infer(model, tensors)
        return {name: result.as_numpy(name) for name in outputs}

    return call


@contextmanager
def all_ways(endpoints: Endpoints, bare: Call, checked: Checked) -> Iterator[list[Way]]:
    """Connect every client; the bare computation comes first."""
    outputs = list(checked.cases[0].outputs)
    with ExitStack() as stack:
        ways = [Way(BARE, bare, bare=True)]
        for transport, module in TRANSPORTS.items():
            url = getattr(endpoints, transport.lower())
            raw = stack.enter_context(
                closing(module.InferenceServerClient(url.partition("://")[2]))
            )
            own = stack.enter_context(Client(url))
            call = by_tritonclient(module, raw, checked.model, outputs)
            ways.append(Way(f"tritonclient {transport}", call))
            ways.append(Way(f"modelport {transport}", by_modelport(own, checked.model)))
        yield ways


# --- measuring ------------------------------------------------------------------


def one_round(way: Way, server: Server, checked: Checked, calls: int) -> None:
    """Ask one after the other and note the round's figures; answers are compared afterwards."""
    replies: list[tuple[Case, Arrays]] = []
    latencies_ms: list[float] = []
    server_before, client_before = proc.cpu_s(server.pid), time.process_time()
    for index in range(calls):
        case = checked.cases[index % len(checked.cases)]
        begin = time.perf_counter()
        reply = way.call(case)
        latencies_ms.append((time.perf_counter() - begin) * 1e3)
        replies.append((case, reply))
    client_s = time.process_time() - client_before
    server_s = 0.0 if way.bare else proc.cpu_s(server.pid) - server_before
    way.latency_ms.append(statistics.median(latencies_ms))
    way.client_us.append(client_s / calls * 1e6)
    way.server_us.append(server_s / calls * 1e6)
    checked.check(way.name, replies)


def crowd(way: Way, checked: Checked, calls: int) -> dict[str, Any]:
    """Ask from many threads that share one client: for information, the machine is small."""

    def timed(index: int) -> tuple[float, Case, Arrays]:
        case = checked.cases[index % len(checked.cases)]
        begin = time.perf_counter()
        reply = way.call(case)
        return (time.perf_counter() - begin) * 1e3, case, reply

    with ThreadPoolExecutor(CROWD) as pool:
        begin = time.perf_counter()
        done = list(pool.map(timed, range(calls)))
        took_s = time.perf_counter() - begin
    checked.check(way.name, [(case, reply) for _, case, reply in done])
    p50_ms = statistics.median(latency for latency, *_ in done)
    return {
        f"p50_ms_at_{CROWD}": round(p50_ms, 3),
        f"per_second_at_{CROWD}": round(calls / took_s),
    }


def measure(repository: Repository, model: str, *, rounds: int, calls: int) -> dict[str, Any]:
    """Serve one model and measure every way to it."""
    checked = Checked.of(repository.model(model))
    bare = in_process(bare_session(repository.model(NETWORK)), model)
    with (
        Server.start(repository.path, models=[model]) as server,
        all_ways(server.endpoints, bare, checked) as ways,
    ):
        for way in ways:  # connections, caches and clocks come to speed
            one_round(Way(way.name, way.call, way.bare), server, checked, min(calls, 100))
        for _ in range(rounds):
            for way in ways:
                one_round(way, server, checked, calls)
        crowds = {way.name: crowd(way, checked, calls) for way in ways if way.name in SHARED}
    rows = [way.figures(ways[0], _raw_of(way, ways)) | crowds.get(way.name, {}) for way in ways]
    return {"model": model, "answers_compared": checked.answers, "ways": rows}


def _raw_of(way: Way, ways: Sequence[Way]) -> Way | None:
    kind, _, transport = way.name.partition(" ")
    if kind != "modelport":
        return None
    return next(other for other in ways if other.name == f"tritonclient {transport}")


# --- showing --------------------------------------------------------------------


COLUMNS = {
    "way": "",
    "p50_ms": "p50, ms",
    "p50_over_bare": "× bare",
    "client_cpu_us": "client CPU, µs",
    "server_cpu_us": "server CPU, µs",
    "cpu_over_bare": "CPU × bare",
    "p50_over_tritonclient": "p50 × tritonclient",
    "client_cpu_over_tritonclient": "client CPU × tritonclient",
    f"p50_ms_at_{CROWD}": f"p50 at {CROWD}, ms",
    f"per_second_at_{CROWD}": f"answers/s at {CROWD}",
}


def show(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = showing.console(140)
    for measured in result["models"]:
        title = f"{measured['model']}, batch 1"
        console.print(showing.table(title, COLUMNS, measured["ways"]))
        console.print(f"{measured['answers_compared']} answers compared, all right")
    console.print(showing.in_words(result["machine"]))


@click.command(help=__doc__.split("\n")[0])
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("model_repository"),
    show_default=True,
)
@click.option("--rounds", type=click.IntRange(3, 50), default=7, show_default=True)
@click.option("--calls", type=click.IntRange(50, MOST_CALLS), default=200, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(repository: Path, rounds: int, calls: int, as_json: bool) -> None:
    """Measure and show."""
    about = showing.machine()
    opened = Repository(repository)
    with showing.failures():
        models = [
            measure(opened, model, rounds=rounds, calls=calls) for model in (NETWORK, ENSEMBLE)
        ]
    result = {"machine": about, "rounds": rounds, "calls_per_round": calls, "models": models}
    showing.give(result, show, as_json=as_json)


if __name__ == "__main__":
    main()
