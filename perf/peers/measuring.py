"""Starting a server, asking it in turns, and checking what it says."""

from __future__ import annotations

import io
import json
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers import cores, listening, load, networks, private, tree
from peers.contestants import Contestant, Place
from peers.networks import Network

from modelport.errors import ModelportError, ParityError, ServerStartError

HERE = Path(__file__).parent
START_S = 120.0
SETTLE_S = 0.5
KEEP_EVERY, KEEP_MOST = 16, 400
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Turn:
    """What one turn of one server gave.

    Attributes:
        replies_per_s: answers in the measured seconds.
        cpu_ms: user and system time of the server's whole tree for each answer of the session.
        p50_ms: median latency.
        p99_ms: 99th percentile of latency.
        client_cpu_ms: what the load took for each answer.
        others: CPUs that others used meanwhile (host's steal included), as a share of all CPUs.
        replies: all answers of the session.
        checked: how many of them were compared.
    """

    replies_per_s: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    client_cpu_ms: float
    others: float
    replies: int
    checked: int


class LoadError(ModelportError):
    """The load got no answer, or a failure."""


class Running:
    """A server that runs and answers.

    Attributes:
        encoding: how it is asked.
        startup_s: from its start to its first right answer.
    """

    def __init__(
        self, contestant: Contestant, place: Place, expected: Sequence[np.ndarray]
    ) -> None:
        self.contestant, self._place, self._expected = contestant, place, expected
        network = place.network
        self.encoding = contestant.asked_in(place.settings)
        self._requests = [self.encoding.request(network, feeds) for feeds in network.questions()]
        python = contestant.python()
        variables = contestant.variables(place)
        log = place.folder / "log"
        begin = time.monotonic()
        command = contestant.command(place, python)
        self.tree = tree.Tree(command, variables, log, place.folder)
        try:
            self._wait(begin + START_S)
            self.startup_s = time.monotonic() - begin
            time.sleep(contestant.settle_s)
            self._is_private()
        except BaseException:
            self.tree.end()
            raise

    def _is_private(self) -> None:
        if places := listening.beyond_loopback(self.tree.pids()):
            raise ModelportError(
                f"{self.contestant.title} listens beyond loopback: {', '.join(places)}",
                next_step=f"mend how perf/peers/{self.contestant.name} starts it",
            )

    def go_on(self) -> None:
        """Let it run after a halt, and do what it missed: heartbeats are nobody's request."""
        self.tree.go_on()
        time.sleep(SETTLE_S)

    def _wait(self, until: float) -> None:
        while True:
            try:
                self._first()
            except (OSError, ValueError, LoadError) as error:  # noqa: PERF203 - it does not answer yet
                if time.monotonic() > until or not self.tree.alive():
                    raise self._dead(str(error)) from error
                time.sleep(0.02)
            else:
                return

    def _first(self) -> None:
        if self.contestant.private:
            self._compare(self._session(1, 0.0, 0.0, every=1)[0]["kept"])
            return
        port = self._place.ports[self.contestant.port]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plug:
            wire = load.WIRES[self.encoding.kind](plug, self.encoding.path)
            wire.send(self._requests[0])
            while (body := wire.receive()) is None:
                pass
        self._compare([(0, body)])

    def _dead(self, words: str) -> ServerStartError:
        tail = self.tree.log.read_text(errors="replace")[-3000:]
        return ServerStartError(
            f"{self.contestant.title} does not answer {self._place.network.name}: {words}\n{tail}",
            next_step=f"see perf/peers/{self.contestant.name}/",
        )

    def _compare(self, kept: Sequence[tuple[int, bytes]]) -> None:
        network = self._place.network
        for number, body in kept:
            answer = self.encoding.answer(network, body)
            if not networks.is_right(answer, self._expected[number]):
                raise ParityError(
                    f"{self.contestant.title}, {network.name}: a wrong answer to question {number}:"
                    f" {answer.ravel()[:4]} …, expected {self._expected[number].ravel()[:4]} …",
                    next_step="its figures mean nothing until this is mended",
                )

    def check(self, concurrency: int = 8) -> int:
        """Ask for a second and compare every answer; gives how many."""
        report = self._session(concurrency, 0.0, 1.0, every=1, most=1 << 30)[0]
        self._compare(report["kept"])
        return len(report["kept"])

    def warm(self, concurrency: int, seconds: float) -> None:
        """Ask for a while without looking."""
        self._session(concurrency, 0.0, seconds)

    def turn(self, concurrency: int, seconds: float) -> Turn:
        """Take one turn.

        Raises:
            ParityError: one of the compared answers is wrong.
            ModelportError: the server failed a request.
        """
        report, cpu_s, others = self._session(concurrency, 0.25, seconds)
        self._compare(report["kept"])
        latencies_ms = np.frombuffer(report["latencies_s"]) * 1e3
        if not len(latencies_ms):
            raise ModelportError(
                f"{self.contestant.title}: no answer in {seconds:g} s", next_step="longer turns"
            )
        return Turn(
            replies_per_s=len(latencies_ms) / seconds,
            cpu_ms=cpu_s / report["replies"] * 1e3,
            p50_ms=float(np.percentile(latencies_ms, 50)),
            p99_ms=float(np.percentile(latencies_ms, 99)),
            client_cpu_ms=report["cpu_s"] / report["replies"] * 1e3,
            others=others,
            replies=report["replies"],
            checked=len(report["kept"]),
        )

    def _session(
        self,
        concurrency: int,
        warm_s: float,
        seconds: float,
        every: int = KEEP_EVERY,
        most: int = KEEP_MOST,
    ) -> tuple[load.Report, float, float]:
        """Ask; gives the report, the tree's CPU seconds, and the others' share of the CPUs."""
        encoding = self.encoding
        order: load.Order = {
            "kind": encoding.kind,
            "port": self._place.ports[self.contestant.port],
            "path": encoding.path,
            "requests": self._requests,
            "concurrency": concurrency,
            "warm_s": warm_s,
            "seconds": seconds,
            "keep_every": every,
            "keep_most": most,
        }
        command: list[str | Path] = [sys.executable, "-I", "-S", HERE / "load.py"]
        if self.contestant.private:
            command = [*private.within(self._inside()), *command]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(order))
            process.stdin.close()
            if process.stdout.readline() != b"begin\n":
                raise LoadError(
                    f"{self.contestant.title}: the load could not connect",
                    next_step=f"its log ends: {self.tree.log.read_text(errors='replace')[-2000:]}",
                )
            before, machine = self.tree.cpu_s(), tree.machine_cpu_s()
            process.stdout.readline()
            cpu_s = self.tree.cpu_s() - before
            busy, stolen = (b - a for a, b in zip(machine, tree.machine_cpu_s(), strict=True))
            size = struct.unpack("<Q", process.stdout.read(8))[0]
            report: load.Report = pickle.loads(process.stdout.read(size))  # noqa: S301 - our own
        if report["error"]:
            raise LoadError(
                f"{self.contestant.title}, concurrency {concurrency}: {report['error']}",
                next_step=f"its log ends: {self.tree.log.read_text(errors='replace')[-2000:]}",
            )
        others = (busy - cpu_s - report["cpu_s"] + stolen) / (report["session_s"] * cores.COUNT)
        return report, cpu_s, max(0.0, others)

    def _inside(self) -> int:
        """Give the process that the keeper started, which is in the server's network."""
        _, *started = self.tree.pids()
        if not started:
            raise LoadError(f"{self.contestant.title} has not started", next_step="wait")
        return started[0]

    def idle_cpu(self, seconds: float = 1.0) -> float:
        """Give the share of one CPU that it takes while nobody asks."""
        before = self.tree.cpu_s()
        time.sleep(seconds)
        return (self.tree.cpu_s() - before) / seconds


