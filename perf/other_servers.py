"""The same client against other servers of the Open Inference Protocol: MLServer and KServe's.

    python perf/other_servers.py            a table
    python perf/other_servers.py --json     one line

Each server is installed from PyPI into a virtual environment of its own in the cache, the one that
perf/peers/ uses, and serves the same small model (perf/servers/) on loopback, beside tritonserver.
Every operation is tried over HTTP and gRPC, blocking and asynchronously; docs/other-servers.md says
what the differences mean.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from peers import environments
from peers.environments import Installed
from rich.console import Console
from rich.table import Table

import modelport.client
from modelport.client import Client
from modelport.errors import (
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    ModelportError,
    ServerFaultError,
)
from modelport.runtime.server import Server

HERE = Path(__file__).parent / "servers"
FOLDERS = {"MLServer": "mlserver", "KServe": "kserve"}
MODEL = "invoice"
SCHEMES = {"HTTP": "http", "gRPC": "grpc"}
ONE = {"prices": [[1.5, 2, 3]], "customer": [["Ada"]]}
START_S = 60.0

Face = Any
"""A client, or what makes an asynchronous one look like it."""


# --- what is tried --------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """Something that a caller may want of a server.

    Attributes:
        name: for people.
        call: does it, and gives what came.
        expected: what must come: a value, or the class of an error.
        core: of the protocol itself; the others are extensions, or what a server may not have.
    """

    name: str
    call: Callable[[Face], Any]
    expected: Any
    core: bool = True


def _infer(customer: Any = "Ada", **options: Any) -> Callable[[Face], Any]:
    inputs = {"prices": [[1.5, 2, 3]], "customer": [[customer]]}
    return lambda face: _plain(face.infer(MODEL, inputs, **options))


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array.ravel().tolist() for name, array in answer.items()}


def _batch(rows: int) -> Callable[[Face], Any]:
    names = [[f"Zoë {row}"] for row in range(rows)]
    inputs = {"prices": np.ones((rows, 3), np.float32), "customer": names}
    return lambda face: _plain(face.infer(MODEL, inputs))


def _answer(rows: int) -> dict[str, Any]:
    return {"total": [3.0] * rows, "greeting": [f"Dear Zoë {n}".encode() for n in range(rows)]}


def _wrong(face: Face) -> Any:
    return face.infer(MODEL, {**ONE, "prices": np.ones((1, 3), np.int64)})


def _tensors(face: Face) -> list[str]:
    found = face.metadata(MODEL)
    return [f"{t.name} {t.datatype} {list(t.shape)}" for t in (*found.inputs, *found.outputs)]


def _in_sequence(face: Face) -> Any:
    return _plain(face.send(MODEL, ONE))


ANSWER = {"total": [6.5], "greeting": [b"Dear Ada"]}
TENSORS = ["prices FP32 [-1, 3]", "customer BYTES [-1, 1]"]
TENSORS += ["total FP32 [-1, 1]", "greeting BYTES [-1, 1]"]

OPERATIONS = (
    Operation("ready: server", lambda face: face.ready(), True),
    Operation("ready: model", lambda face: face.ready(MODEL), True),
    Operation("ready: no such model", lambda face: face.ready("nothing"), False),
    Operation("model metadata", _tensors, TENSORS),
    Operation("infer", _infer(), ANSWER),
    Operation("infer: batch of 3, UTF-8", _batch(3), _answer(3)),
    Operation("infer: 20 rows", _batch(20), _answer(20)),
    Operation("infer: some outputs", _infer(outputs=["total"]), {"total": [6.5]}),
    Operation("infer: request id", _infer(request_id="r-1"), ANSWER),
    Operation("infer: version", _infer(version=1), ANSWER, core=False),
    Operation(
        "infer: bytes, no text",
        _infer(b"\xff\x00"),
        {"total": [6.5], "greeting": [b"Dear \xff\x00"]},
        core=False,
    ),
    Operation("error: no such model", lambda f: f.infer("nothing", ONE), ModelNotFoundError),
    Operation("error: no such version", _infer(version=9), ModelNotFoundError, core=False),
    Operation("error: wrong datatype", _wrong, InvalidInputError),
    Operation("error: model refuses", _infer("refuse"), InvalidInputError),
    Operation("error: model fails", _infer("fail"), ServerFaultError),
    Operation("error: deadline", _infer("slow", timeout_s=0.5), DeadlineExceededError),
    Operation("infer: after errors", _infer(), ANSWER),
    Operation("sequence parameters", _in_sequence, ANSWER, core=False),
    Operation("model configuration", lambda f: "name" in f.config(MODEL), True, core=False),
)


class Blocking:
    """The blocking client."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, timeout_s=10)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send(self, model: str, inputs: Mapping[str, Any]) -> Any:
        """Send the first and last request of a sequence."""
        return self._client.sequence(model).send(inputs, end=True)


