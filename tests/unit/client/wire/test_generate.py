"""Streams of JSON events."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.client.call import Call
from modelport.client.exchange import Inference, SequenceStep
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import Tensor
from modelport.client.wire.generate import Events, raise_unless_events, spread, to_document
from modelport.client.wire.http1 import Response
from modelport.errors import ClientError, InvalidInputError, ProtocolError

MODEL = ModelMetadata(
    "m",
    ("1",),
    "python",
    (TensorMetadata("x", "INT32", (-1, 2)), TensorMetadata("t", "BYTES", (1,))),
    (TensorMetadata("y", "FP32", (-1, 2)), TensorMetadata("s", "BYTES", (1,))),
    4,
)
CALL = Call("http://h:1", 60.0, time.monotonic() + 3600, model="m", request_id="r")


@given(st.integers(0, 200), st.lists(st.sampled_from([-1, -1, 0, 1, 2, 3]), max_size=4))
def test_values_are_spread_over_a_shape(count: int, shape: list[int]) -> None:
    sizes = spread(count, shape)
    if sizes is None:
        fixed = math.prod(size for size in shape if size != -1)
        assert fixed == 0 or count % fixed or (-1 not in shape and count != fixed)
    else:
        assert math.prod(sizes) == count
        pairs = list(zip(sizes, shape, strict=True))
        assert all(size == want for size, want in pairs if want != -1)
        free = [size for size, want in pairs if want == -1]
        assert all(size == 1 for size in free[:-1])


def test_the_document() -> None:
    tensors = [
        Tensor("x", "INT32", np.array([[1, 2], [3, 4]], np.int32)),
        Tensor("t", "BYTES", np.array(["ü".encode()], object)),
    ]
    document = to_document(CALL, Inference(tensors, parameters={"p": True}, model=MODEL))
    assert "timeout" not in document  # the model would be given it as a parameter
    assert document == {"x": [1, 2, 3, 4], "t": "ü", "p": True, "id": "r"}


def test_a_sequence_is_refused() -> None:
    inference = Inference((), step=SequenceStep(1, start=True, end=False), model=MODEL)
    with pytest.raises(InvalidInputError, match="no place for a sequence"):
        to_document(CALL, inference)


@given(st.lists(st.integers(1, 200), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_cut_anywhere(cuts: list[int], line_end: bytes) -> None:
    documents = [
        {"model_version": "1", "y": [1, 2.5], "s": "a\n\n"},
        {"y": [1, 2, 3, 4], "s": "ü", "more": 1},
    ]
    data = b": comment\n\n" + b"".join(
        b"data: %b\n\n" % json.dumps(document).encode() for document in documents
    )
    data = data.replace(b"\n", line_end)
    events, replies = Events(CALL, Inference((), model=MODEL)), []
    places = sorted({0, *(cut % len(data) for cut in cuts)})
    for begin, end in zip(places, [*places[1:], len(data)], strict=True):
        replies += events.feed(data[begin:end])
    events.finish()
    assert [reply.outputs["y"].tolist() for reply in replies] == [[[1, 2.5]], [[1, 2], [3, 4]]]
    assert [reply.outputs["s"].tolist() for reply in replies] == [[b"a\n\n"], ["ü".encode()]]


def test_only_the_outputs_that_were_asked_for() -> None:
    events = Events(CALL, Inference((), outputs=["s"], model=MODEL))
    (reply,) = events.feed(b'data: {"y": [1, 2], "s": "a"}\n\n')
    assert list(reply.outputs) == ["s"]


def test_an_error_ends_the_stream_after_its_replies() -> None:
    events = Events(CALL, Inference((), model=MODEL))
    (reply,) = events.feed(
        b'data: {"y": [1, 2]}\n\ndata: {"error": "not good"}\n\ndata: {"y": 3}\n\n'
    )
    assert reply.outputs["y"].tolist() == [[1, 2]]
    with pytest.raises(InvalidInputError, match="not good"):
        events.finish()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_rubbish_is_an_error_of_the_client(rubbish: bytes) -> None:
    events = Events(CALL, Inference((), model=MODEL))
    with suppress(ClientError):
        events.feed(rubbish)
        events.feed(b"data: " + rubbish + b"\n\n")
        events.feed(b'data: {"y": ' + rubbish + b"}\n\n")
        events.finish()


def test_an_answer_that_is_no_stream() -> None:
    with pytest.raises(ProtocolError, match="text/html"):
        raise_unless_events(CALL, Response(200, {"content-type": "text/html"}, b"<html>"))
    with pytest.raises(InvalidInputError, match="not good"):
        raise_unless_events(CALL, Response(400, {}, b'{"error": "not good"}'))
    raise_unless_events(CALL, Response(200, {"content-type": "Text/Event-Stream"}, b""))
