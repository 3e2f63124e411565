"""The load of perf/peers against servers that answer in the ways that servers may."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing

import grpc
import numpy as np
import pytest
from peers import encodings, grpc_wire, http_wire, networks
from peers.networks import NETWORKS

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def plugs() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(5)
        yield ours, theirs


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        # A chunk that ends as the last chunk does.
        (CHUNKED + b"9\r\nhell0\r\n\r\n\r\n0\r\n\r\n", b"hell0\r\n\r\n"),
    ],
    ids=["length", "empty", "chunked", "chunk like the last"],
)
def test_an_answer_is_read_however_it_is_cut(
    plugs: tuple[socket.socket, socket.socket], answer: bytes, body: bytes
) -> None:
    ours, theirs = plugs
    wire = http_wire.Connection(ours, "/")
    for _ in range(2):  # nothing of the first is left for the second
        found = None
        for index in range(len(answer)):
            assert found is None
            theirs.sendall(answer[index : index + 1])
            found = wire.receive()
        assert found == body


def test_a_failure_is_no_answer(plugs: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plugs
    theirs.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlate")
    with pytest.raises(ValueError, match="status 503: b'late'"):
        http_wire.Connection(ours, "/").receive()
    theirs.close()
    with pytest.raises(ConnectionError):
        http_wire.Connection(ours, "/").receive()


@pytest.fixture
def echo() -> Iterator[int]:
    """A real gRPC server: it gives messages back, and refuses the word ``no``."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"no":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return request

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            return grpc.unary_unary_rpc_method_handler(answer) if details.method == "/a/B" else None

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def ask(wire: grpc_wire.Connection, message: bytes) -> bytes:
    wire.send(message)
    while (found := wire.receive()) is None:
        pass
    return found


def test_messages_of_any_size_come_back_over_grpc(echo: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", echo), timeout=5)) as plug:
        wire = grpc_wire.Connection(plug, "/a/B")
        # The last ones are larger than a frame, and than the server's first window.
        for size in (0, 1, 16_384, 60_000, 600_000, 7, 3_000_000):
            message = bytes(range(256)) * (size // 256) + bytes(size % 256)
            assert ask(wire, message) == message


def test_a_refused_call_is_no_answer(echo: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", echo), timeout=5)) as plug:
        wire = grpc_wire.Connection(plug, "/a/B")
        with pytest.raises(ValueError, match="without a message"):
            ask(wire, b"no")
        assert ask(wire, b"yes") == b"yes"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "make",
    [
        encodings.v2_binary,
        encodings.v2_json,
        lambda: encodings.raw("/predict"),
        lambda: encodings.json_arrays("/predict"),
    ],
    ids=["v2_binary", "v2_json", "raw", "json_arrays"],
)
def test_a_request_is_one_whole_http_request(
    make: Callable[[], encodings.Encoding], name: str
) -> None:
    network = NETWORKS[name]
    for feeds in network.questions()[:2]:
        request = make().request(network, feeds)
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


def test_the_questions_differ_and_are_the_same_every_time() -> None:
    for network in NETWORKS.values():
        found = [b"".join(a.tobytes() for a in feeds.values()) for feeds in network.questions()]
        assert len(set(found)) == networks.QUESTIONS
        assert found == [
            b"".join(a.tobytes() for a in feeds.values()) for feeds in network.questions()
        ]


def test_a_binary_answer_is_read_past_its_json() -> None:
    head = b'{"model_name":"model","outputs":[{"name":"logits","datatype":"FP32","shape":[1,3]}]}'
    array = np.array([[1, -2, 0.5]], np.float32)
    found = encodings.v2_binary().answer(NETWORKS["cnn"], head + array.tobytes())
    assert np.array_equal(found, array)


def test_another_question_s_answer_is_wrong() -> None:
    expected = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert networks.is_right(expected * 1.00001, expected)
    assert not networks.is_right(expected * 1.01, expected)
    assert not networks.is_right(expected[:, ::-1], expected)
    assert not networks.is_right(expected[:, :2], expected)