class Asynchronous:
    """The asynchronous client, each call of which is waited for."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = modelport.client.AsyncClient(url, timeout_s=10)  # type: ignore[attr-defined,unused-ignore]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **options: self._wait(method(*args, **options))

    def send(self, model: str, inputs: Mapping[str, Any]) -> Any:
        """Send the first and last request of a sequence."""
        return self._wait(self._client.sequence(model).send(inputs, end=True))

    def close(self) -> None:
        """End the client and its loop."""
        self._wait(self._client.close())
        self._loop.close()

    def _wait(self, awaitable: Any) -> Any:
        return self._loop.run_until_complete(awaitable)


FACES: dict[str, type] = {"blocking": Blocking, "asyncio": Asynchronous}


def outcome(operation: Operation, face: Face) -> str:
    """Do it; gives what differs from what is expected, or nothing."""
    wanted = operation.expected
    try:
        got = operation.call(face)
    except ClientError as error:
        if isinstance(wanted, type) and isinstance(error, wanted):
            return ""
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "" if got == wanted else f"answered {got!r}"


# --- the servers ----------------------------------------------------------------


@contextmanager
def _triton() -> Iterator[Mapping[str, str]]:
    with tempfile.TemporaryDirectory() as place:
        repository = Path(shutil.copytree(HERE / "triton", Path(place) / "repository"))
        shutil.copy(HERE / "invoice.py", repository / MODEL / "1")
        with Server.start(repository) as server:
            yield {"http": server.endpoints.http, "grpc": server.endpoints.grpc}


@contextmanager
def _mlserver(installed: Installed, log: Path) -> Iterator[Mapping[str, str]]:
    http, grpc, metrics = _free_ports(3)
    settings = {
        "HOST": "127.0.0.1",
        "HTTP_PORT": http,
        "GRPC_PORT": grpc,
        "METRICS_PORT": metrics,
        "METRICS_DIR": log.parent,
        "ENVIRONMENTS_DIR": log.parent,
        "PARALLEL_WORKERS": 0,
        "DEBUG": "false",
    }
    environment = {f"MLSERVER_{key}": str(value) for key, value in settings.items()}
    command = [installed.folder / "bin" / "mlserver", "start", HERE / "mlserver"]
    with _process(command, log, environment):
        yield _endpoints(http, grpc)


@contextmanager
def _kserve(installed: Installed, log: Path) -> Iterator[Mapping[str, str]]:
    http, grpc = _free_ports(2)
    program = HERE / "kserve" / "serve.py"
    ports = ["--http_port", str(http), "--grpc_port", str(grpc)]
    with _process([installed.folder / "bin" / "python", program, *ports], log, {}):
        yield _endpoints(http, grpc)


SERVERS = {"MLServer": _mlserver, "KServe": _kserve}


def _endpoints(http: int, grpc: int) -> Mapping[str, str]:
    found = {"http": f"http://127.0.0.1:{http}", "grpc": f"grpc://127.0.0.1:{grpc}"}
    for url in found.values():
        _wait_until_ready(url)
    return found


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        # A new client each time: one that was refused leaves the server alone for a while.
        with Client(url) as client:
            if client.ready() and client.ready(MODEL):
                return
        time.sleep(0.2)
    raise ModelportError(f"no server at {url} after {START_S:g} s", next_step="see its log")


@contextmanager
def _process(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **environment}, cwd=log.parent
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:  # KServe 0.21 waits for connections that are kept
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


# --- the program ----------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What came of one operation in one way; ``differs`` is empty where it was as expected."""

    server: str
    transport: str
    client: str
    operation: str
    core: bool
    differs: str


def try_all(server: str, urls: Mapping[str, str]) -> Iterator[Row]:
    """Try every operation on one server."""
    for transport, scheme in SCHEMES.items():
        for name, face_of in FACES.items():
            face = face_of(urls[scheme])
            for one in OPERATIONS:
                yield Row(server, transport, name, one.name, one.core, outcome(one, face))
            face.close()


def table(rows: Sequence[Row]) -> Table:
    """Show rows: a line for each operation, a column for each server and transport."""
    columns = list(dict.fromkeys((row.server, row.transport) for row in rows))
    shown = Table("operation", *(" ".join(column) for column in columns))
    for operation in OPERATIONS:
        cells = []
        for column in columns:
            found = [
                row.differs.partition(":")[0]
                for row in rows
                if (row.server, row.transport) == column and row.operation == operation.name
            ]
            cells.append(" / ".join(dict.fromkeys(one or "✓" for one in found)))
        shown.add_row(operation.name, *cells)
    return shown


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(as_json: bool) -> None:
    """Try Modelport's client on other servers of the Open Inference Protocol."""
    rows: list[Row] = []
    with _triton() as urls:
        rows += try_all("Triton", urls)
    installs = {name: environments.install(FOLDERS[name]) for name in SERVERS}
    with tempfile.TemporaryDirectory() as place:
        for name, installed in installs.items():
            log = Path(place) / f"{name}.log"
            try:
                with SERVERS[name](installed, log) as urls:
                    rows += try_all(name, urls)
            except ModelportError:
                click.echo(log.read_text(errors="replace")[-4000:], err=True)
                raise
    if as_json:
        found = [{**asdict(one), "folder": str(one.folder)} for one in installs.values()]
        click.echo(json.dumps({"installed": found, "rows": [asdict(row) for row in rows]}))
    else:
        console = Console(width=max(120, Console().width))
        console.print(table(rows))
        for row in dict.fromkeys((r.server, r.transport, r.operation, r.differs) for r in rows):
            if row[3]:
                console.print(" · ".join(row), style="dim", highlight=False, markup=False)
        for one in installs.values():
            console.print(f"{one.package}: {one.size_mib} MiB installed")
    if any(row.differs and row.core for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
