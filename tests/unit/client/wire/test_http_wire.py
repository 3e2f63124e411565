"""Requests over HTTP as tritonclient writes them, and answers as servers and proxies give them."""

from __future__ import annotations

import json
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from modelport.client.call import Call
from modelport.client.exchange import Inference, Region, SequenceStep
from modelport.client.options import Options
from modelport.client.tensors import Tensor
from modelport.client.wire.answers import ReplyReader
from modelport.client.wire.http import HttpWire
from modelport.client.wire.http1 import HttpRequest, Response
from modelport.errors import ConnectionLostError, InvalidInputError, ProtocolError

names = st.text(max_size=20)
SIZE = "inference-header-content-length"


def call(**fields: str) -> Call:
    return Call("http://h:1", 60.0, time.monotonic() + 60, **fields)  # type: ignore[arg-type]


def split(request: HttpRequest) -> tuple[dict, bytes]:
    body = b"".join(request.parts)
    assert request.size == len(body)
    lines = dict(line.split(": ") for line in request.headers.strip().split("\r\n"))
    end = int(lines["Inference-Header-Content-Length"])
    document = json.loads(body[:end])
    assert 0 < document["parameters"].pop("timeout") <= 60_000_000
    return document, body[end:]


@given(
    names, st.lists(st.tuples(names, st.integers(0, 3)), max_size=3), st.lists(names, max_size=2)
)
def test_requests_are_those_of_tritonclient(
    id_: str, inputs: list[tuple[str, int]], outputs: list[str]
) -> None:
    tensors = [Tensor(name, "FP32", np.full((n, 2), n, np.float32)) for name, n in inputs]
    theirs = [InferInput(t.name, list(t.array.shape), "FP32") for t in tensors]
    for made, tensor in zip(theirs, tensors, strict=True):
        made.set_data_from_numpy(tensor.array)
    body, size = InferenceServerClient.generate_request_body(
        theirs,
        outputs=[InferRequestedOutput(name) for name in outputs],
        request_id=id_,
        sequence_id=7,
        sequence_end=True,
        priority=2,
        parameters={"a": "b"},
    )
    expected = json.loads(body[: size or len(body)])
    expected["parameters"]["binary_data_output"] = True  # of those that are not named
    wire, step = HttpWire(Options()), SequenceStep(7, start=False, end=True)
    inference = Inference(tensors, outputs, step, 2, {"a": "b"})
    document, content = split(wire.infer(call(model="m", request_id=id_), inference).request)
    assert document == expected | {"inputs": expected.get("inputs", [])}
    assert content == (body[size:] if size else b"")
    plain = Inference(tensors, outputs)
    first = split(wire.infer(call(model="m"), plain).request)
    assert first == split(wire.infer(call(model="m"), plain).request)  # from what was kept
    assert first[0]["inputs"] == document["inputs"]


def test_paths_are_quoted() -> None:
    wire = HttpWire(Options())
    request = wire.infer(call(model="a/../b ä", version="1?"), Inference(())).request
    assert request.path == "/v2/models/a%2F..%2Fb%20%C3%A4/versions/1%3F/infer"


def test_regions_take_the_place_of_contents() -> None:
    tensor = Tensor("x", "UINT8", np.zeros(8, np.uint8))
    inference = Inference(
        [tensor, tensor._replace(name="y")],
        input_regions={"x": Region("r", 16, 8)},
        output_regions={"z": Region("r", 0, 4)},
    )
    document, content = split(HttpWire(Options()).infer(call(model="m"), inference).request)
    assert document["inputs"][0]["parameters"] == {
        "shared_memory_region": "r",
        "shared_memory_offset": 16,
        "shared_memory_byte_size": 8,
    }
    assert len(content) == 8
    assert [output["name"] for output in document["outputs"]] == ["z"]


def test_bytes_that_json_cannot_carry() -> None:
    tensor = Tensor("x", "BYTES", np.array([b"\xff"], object))
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        HttpWire(Options()).infer(call(model="m"), Inference([tensor], binary=False))


# --- answers -----------------------------------------------------------------------


def read(body: bytes, headers: dict[str, str] | None = None, status: int = 200):
    exchange = HttpWire(Options()).infer(call(model="m"), Inference(()))
    return exchange.read(call(model="m"), Response(status, headers or {}, body))


