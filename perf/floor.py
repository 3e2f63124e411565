"""What a reply costs on the way to ONNX Runtime, beside a Python model that does nothing.

    python perf/floor.py                         this checkout
    python perf/floor.py --against main          and, in the same rounds, the code of a git revision
    python perf/floor.py --against ../other/src  the same with a source tree
    python perf/floor.py --json                  one line

Every version has a server of its own, and all are asked in turns, so that noise of the machine
falls on all alike; perf/README.md says how to read the result. Every answer is compared with the
proven one, and a wrong one fails the run.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import showing
import small_models

from modelport.client import AsyncClient
from modelport.errors import ParityError
from modelport.repository.layout import Repository
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime.process import stubs_of
from modelport.runtime.stubs import model_of
from modelport.spec import Tolerance
from modelport.verify.parity import compare

ROOT = Path(__file__).resolve().parents[1]
NOTHING, NETWORKS = "nothing", ("digits_cnn", "activity_lstm")
BARE = "bare loop"
TRANSPORTS = ("gRPC", "HTTP")
CALLERS = (1, 8, 32)
EXACT = Tolerance(0.0, 0.0)

# The same inputs, outputs and batcher as digits_cnn; the answer is there before the request.
NOTHING_CONFIG = """
name: "nothing"
backend: "python"
max_batch_size: 64
input { name: "glyph" data_type: TYPE_FP32 dims: [1, 28, 28] }
output { name: "logits" data_type: TYPE_FP32 dims: [10] }
dynamic_batching { max_queue_delay_microseconds: 100 }
instance_group { count: 1 }
"""
NOTHING_CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils

ANSWER = np.zeros((1, 10), np.float32)


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("logits", ANSWER)]) for _ in requests]
"""
# Run with another version of Modelport on the path: only what every version has.
SERVE = """
import json, sys
from pathlib import Path
from modelport.runtime.server import Server
with Server.start(Path(sys.argv[1]), models=sys.argv[2:], listed=False) as server:
    ends = server.endpoints
    print(json.dumps({"pid": server.pid, "gRPC": ends.grpc, "HTTP": ends.http}), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Questions:
    """A model's requests of one item, and the answers to them."""

    model: str
    cases: Sequence[Case]
    tolerance: Tolerance

    def check(self, case: Case, answer: Mapping[str, np.ndarray], way: str) -> None:
        """Raise ParityError for a wrong answer."""
        comparison = compare(answer, case.outputs, self.tolerance)
        if not comparison.ok:
            raise ParityError(f"{self.model} by {way}: {comparison.describe()}")


@dataclass(frozen=True)
class Target:
    """A running server of one version of the code."""

    version: str
    pid: int
    urls: Mapping[str, str]
    stubs: Mapping[str, int]


@dataclass
class Way:
    """One way to an answer, and what was measured of it, a number for each round."""

    model: str
    transport: str = ""
    callers: int = 1
    version: str = BARE
    p50_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    cpu_us: dict[str, list[float]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, int]:
        """What it has in common with the same way to another version."""
        return self.model, self.transport, self.callers

    def row(self, before: Way | None) -> dict[str, Any]:
        """Give medians, and those of the rounds' own ratios to ``before``."""
        cpu = {f"{who}_us": round(statistics.median(us), 1) for who, us in self.cpu_us.items()}
        found: dict[str, Any] = {
            "model": self.model,
            "transport": self.transport,
            "callers": self.callers,
            "version": self.version,
            "p50_us": round(statistics.median(self.p50_us), 1),
            "per_second": round(statistics.median(self.rate)),
            **cpu,
        }
        if before is not None:
            found["stub_ratio"] = _ratio(self.cpu_us["stub"], before.cpu_us["stub"])
            found["server_ratio"] = _ratio(self.server_us(), before.server_us())
            found["p50_ratio"] = _ratio(self.p50_us, before.p50_us)
        return found

    def server_us(self) -> list[float]:
        """Give the CPU time a reply of tritonserver and the stub together."""
        return [sum(pair) for pair in zip(self.cpu_us["triton"], self.cpu_us["stub"], strict=True)]


def _ratio(values: Sequence[float], base: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(values, base, strict=True)), 3)


# --- what is asked --------------------------------------------------------------


