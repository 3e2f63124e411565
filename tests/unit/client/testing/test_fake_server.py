"""The fake server as its users meet it; that it answers as Triton does is seen in tests/server."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from modelport.client import (
    Client,
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    ServerFaultError,
    ServerRefusedError,
    UnauthorizedError,
)
from modelport.client.regions import Region
from modelport.client.testing import FAILURES, FakeServer, Refusal, Request
from modelport.client.url import parse
from modelport.errors import PortInUseError

TEXT, COUNT = ("BYTES", [-1, 1]), ("INT32", [1])
Connect = Callable[..., Client]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        made.add(
            "upper", inputs={"text": TEXT}, outputs={"loud": TEXT}, answer=upper, max_batch_size=8
        )
        made.add("count", inputs={"to": COUNT}, outputs={"number": COUNT}, answer=count)
        yield made


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(scheme: str) -> Iterator[Connect]:
    opened: list[Client] = []

    def make(server: FakeServer, **options: Any) -> Client:
        opened.append(Client(getattr(server, f"{scheme}_url"), **options))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(server: FakeServer, connect: Connect) -> Client:
    return connect(server)


def upper(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"loud": [[text.upper()] for [text] in inputs["text"].tolist()]}


def count(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    for number in range(inputs["to"].item()):
        yield {"number": [number]}


# --- answers, and the record of what was asked ----------------------------------


def test_answers(server: FakeServer, client: Client) -> None:
    answer = client.infer("upper", {"text": ["a", "b"]}, request_id="r-1")
    assert answer["loud"].tolist() == [[b"A"], [b"B"]]
    (request,) = server.requests
    assert (request.model, request.id, request.version) == ("upper", "r-1", "")
    assert request.inputs["text"].tolist() == [[b"a"], [b"b"]]
    assert request.parameters["timeout"] > 0
    assert request.transport in client.__repr__()
    assert not request.gone.is_set()
    server.requests.clear()
    client.infer("upper", {"text": "a"}, outputs=["loud"], version=1)
    (request,) = server.requests
    assert (request.version, request.outputs) == ("1", ["loud"])


def test_every_datatype(server: FakeServer, client: Client) -> None:
    from modelport.client.tensors import DTYPES

    tensors = {name.lower(): (name, [-1, -1]) for name in DTYPES}
    outputs = {f"{name}_out": tensor for name, tensor in tensors.items()}
    server.add(
        "echo",
        inputs=tensors,
        outputs=outputs,
        answer=lambda inputs: {f"{name}_out": array for name, array in inputs.items()},
        optional=list(tensors),
    )
    for name, dtype in DTYPES.items():
        sent = (
            np.array([[b"\0", b"x"]], object)
            if name == "BYTES"
            else np.array([[0, 1]]).astype(dtype)
        )
        got = client.infer("echo", {name.lower(): sent})[f"{name.lower()}_out"]
        assert got.dtype == dtype
        assert got.tolist() == sent.tolist()


def test_the_interface_may_come_from_a_configuration(server: FakeServer, client: Client) -> None:
    document = client.config("upper")
    server.add("again", config=document, answer=upper)
    first, second = client.metadata("upper"), client.metadata("again")
    assert (second.inputs, second.outputs) == (first.inputs, first.outputs)
    assert second.max_batch_size == 8
    server.add("stream", config=client.config("count"), answer=lambda inputs: {"number": [1]})
    assert client.metadata("stream").decoupled


def test_the_whole_request(server: FakeServer, client: Client) -> None:
    totals: dict[object, int] = {}

    def add(inputs: Mapping[str, np.ndarray], request: Request) -> dict[str, Any]:
        step = request.sequence
        assert step is not None
        totals[step.id] = (0 if step.start else totals[step.id]) + inputs["x"].item()
        return {"total": [totals[step.id]]}

    server.add("add", inputs={"x": COUNT}, outputs={"total": COUNT}, answer=add, sequence=True)
    with client.sequence("add") as one, client.sequence("add") as other:
        assert one.send({"x": [1]})["total"].item() == 1
        assert other.send({"x": [10]})["total"].item() == 10
        assert one.send({"x": [2]}, end=True)["total"].item() == 3
        assert other.send({"x": [20]}, end=True)["total"].item() == 30
    assert [request.sequence.end for request in server.requests if request.sequence] == [
        False, False, True, True,
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="correlation ID"):
        client.infer("add", {"x": [1]})


def test_versions(server: FakeServer, client: Client) -> None:
    server.add(
        "which",
        inputs={"x": COUNT},
        outputs={"version": COUNT},
        answer=lambda inputs, request: {"version": [int(request.version or 0)]},
        versions=[2, 3],
    )
    assert client.metadata("which").versions == ("2", "3")
    assert client.infer("which", {"x": [1]}, version=2)["version"].item() == 2
    with pytest.raises(ModelNotFoundError, match="versions that serve: 2, 3"):
        client.infer("which", {"x": [1]}, version=4)


def test_models_come_and_go(server: FakeServer, client: Client) -> None:
    server.remove("count")
    assert not client.ready("count")
    with pytest.raises(ModelNotFoundError, match="did you mean 'upper'"):
        client.infer("uper", {"text": "a"})
    assert client.ready()
    server.ready = False
    assert not client.ready()


def test_streams(server: FakeServer) -> None:
    with Client(server.grpc_url) as client:
        assert [r["number"].item() for r in client.stream("count", {"to": [3]})] == [0, 1, 2]
        server.fail("count", after=2, times=1)
        got = []
        with pytest.raises(ServerFaultError):
            got += [response["number"].item() for response in client.stream("count", {"to": [5]})]
        stream = client.stream("count", {"to": [1000000]})
        next(stream)
        stream.close()
        assert server.requests[-1].gone.wait(10)


def test_events(server: FakeServer) -> None:
    connection = http.client.HTTPConnection(parse(server.http_url).authority)
    connection.request("POST", "/v2/models/count/generate_stream", json.dumps({"to": 2}))
    assert connection.getresponse().read().decode() == (
        'data: {"model_name":"count","model_version":"1","number":0}\n\n'
        'data: {"model_name":"count","model_version":"1","number":1}\n\n'
    )
    server.fail("count", after=1)
    connection.request("POST", "/v2/models/count/generate_stream", json.dumps({"to": 5}))
    assert connection.getresponse().read().decode().splitlines()[-2].startswith('data: {"error":')
    connection.close()


def test_what_the_answering_function_does_wrong_is_said(server: FakeServer, client: Client) -> None:
    wrong: list[tuple[Any, str]] = [
        ({}, "the answer has no output 'y'"),
        ({"y": ["a"]}, "the answer does not fit: output 'y' of 'm' has the wrong datatype"),
        ({"y": [1, 2]}, r"wrong shape: expected \[1\], got \[2\]"),
        (None, "the answer is NoneType"),
        ([1], "the answer is list"),
    ]
    for given, said in wrong:
        server.add("m", inputs={"x": COUNT}, outputs={"y": COUNT}, answer=lambda _, g=given: g)
        with pytest.raises(ServerFaultError, match=said):
            client.infer("m", {"x": [1]}, outputs=["y"])


def test_a_model_may_refuse(server: FakeServer, client: Client) -> None:
    def refuse(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        raise Refusal("too dark")

    server.add("m", inputs={"x": COUNT}, outputs={"y": COUNT}, answer=refuse)
    with pytest.raises(InvalidInputError, match="too dark"):
        client.infer("m", {"x": [1]})


@pytest.mark.parametrize(
    ("tensor", "batch", "said"),
    [(("FLOAT", [1]), 0, "'FLOAT' is none of"), (("FP32", [1]), 8, "first dimension is the batch")],
)
def test_impossible_models(server: FakeServer, tensor: Any, batch: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        server.add("m", inputs={"x": tensor}, outputs={}, answer=count, max_batch_size=batch)


# --- what goes wrong --------------------------------------------------------------

CLASSES: Mapping[str, tuple[type[ClientError], ...]] = {
    "overloaded": (OverloadedError,),
    "unavailable": (NotReadyError,),
    "unloaded": (NotReadyError, ModelNotFoundError),
    "invalid": (InvalidInputError,),
    "fault": (ServerFaultError,),
    "dead": (ServerFaultError,),
    "queue_timeout": (DeadlineExceededError,),
    "unauthenticated": (UnauthorizedError,),
    "lost": (ConnectionLostError,),
    "hang": (DeadlineExceededError,),
    "garbage": (ProtocolError,),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(server: FakeServer, client: Client, name: str) -> None:
    client.infer("upper", {"text": "a"})
    server.fail("upper", with_=name, times=None)
    with pytest.raises(CLASSES[name]):
        client.infer("upper", {"text": "a"}, timeout_s=0.5)
    server.heal()
    assert client.infer("upper", {"text": "a"})["loud"].item() == b"A"


def test_failures_are_counted_and_of_one_model(server: FakeServer, client: Client) -> None:
    server.add("other", inputs={"x": COUNT}, outputs={"y": COUNT}, answer=lambda _: {"y": [1]})
    server.fail("upper", with_="fault", times=2)
    client.infer("other", {"x": [1]})
    failed = 0
    for _ in range(3):
        with suppress(ServerFaultError):
            client.infer("upper", {"text": "a"})
            continue
        failed += 1
    assert failed == 2
    server.fail(with_="fault")
    with pytest.raises(ServerFaultError):
        client.infer("other", {"x": [1]})
    with pytest.raises(ValueError, match="none of overloaded"):
        server.fail(with_="overlaoded")


def test_a_late_answer(server: FakeServer, client: Client) -> None:
    client.metadata("upper")
    server.delay("upper", seconds=30)
    with pytest.raises(DeadlineExceededError):
        client.infer("upper", {"text": "a"}, timeout_s=0.3)
    assert server.requests[-1].gone.wait(10)  # it was seen to give up
    server.delay("upper", seconds=0)
    client.infer("upper", {"text": "a"})


def test_a_restart(server: FakeServer, client: Client) -> None:
    urls = server.http_url, server.grpc_url
    client.infer("upper", {"text": "a"})
    server.stop()
    server.stop()
    with pytest.raises((ServerRefusedError, ConnectionLostError)):
        client.infer("upper", {"text": "a"}, timeout_s=1)
    server.start()
    assert (server.http_url, server.grpc_url) == urls
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        with suppress(ServerRefusedError, ConnectionLostError, NotReadyError):
            client.infer("upper", {"text": "a"})
            return
        time.sleep(0.05)
    pytest.fail("it never answered again")


def test_stopping_ends_what_hangs(server: FakeServer, client: Client) -> None:
    client.metadata("upper")
    server.fail("upper", with_="hang", times=None)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.infer, "upper", {"text": "a"}, timeout_s=5)
        while not server.requests:
            time.sleep(0.01)
        server.stop()
        assert isinstance(call.exception(20), ClientError)


def test_headers(connect: Connect) -> None:
    with FakeServer(headers={"Authorization": "Bearer x"}, control_headers={"key": "k"}) as server:
        server.add("m", inputs={"x": COUNT}, outputs={"y": COUNT}, answer=lambda _: {"y": [1]})
        with pytest.raises(UnauthorizedError, match="authorization"):
            connect(server).metadata("m")
        client = connect(server, headers={"authorization": "Bearer x"})
        assert client.infer("m", {"x": [1]})["y"].item() == 1
        assert server.requests[0].headers["authorization"] == "Bearer x"
        with pytest.raises(ModelNotFoundError) as caught:  # the index is restricted
            client.metadata("n")
        assert "did you mean" not in str(caught.value)


def test_a_port_that_is_taken(server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            FakeServer(http_port=port)


# --- other clients -------------------------------------------------------------------


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_compression(server: FakeServer, packed: str) -> None:
    pack, unpack = {
        "gzip": (gzip.compress, gzip.decompress),
        "deflate": (zlib.compress, zlib.decompress),
    }[packed]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
    body = pack(json.dumps({"inputs": [tensor]}).encode())
    connection = http.client.HTTPConnection(parse(server.http_url).authority)
    headers = {"Content-Encoding": packed, "Accept-Encoding": packed}
    connection.request("POST", "/v2/models/upper/infer", body, headers)
    answer = connection.getresponse()
    assert answer.getheader("Content-Encoding") == packed
    assert json.loads(unpack(answer.read()))["outputs"][0]["data"] == ["A"]
    connection.close()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nvidias_client_with_shared_memory(server: FakeServer, scheme: str) -> None:
    def double(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"y": inputs["x"] * 2}

    floats = ("FP32", [-1, 4])
    server.add(
        "double", inputs={"x": floats}, outputs={"y": floats}, answer=double, max_batch_size=8
    )
    module = tritonclient.http if scheme == "http" else tritonclient.grpc
    region = Region(4096)
    region.memory[:16] = np.arange(4, dtype=np.float32).view(np.uint8)
    sent, wanted = module.InferInput("x", [1, 4], "FP32"), module.InferRequestedOutput("y")
    sent.set_shared_memory("r", 16)
    wanted.set_shared_memory("r", 16, 1024)
    with module.InferenceServerClient(parse(getattr(server, f"{scheme}_url")).authority) as triton:
        triton.register_system_shared_memory("r", region.key, 4096)
        region.unlink()
        triton.infer("double", [sent], outputs=[wanted])
        assert region.memory[1024:1040].view(np.float32).tolist() == [0, 2, 4, 6]
        server.stop()
        server.start()
    again = module.InferenceServerClient(parse(getattr(server, f"{scheme}_url")).authority)
    with again, pytest.raises(Exception, match="Unable to find shared memory region: 'r'"):
        again.infer("double", [sent], outputs=[wanted])


def test_it_is_loaded_only_when_it_is_asked_for() -> None:
    code = "import sys, modelport.client; print('modelport.client.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
