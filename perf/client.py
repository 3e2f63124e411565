"""What Modelport's client costs beside tritonclient: CPU time a call, throughput, memory, import.

    python perf/client.py            tables
    python perf/client.py --json     one line

A small identity model is served on the real server. Both clients ask it in turns over the same
transport, blocking and with asyncio, and every answer is compared with what was sent.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import showing
import small_models
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio

from modelport.client import AsyncClient, Client, ModelportError
from modelport.errors import ParityError
from modelport.runtime.server import Endpoints, Server
from modelport.verify import intervals

MODEL = "identity"
CROWD, IMPORT_ROUNDS = 32, 7
PROCESS_ROUNDS = 6  # an even number: both clients come second equally often
CROWD_CALLS = 4  # times as many: what each of the callers does first is to count little
ELEMENTS, LARGE_BYTES = 64, 16 * 2**20

CODE = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", a)]) for a in arrays]
"""

FIGURES = ("cpu_us", "p50_us", "per_second", "crowd_cpu_us")

Array = Any  # float32[n]
Call = Callable[[Array], Array]
AsyncCall = Callable[[Array], Awaitable[Array]]

BLOCKING: dict[str, ModuleType] = {"gRPC": tritonclient.grpc, "HTTP": tritonclient.http}
WAYS = {"blocking_ways": "blocking", "async_ways": "asyncio"}
ASYNC: dict[str, ModuleType] = {"gRPC": tritonclient.grpc.aio, "HTTP": tritonclient.http.aio}


@dataclass
class Way:
    """One client over one transport, and what was measured of it, a number for each round.

    Attributes:
        transport: gRPC or HTTP.
        client: tritonclient or modelport.
        connect: makes what a caller uses: a function, and what closes it.
    """

    transport: str
    client: str
    connect: Callable[[], tuple[Any, Any]]
    cpu_us: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    crowd_cpu_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Addresses:
    """Where the server is, for a process that did not start it."""

    grpc: str
    http: str


def check(sent: Array, answered: Array) -> None:
    """Compare an answer with what was sent."""
    if not np.array_equal(sent, answered):
        raise ParityError("the identity model answered something else than it was sent")


def arrays(count: int) -> list[Array]:
    """Give different inputs."""
    return [np.full(ELEMENTS, index, np.float32) for index in range(count)]


# --- the clients ----------------------------------------------------------------


def given(module: ModuleType, array: Array) -> Any:
    """Make tritonclient's input of an array."""
    tensor = module.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


def raw(module: ModuleType, url: str, **options: Any) -> tuple[Call, Any]:
    """Connect tritonclient and give the shortest call that gives an array."""
    client = module.InferenceServerClient(url.partition("://")[2], **options)

    def call(array: Array) -> Array:
        return client.infer(MODEL, [given(module, array)]).as_numpy("y")

    return call, client


def ours(url: str) -> tuple[Call, Any]:
    """Connect Modelport's client."""
    client = Client(url)
    return lambda array: client.infer(MODEL, {"x": array})["y"], client


def raw_async(module: ModuleType, url: str, **options: Any) -> tuple[AsyncCall, Any]:
    """Connect tritonclient for asyncio."""
    client = module.InferenceServerClient(url.partition("://")[2], **options)

    async def call(array: Array) -> Array:
        return (await client.infer(MODEL, [given(module, array)])).as_numpy("y")

    return call, client


def ours_async(url: str) -> tuple[AsyncCall, Any]:
    """Connect Modelport's client for asyncio."""
    client = AsyncClient(url)

    async def call(array: Array) -> Array:
        return (await client.infer(MODEL, {"x": array}))["y"]

    return call, client


def blocking_ways(endpoints: Endpoints | Addresses) -> list[Way]:
    """List the blocking clients, each transport's side by side."""
    ways = []
    for transport, module in BLOCKING.items():
        url = getattr(endpoints, transport.lower())
        ways += [
            Way(transport, "tritonclient", lambda m=module, u=url: raw(m, u)),
            Way(transport, "modelport", lambda u=url: ours(u)),
        ]
    return ways