def questions(place: Repository) -> dict[str, Questions]:
    """Read the networks' proven cases of one item and one shape, which can be batched."""
    answer = {"logits": np.zeros((1, 10), np.float32)}
    found: dict[str, Questions] = {}
    for name in NETWORKS:
        folder = place.model(name)
        version = folder.served_versions()[-1]
        bound = folder.manifest(version).proof.tolerance
        cases = Samples.read(folder.version_dir(version) / FILE_NAME).cases
        alone = [case for case in cases if len(next(iter(case.inputs.values()))) == 1]
        alike = [case for case in alone if _shapes(case) == _shapes(alone[0])][:10]
        found[name] = Questions(name, alike, Tolerance(bound.absolute, bound.relative))
    asked = [Case(case.inputs, answer) for case in found[NETWORKS[0]].cases]
    return {NOTHING: Questions(NOTHING, asked, EXACT)} | found


def _shapes(case: Case) -> list[tuple[int, ...]]:
    return [array.shape for array in case.inputs.values()]


def repository(place: Repository, folder: Path) -> Path:
    """Make a repository of the two networks and the model that does nothing."""
    for name in NETWORKS:
        shutil.copytree(place.model(name).path, folder / name)
    return small_models.write(folder, NOTHING, NOTHING_CODE, NOTHING_CONFIG)


