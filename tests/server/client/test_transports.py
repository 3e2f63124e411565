"""The four transports against the real server: the same answers, errors and ends."""

from __future__ import annotations

import itertools
import multiprocessing.shared_memory
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from askers import KINDS, Asker, scheme_of
from certificates import Authority, TlsProxy

from modelport.client import metadata
from modelport.client.exchange import Inference, Region
from modelport.client.options import TLS
from modelport.client.tensors import Array, Tensor
from modelport.client.url import parse
from modelport.errors import (
    CallCancelledError,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    ProtocolError,
)
from modelport.runtime.server import Server

Connect = Callable[..., Asker]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(server: Server, kind: str) -> Iterator[Connect]:
    askers: list[Asker] = []

    def make(endpoint: object = None, **options: object) -> Asker:
        url = endpoint or getattr(server.endpoints, scheme_of(kind))
        askers.append(Asker(kind, url, **options))
        return askers[-1]

    yield make
    for asker in askers:
        asker.stop()


@pytest.fixture
def asker(connect: Connect) -> Asker:
    return connect()


def one(name: str, datatype: str, values: object) -> Tensor:
    dtype = {"BYTES": object, "FP32": np.float32, "INT32": np.int32}[datatype]
    return Tensor(name, datatype, np.array(values, dtype))


def scale(*rows: list[float], **fields: object) -> Inference:
    return Inference([one("x", "FP32", rows)], **fields)  # type: ignore[arg-type]


def patience(seconds: float, note: Path) -> Inference:
    note.unlink(missing_ok=True)
    told = [one("seconds", "FP32", [seconds]), one("note", "BYTES", [str(note).encode()])]
    return Inference(told)


def said(note: Path, word: str) -> bool:
    """Wait until the model has noted this word."""
    pause = threading.Event()
    return any(
        (note.exists() and note.read_text() == word) or pause.wait(0.01) for _ in range(1000)
    )


def model_of(asker: Asker, name: str) -> metadata.ModelMetadata:
    call = asker.call(name)
    return metadata.read(asker.ask("metadata", call), asker.ask("config", call))


def streamed(asker: Asker, name: str, *tensors: Tensor, **fields: object) -> Iterator[dict]:
    inference = Inference(list(tensors), model=model_of(asker, name))
    for reply in asker.stream(asker.call(name, **fields), inference):  # type: ignore[arg-type]
        yield reply.outputs


# --- answers ---------------------------------------------------------------------


def test_an_inference(asker: Asker) -> None:
    reply = asker.ask("infer", asker.call("scale", request_id="ä1"), scale([1, 2, 3, 4]))
    assert {name: array.tolist() for name, array in reply.outputs.items()} == {
        "y": [[2, 4, 6, 8]],
        "total": [[20]],
    }
    assert reply.version == "1"
    assert not any(array.flags.writeable for array in reply.outputs.values())
    again = asker.ask("infer", asker.call("scale"), scale([1, 2, 3, 5], outputs=["total"]))
    assert {name: array.tolist() for name, array in again.outputs.items()} == {"total": [[22]]}


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_large_and_odd_tensors(connect: Connect, compression: str | None) -> None:
    """With and without compression: sizes around what is cut, joined and copied."""
    asker = connect(compression=compression)
    items = [b"", b"\x00" * 70_000, "grüße".encode()]
    for size in (0, 1, 5000, 20_001, 300_003):
        numbers = np.arange(size, dtype=np.float32).reshape(1, size)
        tensors = [
            Tensor("fp32", "FP32", numbers),
            Tensor("int8", "INT8", numbers.astype(np.int8)),
            Tensor("bytes", "BYTES", np.array([items], object)),
        ]
        outputs = asker.ask("infer", asker.call("echo"), Inference(tensors)).outputs
        assert np.array_equal(outputs["fp32_out"], numbers)
        assert outputs["fp32_out"].flags.aligned
        assert np.array_equal(outputs["int8_out"], numbers.astype(np.int8))
        assert outputs["bytes_out"].tolist() == [items]


def test_tensors_as_json(asker: Asker) -> None:
    """For servers without binary tensors over HTTP; over gRPC it changes nothing."""
    tensors = [one("bytes", "BYTES", [[b"a", "ü".encode()]]), one("int32", "INT32", [[1], [2]])]
    inference = Inference(tensors, binary=False)
    outputs = asker.ask("infer", asker.call("echo"), inference).outputs
    assert outputs["bytes_out"].tolist() == [[b"a", "ü".encode()]]
    assert outputs["int32_out"].tolist() == [[1], [2]]


