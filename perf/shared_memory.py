"""From which size on shared memory is quicker than sending, over both transports.

    python perf/shared_memory.py            a table
    python perf/shared_memory.py --json     one line

A Python model that answers with its input is asked with tensors of 16 KiB to 64 MiB, sent and
placed in turns, so that noise of the machine falls on both alike. Every answer is compared.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import small_models
from rich.console import Console
from rich.table import Table

from modelport.client import metadata, placement, tensors, transport
from modelport.client.call import Call
from modelport.client.exchange import Inference, Reply
from modelport.client.options import Options
from modelport.client.shared_memory import SharedMemory
from modelport.client.url import parse
from modelport.runtime import proc
from modelport.runtime.server import Server

MODEL = "mirror"
ROW = 4096  # values of 4 bytes: 16 KiB
ROWS = (1, 4, 8, 16, 64, 256, 1024, 4096)

_CONFIG = f"""backend: "python"
max_batch_size: {ROWS[-1]}
input {{ name: "x" data_type: TYPE_FP32 dims: [ {ROW} ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ {ROW} ] }}
instance_group {{ count: 1 kind: KIND_CPU }}
"""
_CODE = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy())]
            )
            for r in requests
        ]
"""


@dataclass
class Way:
    """One way to ask, and what was measured of it, a number for each call or round."""

    name: str
    ask: Callable[[np.ndarray], np.ndarray]
    latency_ms: list[float] = field(default_factory=list)
    client_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)

    def round(self, x: np.ndarray, calls: int, server_pid: int) -> None:
        """Ask some times, one after the other."""
        server, client = proc.cpu_s(server_pid), time.process_time()
        for _ in range(calls):
            begin = time.perf_counter()
            answer = self.ask(x)
            self.latency_ms.append((time.perf_counter() - begin) * 1e3)
        self.client_ms.append((time.process_time() - client) / calls * 1e3)
        self.server_ms.append((proc.cpu_s(server_pid) - server) / calls * 1e3)
        if not np.array_equal(answer, x):
            raise SystemExit(f"{self.name}: a wrong answer")

    def figures(self) -> dict[str, Any]:
        """Give medians; the server's time is a mean, as the kernel counts it in steps of 10 ms."""
        return {
            "p50_ms": round(statistics.median(self.latency_ms), 3),
            "client_cpu_ms": round(statistics.median(self.client_ms), 3),
            "server_cpu_ms": round(statistics.fmean(self.server_ms), 2),
        }


def ways(url: str, headers: dict[str, str]) -> tuple[Way, Way]:
    """Give both ways to one endpoint: everything sent, and what is large placed."""
    endpoint = parse(url)
    sender = transport.connect(endpoint, Options(headers=headers))
    memory = SharedMemory(endpoint)

    def call() -> Call:
        return Call(url, 60.0, time.monotonic() + 60.0, MODEL)

    wire = sender.wire
    known = metadata.read(
        sender.ask(call(), wire.metadata(call())), sender.ask(call(), wire.config(call()))
    )

    def sent(x: np.ndarray) -> np.ndarray:
        now = call()
        inference = Inference(tensors.prepare(known, {"x": x}))
        answer: Reply = sender.ask(now, wire.infer(now, inference))
        return answer.outputs["y"]

    def placed(x: np.ndarray) -> np.ndarray:
        inference = Inference(tensors.prepare(known, {"x": x}))
        layout = placement.plan(known, inference, threshold_bytes=1)
        assert layout is not None
        steps = memory.infer(sender, call(), inference, layout)
        try:
            effect = next(steps)
            while True:
                effect = steps.send(effect.transport.ask(effect.call, effect.exchange))
        except StopIteration as end:
            return end.value.outputs["y"]  # type: ignore[no-any-return]

    return Way("sent", sent), Way("placed", placed)


def measure(rounds: int) -> list[dict[str, Any]]:
    """Serve the model and ask it in every size and way."""
    with tempfile.TemporaryDirectory() as folder:
        small_models.write(Path(folder), MODEL, _CODE, _CONFIG)
        with Server.start(Path(folder), listed=False) as server:
            return [
                row
                for rows in ROWS
                for scheme in ("http", "grpc")
                for row in _size(server, scheme, rows, rounds)
            ]


def _size(server: Server, scheme: str, rows: int, rounds: int) -> list[dict[str, Any]]:
    prefix = "triton-grpc-protocol-" if scheme == "grpc" else ""
    headers = {f"{prefix}{name}": value for name, value in server.control_headers.items()}
    both = ways(getattr(server.endpoints, scheme), headers)
    x = np.random.default_rng(rows).random((rows, ROW), np.float32)
    calls = max(3, min(100, 4096 // rows))
    for way in both:
        way.round(x, 3, server.pid)
        way.latency_ms.clear()
        way.client_ms.clear()
        way.server_ms.clear()
    for _ in range(rounds):
        for way in both:
            way.round(x, calls, server.pid)
    size = {"kib": rows * ROW * 4 // 1024, "transport": scheme}
    return [size | {"way": way.name} | way.figures() for way in both]


@click.command(help=__doc__.split("\n")[0])
@click.option("--rounds", type=click.IntRange(1, 20), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(rounds: int, as_json: bool) -> None:
    """Measure and show."""
    rows = measure(rounds)
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table("KiB", "transport", "way", "p50, ms", "client CPU, ms", "server CPU, ms")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