def test_answers_in_json_and_in_bytes() -> None:
    outputs = [
        {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [[0.5, 2]]},
        {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["x", "ü"]},
        {"name": "c", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}},
    ]
    head = json.dumps({"model_version": "3", "outputs": outputs}).encode()
    reply = read(head + b"\1\0\2\0", {SIZE: str(len(head))})
    assert {name: array.tolist() for name, array in reply.outputs.items()} == {
        "a": [[0.5, 2]],
        "b": [b"x", "ü".encode()],
        "c": [1, 2],
    }
    assert reply.version == "3"
    assert not any(array.flags.writeable for array in reply.outputs.values())
    assert read(json.dumps({"outputs": outputs[:2]}).encode()).version == ""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_answers(coding: str) -> None:
    body = json.dumps({"outputs": []}).encode()
    packed = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    content = packed.compress(body) + packed.flush()
    assert read(content, {"content-encoding": coding}).outputs == {}
    for headers in ({"content-encoding": coding}, {"content-encoding": "br"}):
        with pytest.raises(ProtocolError):
            read(b"\xff" + content, headers)


@given(st.data())
def test_what_is_no_answer_is_an_error_of_the_protocol(data: st.DataObject) -> None:
    output = {"name": "o", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    head = json.dumps({"outputs": [output]}).encode()
    whole = head + b"\1\0\0\0a"
    broken = data.draw(
        st.one_of(
            st.tuples(st.binary(max_size=50), st.text(max_size=5)),
            st.tuples(st.just(whole), st.integers(-99, 999).map(str)),
            st.tuples(st.integers(0, len(whole)).map(lambda n: whole[:n]), st.just(f"{len(head)}")),
            st.tuples(
                st.recursive(
                    st.none() | st.integers() | st.text(max_size=3),
                    lambda inner: (
                        st.lists(inner, max_size=2)
                        | st.dictionaries(
                            st.sampled_from(["outputs", "name", "datatype", "shape", "data"]), inner
                        )
                    ),
                ).map(lambda document: json.dumps(document).encode()),
                st.none(),
            ),
        )
    )
    body, size = broken
    with suppress(ProtocolError):
        read(body, {} if size is None else {SIZE: size})
    wire = HttpWire(Options())
    for operation in ("metadata", "index", "statistics", "regions", "server", "config"):
        with suppress(ProtocolError):
            getattr(wire, operation)(call(model="m")).read(call(), Response(200, {}, body))


@pytest.mark.parametrize("status", [502, 503])
def test_what_a_proxy_refuses_may_have_run_and_a_probe_is_told_not_ready(status: int) -> None:
    response = Response(status, {}, b"<html>Bad Gateway")
    wire, what = HttpWire(Options()), call(model="m")
    with pytest.raises(ConnectionLostError, match=f"HTTP {status}"):
        wire.infer(what, Inference(())).read(what, response)
    assert wire.ready(what).read(what, response) is False


@pytest.mark.parametrize(
    "document",
    [
        {"outputs": [{"name": "o", "datatype": "UINT8", "shape": [1], "data": [300]}]},
        {"outputs": [{"name": "o", "datatype": "INT32", "shape": [1], "data": [10**400]}]},
        {"outputs": [{"name": "o", "datatype": "FP32", "shape": [10**30, 0], "data": []}]},
    ],
)
def test_numbers_that_do_not_fit_are_an_error_of_the_protocol(document: dict) -> None:
    with pytest.raises(ProtocolError):
        read(json.dumps(document).encode())


def test_an_answer_that_is_nested_without_end() -> None:
    with pytest.raises(ProtocolError):
        read(b"[" * 100_000)
    with pytest.raises(ConnectionLostError):
        read(b"[" * 100_000, status=503)


def test_layouts_that_another_thread_forgets_meanwhile() -> None:
    class Forgetful(dict):
        def __setitem__(self, key: bytes, value: object) -> None:
            """Keep nothing: as after another thread's clear()."""

    output = {"name": "o", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}}
    head = json.dumps({"outputs": [output]}).encode()
    replies = ReplyReader()
    replies._layouts = Forgetful()
    reply = replies.read(call(), Response(200, {SIZE: str(len(head))}, head + b"\5"))
    assert reply.outputs["o"].tolist() == [5]


def test_a_parameter_called_timeout_gives_way_to_the_calls() -> None:
    for value in (5, 0, "0"):
        inference = Inference((), parameters={"timeout": value, "p": 1})
        document, _ = split(HttpWire(Options()).infer(call(model="m"), inference).request)
        assert document["parameters"] == {"p": 1, "binary_data_output": True}