def test_documents(asker: Asker, server: Server) -> None:
    assert asker.ask("server", asker.call())["name"] == "triton"
    assert asker.ask("ready", asker.call())
    assert asker.ask("ready", asker.call("scale", version="1"))
    assert asker.ask("metadata", asker.call("scale"))["name"] == "scale"
    asker.ask("infer", asker.call("scale"), scale([1, 2, 3, 4]))
    (statistics,) = asker.ask("statistics", asker.call("scale"))
    assert (statistics["name"], statistics["version"]) == ("scale", "1")
    assert int(statistics["inference_stats"]["success"]["count"]) > 0


def test_control(connect: Connect, server: Server, kind: str) -> None:
    prefix = "" if kind.endswith("http") else "triton-grpc-protocol-"
    headers = {f"{prefix}{name}": value for name, value in server.control_headers.items()}
    asker = connect(headers=lambda: headers)
    index = {entry.name: entry for entry in asker.ask("index", asker.call())}
    assert index["scale"].state == "READY"
    if kind.endswith("http"):
        with pytest.raises(ProtocolError, match="over gRPC only"):
            asker.ask("load", asker.call("upper"))
    else:
        asker.ask("load", asker.call("upper"))
    assert asker.ask("ready", asker.call("upper"))


def test_tensors_in_shared_memory(connect: Connect, server: Server, kind: str) -> None:
    prefix = "" if kind.endswith("http") else "triton-grpc-protocol-"
    headers = {f"{prefix}{name}": value for name, value in server.control_headers.items()}
    asker = connect(headers=headers)
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    view = np.ndarray((8,), np.float32, memory.buf, offset=64)
    view[:4] = [1, 2, 3, 4]
    try:
        asker.ask("register", asker.call(), f"{kind}-region", f"/{memory.name}", 4096)
        assert f"{kind}-region" in asker.ask("regions", asker.call())
        inference = scale(
            [0, 0, 0, 0],
            input_regions={"x": Region(f"{kind}-region", 64, 16)},
            output_regions={"y": Region(f"{kind}-region", 80, 16)},
            model=model_of(asker, "scale"),
        )
        reply = asker.ask("infer", asker.call("scale"), inference)
        assert reply.placed == {"y": ("FP32", (1, 4))}
        assert reply.outputs["total"].tolist() == [[20]]
        assert view[4:].tolist() == [2, 4, 6, 8]
        asker.ask("unregister", asker.call(), f"{kind}-region")
        assert f"{kind}-region" not in asker.ask("regions", asker.call())
    finally:
        del view
        memory.close()
        memory.unlink()


def test_the_hosts_name_stays_where_an_address_is_given(
    connect: Connect, server: Server, kind: str
) -> None:
    port = parse(getattr(server.endpoints, scheme_of(kind))).port
    endpoint = parse(f"{scheme_of(kind)}://no-such-host.invalid:{port}")
    asker = connect(replace(endpoint, address="127.0.0.1"))
    assert asker.ask("ready", asker.call())


# --- ends ------------------------------------------------------------------------