@contextmanager
def running(
    contestant: Contestant,
    network: Network,
    model: Path,
    expected: Sequence[np.ndarray],
    folder: Path,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Running]:
    """Start a server, with its own settings if none are given; it is ended with the block."""
    folder.mkdir()
    settings = contestant.settings(network) if settings is None else settings
    place = Place(network, model, free_ports(4), folder, cores.resolved(settings))
    server = Running(contestant, place, expected)
    try:
        yield server
    finally:
        server.tree.end()


def free_ports(count: int) -> list[int]:
    """Give ports of 127.0.0.1 on which nobody listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def bare(
    network: Network, model: Path, batch: int, seconds: float, processes: int = cores.COUNT
) -> tuple[float, float]:
    """Loop over bare ONNX Runtime; gives CPU ms for each row, and rows per second."""
    buffer = io.BytesIO()
    np.savez(buffer, **_together(network))
    words = [model, network.output, str(batch), str(seconds), str(processes)]
    done = subprocess.run(
        [sys.executable, HERE / "bare.py", *words],
        input=buffer.getvalue(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    return found["cpu_s"] / found["rows"] * 1e3, found["rows_per_s"]


def _together(network: Network) -> dict[str, np.ndarray]:
    questions = network.questions()
    return {name: np.concatenate([q[name] for q in questions]) for name in network.inputs}