@contextmanager
def source(against: str) -> Iterator[Path]:
    """Give the source tree of a folder or of a git revision."""
    if (Path(against) / "modelport").is_dir():
        yield Path(against).resolve()
        return
    command = ["git", "-C", str(ROOT), "archive", against, "src"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise click.BadParameter(f"{against}: {done.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="modelport-floor-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder) / "src"


@contextmanager
def serving(version: str, src: Path, place: Path) -> Iterator[Target]:
    """Serve the three models with the code of a source tree."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(place), NOTHING, *NETWORKS],
        env=os.environ | {"PYTHONPATH": str(src)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{version}: the server did not start: look above")
        said = json.loads(line)
        folders = {str((place / name).resolve()): name for name in (NOTHING, *NETWORKS)}
        stubs = {model_of(stub.pid, folders) or "": stub.pid for stub in stubs_of(said["pid"])}
        yield Target(version, said["pid"], said, stubs)
    finally:
        process.stdin.close()
        process.wait()


# --- measuring ------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Give the CPU time of another process to the nanosecond; see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


async def ask(way: Way, target: Target, asked: Questions, calls: int) -> None:
    """Ask from some tasks that share a client, and note the round's figures."""
    replies: list[tuple[Case, Mapping[str, np.ndarray]]] = []
    latencies_us: list[float] = []
    cases = asked.cases

    async def caller(client: AsyncClient, count: int) -> None:
        for index in range(count):
            case = cases[index % len(cases)]
            begin = time.perf_counter()
            reply = await client.infer(way.model, case.inputs)
            latencies_us.append((time.perf_counter() - begin) * 1e6)
            replies.append((case, reply))

    async def crowd(client: AsyncClient, each: int) -> None:
        await asyncio.gather(*(caller(client, each) for _ in range(way.callers)))

    clocks = {"triton": target.pid, "stub": target.stubs[way.model], "client": os.getpid()}
    async with AsyncClient(target.urls[way.transport]) as client:
        await crowd(client, 20)
        replies.clear()
        latencies_us.clear()
        gc.collect()
        before, begin = {who: cpu_s(pid) for who, pid in clocks.items()}, time.perf_counter()
        await crowd(client, calls // way.callers)
        took_s = time.perf_counter() - begin
        for who, pid in clocks.items():
            us = (cpu_s(pid) - before[who]) / len(replies) * 1e6
            way.cpu_us.setdefault(who, []).append(us)
    way.p50_us.append(statistics.median(latencies_us))
    way.rate.append(len(replies) / took_s)
    for case, reply in replies:
        asked.check(case, reply, f"{way.version}, {way.transport}")


def loop(way: Way, session: onnxruntime.InferenceSession, asked: Questions, calls: int) -> None:
    """Run the network in this process, one item after the other."""
    latencies_us: list[float] = []
    names = [output.name for output in session.get_outputs()]
    before = time.process_time()
    for index in range(calls):
        case = asked.cases[index % len(asked.cases)]
        begin = time.perf_counter()
        arrays = session.run(names, dict(case.inputs))
        latencies_us.append((time.perf_counter() - begin) * 1e6)
        if index < len(asked.cases):
            asked.check(case, dict(zip(names, arrays, strict=True)), BARE)
    way.cpu_us.setdefault("client", []).append((time.process_time() - before) / calls * 1e6)
    way.p50_us.append(statistics.median(latencies_us))
    way.rate.append(1e6 / statistics.fmean(latencies_us))


def bare_session(place: Repository, name: str) -> onnxruntime.InferenceSession:
    """Open a network as the server does, with as many threads."""
    folder = place.model(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int((folder.config().parameters or {})["intra_op_thread_count"])
    path = folder.version_dir(folder.served_versions()[-1]) / "model.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measure(
    place: Repository, targets: Sequence[Target], rounds: int, calls: int, models: Sequence[str]
) -> list[dict[str, Any]]:
    """Ask every way in turns, ``rounds`` times."""
    asked = questions(place)
    sessions = {name: bare_session(place, name) for name in NETWORKS if name in models}
    bare = {name: Way(name) for name in sessions}
    ways = [
        Way(model, transport, callers, target.version)
        for model in models
        for transport in TRANSPORTS
        for callers in CALLERS
        for target in targets
    ]
    by_version = {target.version: target for target in targets}
    for number in range(rounds):
        for name, session in sessions.items():
            loop(bare[name], session, asked[name], calls)
        # What comes second profits from a warm machine: each version is first every other time.
        for way in ways if number % 2 == 0 else reversed(ways):
            asyncio.run(ask(way, by_version[way.version], asked[way.model], calls))
    old = {way.place: way for way in ways if way.version != targets[-1].version}
    rows = [way.row(None) for way in bare.values()]
    return rows + [
        way.row(old.get(way.place) if way.version == targets[-1].version else None) for way in ways
    ]


# --- showing --------------------------------------------------------------------

COLUMNS = {
    "model": "",
    "transport": "",
    "callers": "callers",
    "version": "version",
    "p50_us": "p50, µs",
    "per_second": "answers/s",
    "triton_us": "tritonserver CPU, µs",
    "stub_us": "stub CPU, µs",
    "client_us": "client CPU, µs",
    "stub_ratio": "stub × before",
    "server_ratio": "server × before",
    "p50_ratio": "p50 × before",
}


def show(result: Mapping[str, Any]) -> None:
    """Print the table."""
    compared = any("stub_ratio" in row for row in result["ways"])
    columns = {k: v for k, v in COLUMNS.items() if compared or not k.endswith("ratio")}
    title = f"one item a request; {result['rounds']} rounds of {result['calls']} calls, all right"
    title += f"; load {result['load_before']} before"
    showing.console(160).print(showing.table(title, columns, result["ways"], words=2))


@click.command(help=__doc__.split("\n")[0])
@click.option(
    "--repository",
    "path",
    type=click.Path(path_type=Path),
    default=Path("model_repository"),
    show_default=True,
)
@click.option("--against", help="A git revision, or a folder that holds the package modelport.")
@click.option("--model", "models", multiple=True, type=click.Choice([NOTHING, *NETWORKS]))
@click.option("--rounds", type=click.IntRange(2, 50), default=6, show_default=True)
@click.option("--calls", type=click.IntRange(320, 20_000), default=1_600, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(
    path: Path, against: str | None, models: Sequence[str], rounds: int, calls: int, as_json: bool
) -> None:
    """Measure and show."""
    load = round(os.getloadavg()[0], 2)
    place = Repository(path)
    with showing.failures(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floor-")))
        copied = repository(place, folder)
        sources = {against: stack.enter_context(source(against))} if against else {}
        sources["here"] = ROOT / "src"
        targets = [
            stack.enter_context(serving(version, src, copied)) for version, src in sources.items()
        ]
        rows = measure(place, targets, rounds, calls, models or (NOTHING, *NETWORKS))
    result = {"load_before": load, "rounds": rounds, "calls": calls, "ways": rows}
    showing.give(result, show, as_json=as_json)


if __name__ == "__main__":
    main()
