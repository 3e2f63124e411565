"""A pair: Modelport and a peer, both up, asked in turns."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers import cores, lines, measuring, networks, results
from peers.contestants import OWN, Contestant
from peers.measuring import Running
from peers.networks import Network
from rich.progress import Progress

HERE = Path(__file__).resolve().parent
BARE_S = 1.0
SCAN_S = 0.7
STARTS_S = 25.0
"""About what it takes to start both servers of a pair, check and warm them."""


class Pair:
    """Modelport and a peer on one network.

    Args:
        peer: the other server.
        network: what both serve.
        repository: where the built models are.
        concurrencies: how many requests are under way at once.
        rounds: turns of each.
        grpc: ask those over gRPC that can be.
    """

    def __init__(
        self,
        peer: Contestant,
        network: Network,
        repository: Path,
        concurrencies: Sequence[int],
        rounds: int,
        grpc: bool = False,
    ) -> None:
        self.peer, self.network = peer, network
        self._both = (OWN.over_grpc(), peer.over_grpc()) if grpc else (OWN, peer)
        self._concurrencies, self._rounds = concurrencies, rounds
        self._repository = repository

    @property
    def steps(self) -> int:
        """How many turns there are."""
        return 2 * self._rounds * len(self._concurrencies)

    def order(self) -> dict[str, Any]:
        """Say what is measured: a result with another order is another result."""
        digest = hashlib.sha256()
        for one in (OWN, self.peer):
            digest.update(json.dumps(one.settings(self.network), sort_keys=True).encode())
            for path in sorted((HERE / one.name).iterdir()):
                if path.is_file() and path.name != "settings.toml":
                    digest.update(path.read_bytes())
        rounds, concurrencies = self._rounds, list(self._concurrencies)
        return {"settings": digest.hexdigest(), "rounds": rounds, "concurrencies": concurrencies}

    def seconds(self) -> float:
        """Estimate how long it takes."""
        turn_s = self.network.slice_s + measuring.SETTLE_S + 0.5
        return STARTS_S + self.steps * turn_s + self._rounds * (BARE_S + 0.5)

    def measure(self, batch: int, progress: Progress) -> dict[str, Any]:
        """Start both, let them take turns, and gather the figures."""
        model = networks.file(self.network, self._repository)
        expected = networks.answers(self.network, model)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelport-")))
            both: list[Running] = []
            checked = [0, 0]
            idle = []
            for index, one in enumerate(self._both):
                work = progress.add_task(f"starting {one.title}", total=None)
                start = measuring.running(one, self.network, model, expected, folder / one.name)
                server = stack.enter_context(start)
                checked[index] = server.check()
                idle.append(server.idle_cpu())
                both.append(server)
                for concurrency in self._concurrencies:
                    server.warm(concurrency, 0.5)
                server.tree.halt()
                progress.remove_task(work)
            turns, bare = self._turns(both, model, batch, progress)
            for server in both:
                server.go_on()
            memory = [server.tree.pss_bytes() >> 20 for server in both]
        sides = []
        for index, server in enumerate(both):
            count = checked[index] + sum(t["checked"] for r in turns[index].values() for t in r)
            sides.append(
                {
                    "version": server.contestant.version(),
                    "encoding": server.encoding.title,
                    "startup_s": round(server.startup_s, 2),
                    "memory_mib": memory[index],
                    "idle_cpu": round(idle[index], 4),
                    "checked": count,
                    "lines": lines.count(server.contestant.user_files(self.network)),
                    "settings": server.contestant.settings(self.network),
                    "swept": server.contestant.swept(self.network),
                }
            )
        figures = results.pair(turns[0], turns[1], bare)
        middle = sorted(bare, key=lambda one: one["cpu_ms"])[len(bare) // 2]
        return {
            "order": self.order(),
            "machine": machine(),
            "modelport": sides[0],
            "peer": sides[1],
            "figures": figures,
            "bare": {"batch": batch, **middle},
        }

    def _turns(
        self, both: Sequence[Running], model: Path, batch: int, progress: Progress
    ) -> tuple[list[dict[str, list[dict[str, Any]]]], list[dict[str, float]]]:
        turns: list[dict[str, list[dict[str, Any]]]] = [
            {str(c): [] for c in self._concurrencies} for _ in both
        ]
        bare = []
        title = f"{self.peer.title}, {self.network.title}"
        work = progress.add_task(title, total=self.steps)
        for number in range(self._rounds):
            cpu_ms, rate = measuring.bare(self.network, model, batch, BARE_S)
            bare.append({"cpu_ms": cpu_ms, "rows_per_s": rate})
            for place, concurrency in enumerate(self._concurrencies):
                for index in first_and_second(number + place):
                    server = both[index]
                    server.go_on()
                    turn = server.turn(concurrency, self.network.slice_s)
                    server.tree.halt()
                    turns[index][str(concurrency)].append(asdict(turn))
                    progress.advance(work)
        progress.remove_task(work)
        return turns, bare


def first_and_second(number: int) -> tuple[int, int]:
    """Alternate who is first, A B B A: what comes after is not always the same one."""
    return (1, 0) if number % 2 else (0, 1)


def limits(network: Network, repository: Path) -> dict[str, dict[str, float]]:
    """Measure bare ONNX Runtime at each batch size, on all CPUs: the best of three."""
    model = networks.file(network, repository)
    found: dict[str, dict[str, float]] = {}
    for _ in range(3):
        for batch in measuring.BATCHES:
            cpu_ms, rate = measuring.bare(network, model, batch, SCAN_S)
            one = found.setdefault(str(batch), {"cpu_ms": cpu_ms, "rows_per_s": rate})
            one["cpu_ms"] = min(one["cpu_ms"], cpu_ms)
            one["rows_per_s"] = max(one["rows_per_s"], rate)
    return {b: {name: round(v, 4) for name, v in one.items()} for b, one in found.items()}


def machine() -> dict[str, Any]:
    """Say what it was measured on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in info if "model name" in line), "")
    return {
        "cpu": cpu,
        "cpus": cores.COUNT,
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "load_before": os.getloadavg()[0],
    }