def async_ways(endpoints: Endpoints | Addresses) -> list[Way]:
    """List the clients for asyncio."""
    ways = []
    for transport, module in ASYNC.items():
        url = getattr(endpoints, transport.lower())
        # tritonclient's HTTP client opens as many connections as it is told.
        options = {"conn_limit": CROWD} if transport == "HTTP" else {}
        ways += [
            Way(transport, "tritonclient", lambda m=module, u=url, o=options: raw_async(m, u, **o)),
            Way(transport, "modelport", lambda u=url: ours_async(u)),
        ]
    return ways


# --- measuring ------------------------------------------------------------------


def one_caller(way: Way, calls: int) -> None:
    """Ask one after the other from one thread."""
    call, client = way.connect()
    inputs = arrays(calls)
    for array in inputs[:20]:
        check(array, call(array))
    gc.collect()
    times, answers = [], []
    before = time.process_time()
    for array in inputs:
        begin = time.perf_counter()
        answers.append(call(array))
        times.append(time.perf_counter() - begin)
    way.cpu_us.append((time.process_time() - before) / calls * 1e6)
    way.p50_us.append(statistics.median(times) * 1e6)
    client.close()
    for array, answer in zip(inputs, answers, strict=True):
        check(array, answer)


def many_threads(way: Way, calls: int) -> None:
    """Ask from 32 threads; they share a client where that is possible."""
    shared = way.connect() if (way.transport, way.client) != ("HTTP", "tritonclient") else None
    clients = []

    def caller(inputs: list[Array]) -> list[Array]:
        # tritonclient's HTTP client belongs to the thread that made it (gevent).
        call, client = shared or way.connect()
        clients.append(client)
        return [call(array) for array in inputs]

    parts = [arrays(calls // CROWD) for _ in range(CROWD)]
    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(caller, [part[:2] for part in parts]))
        before, begin = time.process_time(), time.perf_counter()
        answers = list(pool.map(caller, parts))
        _note_crowd(way, calls, time.process_time() - before, time.perf_counter() - begin)
    if shared:
        shared[1].close()
    for part, answered in zip(parts, answers, strict=True):
        for array, answer in zip(part, answered, strict=True):
            check(array, answer)


async def one_task(way: Way, calls: int) -> None:
    """Ask one after the other from one task."""
    call, client = way.connect()
    inputs = arrays(calls)
    for array in inputs[:20]:
        check(array, await call(array))
    gc.collect()
    times, answers = [], []
    before = time.process_time()
    for array in inputs:
        begin = time.perf_counter()
        answers.append(await call(array))
        times.append(time.perf_counter() - begin)
    way.cpu_us.append((time.process_time() - before) / calls * 1e6)
    way.p50_us.append(statistics.median(times) * 1e6)
    await client.close()
    for array, answer in zip(inputs, answers, strict=True):
        check(array, answer)


async def many_tasks(way: Way, calls: int) -> None:
    """Ask from 32 tasks."""
    call, client = way.connect()

    async def caller(inputs: list[Array]) -> list[Array]:
        return [await call(array) for array in inputs]

    parts = [arrays(calls // CROWD) for _ in range(CROWD)]
    await asyncio.gather(*(caller(part[:2]) for part in parts))
    before, begin = time.process_time(), time.perf_counter()
    answers = await asyncio.gather(*(caller(part) for part in parts))
    _note_crowd(way, calls, time.process_time() - before, time.perf_counter() - begin)
    await client.close()
    for part, answered in zip(parts, answers, strict=True):
        for array, answer in zip(part, answered, strict=True):
            check(array, answer)


def _note_crowd(way: Way, calls: int, cpu_s: float, took_s: float) -> None:
    way.per_second.append(calls / took_s)
    way.crowd_cpu_us.append(cpu_s / calls * 1e6)


def measure(endpoints: Endpoints, *, rounds: int, calls: int) -> dict[str, list[dict[str, Any]]]:
    """Let the two clients of each transport take turns, several rounds.

    A few rounds share a process, with no other transport in it: what gevent leaves behind of each
    thread would slow whatever comes after it.
    """
    addresses = Addresses(endpoints.grpc, endpoints.http)
    ways = {kind: globals()[listed](addresses) for listed, kind in WAYS.items()}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as process:
        for begin in range(0, rounds, PROCESS_ROUNDS):
            count = min(PROCESS_ROUNDS, rounds - begin)
            for kind, transport in product(ways, BLOCKING):
                found = process.apply(take_turns, (addresses, kind, transport, count, calls))
                pair = [way for way in ways[kind] if way.transport == transport]
                for way, figures in zip(pair, found, strict=True):
                    for name, values in figures.items():
                        getattr(way, name).extend(values)
    return {kind: rows(listed) for kind, listed in ways.items()}


def take_turns(
    addresses: Addresses, kind: str, transport: str, rounds: int, calls: int
) -> list[dict[str, list[float]]]:
    """Measure two clients some rounds in this process; gives the figures of each."""
    listed = next(name for name, its_kind in WAYS.items() if its_kind == kind)
    pair = [way for way in globals()[listed](addresses) if way.transport == transport]
    for turn in range(rounds + 1):
        for way in pair if turn % 2 else pair[::-1]:
            if kind == "asyncio":
                asyncio.run(one_task(way, calls))
                asyncio.run(many_tasks(way, CROWD_CALLS * calls))
            else:
                one_caller(way, calls)
                many_threads(way, CROWD_CALLS * calls)
        if turn == 0:  # connections, caches and clocks came to speed
            for way in pair:
                for name in FIGURES:
                    getattr(way, name).clear()
    return [{name: getattr(way, name) for name in FIGURES} for way in pair]


def rows(ways: Iterable[Way]) -> list[dict[str, Any]]:
    """Give medians, and ratios as the median of the rounds' own ratios with its 95 % interval."""
    found = []
    base: Way | None = None
    for way in ways:
        base = way if way.client == "tritonclient" else base
        assert base is not None
        row: dict[str, Any] = {
            "transport": way.transport,
            "client": way.client,
            "cpu_us": round(statistics.median(way.cpu_us), 1),
            "p50_us": round(statistics.median(way.p50_us), 1),
            "per_second": round(statistics.median(way.per_second)),
            "crowd_cpu_us": round(statistics.median(way.crowd_cpu_us), 1),
        }
        if way is not base:
            row |= _compared("cpu_ratio", way.cpu_us, base.cpu_us)
            row["cpu_more_us"] = round(
                statistics.median(
                    one - other for one, other in zip(way.cpu_us, base.cpu_us, strict=True)
                ),
                1,
            )
            row |= _compared("throughput_ratio", way.per_second, base.per_second)
            row |= _compared("crowd_cpu_ratio", way.crowd_cpu_us, base.crowd_cpu_us)
        found.append(row)
    return found


def _compared(name: str, values: list[float], base: list[float]) -> dict[str, Any]:
    ratio = intervals.paired(values, base)
    bounds = [round(ratio.low, 3), round(ratio.high, 3)]
    return {name: round(ratio.ratio, 3), f"{name}_95_percent": bounds}


# --- memory and import: each in a process of its own ------------------------------

# What a process of its own begins with: one way, and a tensor.
ALONE = """
import json, sys, time, asyncio, tempfile
import numpy as np
sys.path.insert(0, {folder!r})
import client as perf_client
array = np.arange({elements}, dtype=np.float32)
way = next(w for w in perf_client.{ways}(perf_client.Addresses({grpc!r}, {http!r}))
           if (w.transport, w.client) == ({transport!r}, {client!r}))
"""
LARGE = """
def peak():
    open("/proc/self/clear_refs", "w").write("5")
    return lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
async def main():
    call, opened = way.connect()
    async def ask(x):
        answer = call(x)
        return await answer if asyncio.iscoroutine(answer) else answer
    perf_client.check(array, await ask(array))
    best = None
    for _ in range({times}):
        before_kib, end = resident(), peak()
        cpu = time.process_time()
        answer = await ask(array)
        cpu = time.process_time() - cpu
        kib = end() - before_kib
        perf_client.check(array, answer)
        del answer
        best = (cpu, kib) if best is None else (min(best[0], cpu), min(best[1], kib))
    print(json.dumps({{"cpu_ms": best[0] * 1e3, "peak": best[1] * 1024 / array.nbytes}}))
asyncio.run(main())
"""
# memray sees every allocation, of Python and of libraries, of every thread.
ALLOCATIONS = """
import memray
KINDS = memray.AllocatorType
FREES = (KINDS.FREE, KINDS.MUNMAP, KINDS.PYMALLOC_FREE)
async def main():
    call, opened = way.connect()
    async def ask(x):
        answer = call(x)
        return await answer if asyncio.iscoroutine(answer) else answer
    for _ in range({warm}):
        perf_client.check(array, await ask(array))
    with tempfile.TemporaryDirectory() as folder:
        with memray.Tracker(folder + "/calls", trace_python_allocators=True):
            for _ in range({times}):
                await ask(array)
        count = size = whole = 0
        for one in memray.FileReader(folder + "/calls").get_allocation_records():
            if one.allocator not in FREES:
                count += one.n_allocations
                size += one.size
                whole += one.size >= array.nbytes
    found = {{"count": count, "bytes": size, "whole": whole}}
    print(json.dumps({{name: value / {times} for name, value in found.items()}}))
asyncio.run(main())
"""


def alone(
    endpoints: Endpoints, way: Way, ways: str, script: str, **values: Any
) -> dict[str, float]:
    """Run a script on one way in a process of its own, and give what it prints."""
    text = (ALONE + script).format(
        folder=str(Path(__file__).parent),
        ways=ways,
        grpc=endpoints.grpc,
        http=endpoints.http,
        transport=way.transport,
        client=way.client,
        **values,
    )
    found: dict[str, float] = json.loads(_python(text, **EXACT))
    return found


def large(endpoints: Endpoints, *, times: int = 5) -> list[dict[str, Any]]:
    """Send and receive a tensor of 16 MiB, each way in a process of its own.

    ``peak`` is how much more memory the process held at once during the call than before it, in
    multiples of the tensor; the answer itself is 1 of them. ``copies`` counts the blocks that a
    call allocates and that could hold it.
    """
    found = []
    for ways in WAYS:
        for way in globals()[ways](endpoints):
            size = LARGE_BYTES // 4
            figures = alone(endpoints, way, ways, LARGE, elements=size, times=times)
            counted = alone(endpoints, way, ways, ALLOCATIONS, elements=size, warm=1, times=3)
            found.append(
                {
                    **_named(way, ways),
                    "cpu_ms": round(figures["cpu_ms"], 1),
                    "peak_tensors": round(figures["peak"], 2),
                    "copies": round(counted["whole"], 2),
                }
            )
    return found


def allocations(endpoints: Endpoints, *, times: int = 200) -> list[dict[str, Any]]:
    """Count what a call with 256 bytes allocates, each way in a process of its own."""
    found = []
    for ways in WAYS:
        for way in globals()[ways](endpoints):
            counted = alone(
                endpoints, way, ways, ALLOCATIONS, elements=ELEMENTS, warm=50, times=times
            )
            found.append(
                {
                    **_named(way, ways),
                    "allocations": round(counted["count"]),
                    "kib": round(counted["bytes"] / 1024, 1),
                }
            )
    return found


def _named(way: Way, ways: str) -> dict[str, str]:
    return {"kind": WAYS[ways], "transport": way.transport, "client": way.client}


IMPORT = """
import time
import numpy
def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1024
before_mib, before_s = resident(), time.process_time()
{code}
print(time.process_time() - before_s, resident() - before_mib)
"""
IMPORTS = {
    "modelport.client": "import modelport.client",
    "modelport.client, Client over gRPC": (
        "from modelport.client import Client; Client('grpc://127.0.0.1:1')"
    ),
    "modelport.client, Client over HTTP": (
        "from modelport.client import Client; Client('http://127.0.0.1:1')"
    ),
    "tritonclient.grpc": "import tritonclient.grpc",
    "tritonclient.grpc, client": (
        "import tritonclient.grpc as c; c.InferenceServerClient('127.0.0.1:1')"
    ),
    "tritonclient.http, client": (
        "import tritonclient.http as c; c.InferenceServerClient('127.0.0.1:1')"
    ),
}


def imports(*, rounds: int) -> list[dict[str, Any]]:
    """Measure imports in new processes, in turns, from the moment when numpy is there."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    memory: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            cpu_s, mib = map(float, _python(IMPORT.format(code=code)).split())
            seconds[name].append(cpu_s)
            memory[name].append(mib)
    return [
        {
            "import": name,
            "cpu_ms": round(statistics.median(seconds[name]) * 1e3),
            "memory_mib": round(statistics.median(memory[name]), 1),
        }
        for name in IMPORTS
    ]


# Large blocks go back to the kernel when they are freed, so that what is held is what counts.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def _python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    if done.returncode:
        raise ModelportError(f"a measuring process failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


# --- showing --------------------------------------------------------------------


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = showing.console(180)
    titles = {
        "transport": "",
        "client": "",
        "cpu_us": "CPU a call, µs",
        "cpu_ratio": "×",
        "cpu_more_us": "more, µs",
        "p50_us": "p50, µs",
        "per_second": f"answers/s at {CROWD}",
        "throughput_ratio": "×",
        "crowd_cpu_us": f"CPU at {CROWD}, µs",
        "crowd_cpu_ratio": "×",
    }
    for kind in ("blocking", "asyncio"):
        rows = map(_with_bounds, result[kind])
        console.print(showing.table(f"{kind}, 256 bytes", titles, rows, words=2))
    who = {"kind": "", "transport": "", "client": ""}
    columns = {"cpu_ms": "CPU a call, ms", "peak_tensors": "memory at peak, tensors"}
    columns = {**who, **columns, "copies": "blocks of its size"}
    title = "a tensor of 16 MiB there and back"
    console.print(showing.table(title, columns, result["large"], words=3))
    columns = {**who, "allocations": "allocations a call", "kib": "KiB a call"}
    title = "256 bytes there and back"
    console.print(showing.table(title, columns, result["allocations"], words=3))
    columns = {"import": "", "cpu_ms": "CPU, ms", "memory_mib": "memory, MiB"}
    console.print(showing.table("import, beyond numpy", columns, result["imports"]))
    console.print(showing.in_words(result["machine"]))


def _with_bounds(row: dict[str, Any]) -> dict[str, Any]:
    """Write ratios with the bounds between which they lie."""
    written = {
        key: f"{row[key]:.2f} ({bounds[0]:.2f}–{bounds[1]:.2f})"
        for key in row
        if (bounds := row.get(f"{key}_95_percent"))
    }
    return {**row, **written}


@click.command(help=__doc__.split("\n")[0])
@click.option("--rounds", type=click.IntRange(6, 200), default=36, show_default=True)
@click.option("--calls", type=click.IntRange(64, 10_000), default=256, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(rounds: int, calls: int, as_json: bool) -> None:
    """Measure and show."""
    about = showing.machine()
    with tempfile.TemporaryDirectory() as folder:
        small_models.write(Path(folder), MODEL, CODE)
        with showing.failures():
            with Server.start(Path(folder)) as server:
                figures = measure(server.endpoints, rounds=rounds, calls=calls)
                big = large(server.endpoints)
                counted = allocations(server.endpoints)
            loaded = imports(rounds=IMPORT_ROUNDS)
    memory = {"large": big, "allocations": counted, "imports": loaded}
    result = {"machine": about, "rounds": rounds, **figures, **memory}
    showing.give(result, show, as_json=as_json)


if __name__ == "__main__":
    main()