def test_the_deadline(asker: Asker, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
        asker.ask("infer", asker.call("patient", 0.2), patience(1, tmp_path / "note"))
    with pytest.raises(DeadlineExceededError):
        asker.ask("ready", asker.call(timeout_s=1e-9))
    assert asker.ask("ready", asker.call())


def test_a_cancelled_call_ends_at_once(asker: Asker, tmp_path: Path, kind: str) -> None:
    """A cancelled task tells the server over gRPC; a thread leaves it to itself, as HTTP does."""
    note, heard = tmp_path / "note", kind == "aio_grpc"
    seconds = 20 if heard else 0.5
    call = asker.call("patient", leavable=True)
    running = asker.begin("infer", call, patience(seconds, note))
    assert said(note, "begun")
    running.cancel()
    assert isinstance(running.outcome(), CallCancelledError)
    assert said(note, "cancelled" if heard else "done")
    answer = asker.ask("infer", call, patience(0, note))
    assert answer.outputs["cancelled"].tolist() == [False]


def test_closing_ends_what_runs(asker: Asker, tmp_path: Path, kind: str) -> None:
    note = tmp_path / "note"
    seconds = 20 if kind.endswith("grpc") else 0.5
    running = asker.begin("infer", asker.call("patient"), patience(seconds, note))
    assert said(note, "begun")
    asker.close()
    asker.close()
    outcome = running.outcome()
    assert isinstance(outcome, ClientError)
    assert "closed" in outcome.what
    with pytest.raises(ClientError, match="this client is closed"):
        asker.ask("ready", asker.call())


@pytest.mark.parametrize("leavable", [False, True])
def test_ctrl_c_cancels_on_the_server(server: Server, tmp_path: Path, leavable: bool) -> None:
    asker, note = Asker("grpc", server.endpoints.grpc), tmp_path / "note"

    def interrupt() -> None:
        said(note, "begun")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        asker.ask("infer", asker.call("patient", leavable=leavable), patience(20, note))
    assert said(note, "cancelled")
    asker.stop()


# An event loop does not survive a fork, whatever it waits for.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("aio")])
def test_a_child_after_a_fork(asker: Asker) -> None:
    assert asker.ask("ready", asker.call())
    child = os.fork()
    if child == 0:
        try:
            right = asker.ask("ready", asker.call())
        except ClientError as error:
            right = "before a fork" in error.what
        asker.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asker.ask("ready", asker.call())


# --- streams ---------------------------------------------------------------------


def count(to: int) -> Tensor:
    return one("count", "INT32", [to])


def test_a_stream(asker: Asker) -> None:
    numbers = [int(outputs["number"][0]) for outputs in streamed(asker, "stream", count(500))]
    assert numbers == list(range(500))
    assert list(streamed(asker, "stream", count(0))) == []


def test_a_stream_of_text_and_of_a_batch(asker: Asker) -> None:
    text = one("text", "BYTES", [["a"], ["ü\n\n"]])
    text = text._replace(array=np.array([[b"a"], ["ü\n\n".encode()]], object))
    (outputs,) = streamed(asker, "upper", text)
    assert outputs["loud"].tolist() == [[b"A"], ["ü\n\n".encode()]]
    (outputs,) = streamed(asker, "scale", one("x", "FP32", [[1, 2, 3, 4], [5, 6, 7, 8.5]]))
    assert outputs["y"].tolist() == [[2, 4, 6, 8], [10, 12, 14, 17]]


def test_leaving_a_stream_ends_it_on_the_server(asker: Asker) -> None:
    endless = streamed(asker, "stream", count(2_000_000_000))
    assert [int(o["number"][0]) for o in itertools.islice(endless, 3)] == [0, 1, 2]
    endless.close()  # type: ignore[attr-defined]
    # The model answers one stream at a time: this waits for ever unless the first has ended.
    assert len(list(streamed(asker, "stream", count(2)))) == 2


def test_the_time_is_for_the_whole_stream(asker: Asker) -> None:
    with pytest.raises(DeadlineExceededError):
        for _ in streamed(asker, "stream", count(2_000_000_000), timeout_s=0.3):
            pass
    assert len(list(streamed(asker, "stream", count(1)))) == 1


def test_refused_streams(asker: Asker) -> None:
    with pytest.raises(InvalidInputError, match="not a count"):
        list(streamed(asker, "stream", count(-1)))
    other = Inference([count(1)], model=model_of(asker, "stream"))
    with pytest.raises(ModelNotFoundError):
        list(asker.stream(asker.call("steam"), other))


@pytest.mark.parametrize(
    ("model", "name", "array", "why"),
    [
        ("upper", "text", np.array([[b"\xff"]], object), "not UTF-8"),
        ("echo", "int32", np.array([[1], [2]], np.int32), "not to be told from 2 values"),
        ("echo", "fp16", np.ones((1, 1), np.float16), "no FP16"),
        ("echo", "fp32", np.array([[np.inf]], np.float32), "infinite"),
        ("echo", "fp32", np.empty((0, 1), np.float32), "empty"),
    ],
)
def test_what_json_events_cannot_carry_is_refused(
    asker: Asker, kind: str, model: str, name: str, array: Array, why: str
) -> None:
    datatype = {"text": "BYTES"}.get(name, name.upper())
    tensor = Tensor(name, datatype, array)
    if kind.endswith("grpc"):
        (outputs,) = streamed(asker, model, tensor)
        (got,) = outputs.values()
        assert got.shape == array.shape
        return
    with pytest.raises(InvalidInputError, match=why) as caught:
        list(streamed(asker, model, tensor))
    assert caught.value.objects["tensor"] == name
    assert "grpc://" in str(caught.value)


# --- TLS -------------------------------------------------------------------------


def test_mutual_tls(connect: Connect, server: Server, kind: str, tmp_path: Path) -> None:
    """Triton's own HTTP has no TLS, so that a proxy ends it for both."""
    scheme = scheme_of(kind)
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "clients")
    client = theirs.issue("client")
    tls = TLS(ours.ca, client.certificate, client.key, server_name="models.example")
    port = parse(getattr(server.endpoints, scheme)).port
    with TlsProxy(ours.issue("models.example"), port, theirs.ca) as proxy:
        asker = connect(f"{scheme}s://localhost:{proxy.port}", tls=tls)
        call = asker.call("echo")
        large = np.arange(300_000, dtype=np.float32)[None]
        for _ in range(2):
            inference = Inference([Tensor("fp32", "FP32", large)])
            assert np.array_equal(asker.ask("infer", call, inference).outputs["fp32_out"], large)
