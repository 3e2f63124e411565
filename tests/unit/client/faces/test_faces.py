"""Both clients over both protocols, as their users meet them, against a fake server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from faces import TEXT, count, equip, texts

from modelport.client import (
    ClientError,
    ConnectionLostError,
    InvalidInputError,
    PartialBatchError,
    ServerFaultError,
    ServerRefusedError,
)
from modelport.client.testing import FakeServer, Request

Open = Callable[..., Any]


# --- a model as a function -------------------------------------------------------


def test_a_model_is_called_like_a_function(server: FakeServer, client: Any) -> None:
    model = client.model("upper")
    assert model("a").text("loud") == "A"
    assert texts(model(text=["a", "b"])) == ["A", "B"]
    assert texts(model({"text": ["a", "b", "c"]})) == ["A", "B", "C"]
    pair = client.model("add", version=1)(a=[[2]], b=[[3]], outputs=["sum"], request_id="r-1")
    assert (dict(pair), pair.model_version, pair.request_id) == ({"sum": 5}, "1", "r-1")
    request = server.requests[-1]
    assert (request.version, request.id, request.outputs) == ("1", "r-1", ["sum"])
    assert model.ready()
    assert model.metadata().max_batch_size == 4
    assert "'upper'" in repr(model)


def test_what_a_function_cannot_take_is_refused_unsent(server: FakeServer, client: Any) -> None:
    model = client.model("add")
    for wrong in (
        lambda: model(1),  # which of the two
        lambda: model(1, 2),
        lambda: model(a=1),
        lambda: model(a=1, b=2, c=3),
        lambda: model(a=1, b="two"),
        lambda: model(a=1, b=2, outputs=["quotient"]),
    ):
        with pytest.raises(InvalidInputError):
            wrong()
    assert server.requests == []


def test_metadata_is_read_again_when_the_model_changed(server: FakeServer, client: Any) -> None:
    model = client.model("upper")
    assert model("a").text("loud") == "A"
    server.add(
        "upper",
        inputs={"words": TEXT},
        outputs={"loud": TEXT},
        answer=lambda inputs: {"loud": inputs["words"]},
        max_batch_size=4,
    )
    assert model(words="a").text("loud") == "a"
    assert len(list(client.stream("count", {"to": [2]}))) == 2
    server.add(
        "count",
        inputs={"end": ("INT32", [1])},
        outputs={"number": ("INT32", [1])},
        answer=lambda inputs: count({"to": inputs["end"]}),
        decoupled=True,
    )
    assert len(list(client.stream("count", {"end": [3]}))) == 3


# --- batches in parts ------------------------------------------------------------


def test_a_batch_is_split_and_put_together(server: FakeServer, client: Any) -> None:
    words = [f"word {number}" for number in range(10)]
    result = client.infer("upper", {"text": words}, request_id="big")
    assert texts(result) == [word.upper() for word in words]
    assert result["loud"].shape == (10, 1)
    assert sorted(len(request.inputs["text"]) for request in server.requests) == [3, 3, 4]
    assert {request.id for request in server.requests} == {"big"}


def test_rows_without_an_answer_are_named(server: FakeServer, client: Any) -> None:
    client.metadata("upper")
    server.fail("upper", with_="invalid")
    with pytest.raises(PartialBatchError) as caught:
        client.infer("upper", {"text": [f"{n}" for n in range(10)]}, request_id="big")
    [(start, stop, reason)] = caught.value.objects["failures"]  # type: ignore[misc]
    assert isinstance(reason, InvalidInputError)
    answered = {
        row: text
        for begin, _, result in caught.value.objects["results"]  # type: ignore[attr-defined]
        if result is not None
        for row, text in enumerate(texts(result), begin)
    }
    assert answered == {row: f"{row}" for row in range(10) if not start <= row < stop}
    assert caught.value.objects["request_id"] == "big"


def test_a_batch_of_which_no_part_is_answered_has_one_error(
    server: FakeServer, client: Any
) -> None:
    server.fail("upper", with_="fault", times=None)
    with pytest.raises(ServerFaultError):
        client.infer("upper", {"text": ["a"] * 10})


# --- sequences -------------------------------------------------------------------


def steps_of(server: FakeServer) -> list[tuple[bool, bool]]:
    return [(r.sequence.start, r.sequence.end) for r in server.requests if r.sequence]


def test_a_sequence_starts_and_ends(server: FakeServer, client: Any) -> None:
    with client.sequence("total") as one, client.model("total").sequence(id=7) as other:
        totals = [int(one.send(value=v, end=v == 3).total.item()) for v in (1, 2, 3)]
        assert totals == [1, 3, 6]
        assert int(other.send({"value": 5}).total.item()) == 5
        assert int(one.send(4).total.item()) == 4  # begun anew
    assert steps_of(server) == [
        (True, False), (False, False), (False, True), (True, False), (True, False),
    ]  # fmt: skip
    assert [request.sequence.id for request in server.requests if request.sequence] == [
        one.id, one.id, one.id, 7, one.id,
    ]  # fmt: skip
    assert 0 < one.id < 2**64


def test_a_step_is_not_repeated_after_a_lost_connection(server: FakeServer, client: Any) -> None:
    with client.sequence("total") as sequence:
        sequence.send(1)
        server.fail("total", with_="lost")
        with pytest.raises(ConnectionLostError) as caught:
            sequence.send(2)
        assert caught.value.objects["attempts"] == 1
        assert steps_of(server) == [(True, False), (False, False)]
        assert int(sequence.send(3, end=True).total.item()) == 4
    assert steps_of(server)[2:] == [(False, True)]


def test_a_step_that_was_not_run_is_repeated(server: FakeServer, client: Any) -> None:
    with client.sequence("total") as sequence:
        server.fail("total", with_="overloaded")
        assert int(sequence.send(1).total.item()) == 1
    assert steps_of(server) == [(True, False), (True, False)]


def test_a_first_step_that_failed_is_first_again(server: FakeServer, client: Any) -> None:
    with client.sequence("total") as sequence:
        server.fail("total", with_="lost")
        with pytest.raises(ConnectionLostError):
            sequence.send(1)
        assert int(sequence.send(2).total.item()) == 2


def test_a_sequence_stays_with_the_server_that_knows_it(server: FakeServer, connect: Open) -> None:
    with FakeServer() as other:
        client = connect(server, equip(other))
        sequences = [client.sequence("total") for _ in range(8)]
        for value in (1, 2, 3):
            totals = [int(sequence.send(value).total.item()) for sequence in sequences]
        assert totals == [6] * 8
        by_server = [{r.sequence.id for r in s.requests if r.sequence} for s in (server, other)]
        assert not by_server[0] & by_server[1]
        held = by_server[0] and next(s for s in sequences if s.id in by_server[0])
        if held:
            server.stop()
            with pytest.raises((ServerRefusedError, ConnectionLostError)):
                held.send(4)  # nobody else knows of it
            other_steps = len(other.requests)
            assert int(client.sequence("total").send(1).total.item()) == 1
            assert len(other.requests) == other_steps + 1


def test_a_step_is_never_split(server: FakeServer, client: Any) -> None:
    with client.sequence("total") as sequence, pytest.raises(InvalidInputError, match="batch of 9"):
        sequence.send(value=np.zeros((9, 1), np.int32))
    values = {"value": np.zeros((9, 1), np.int32)}
    with pytest.raises(InvalidInputError, match="batch of 9"):
        client.infer("total", values, sequence_id=3, sequence_start=True)
    assert server.requests == []


# --- streams ---------------------------------------------------------------------


def test_a_stream(server: FakeServer, client: Any) -> None:
    asked = {"request_id": "s-1", "timeout_s": 20.0}
    results = list(client.stream("count", {"to": [3]}, **asked))
    assert [int(result["number"].item()) for result in results] == [0, 1, 2]
    assert {result.request_id for result in results} == {"s-1"}
    assert [int(r.number.item()) for r in client.model("count").stream(to=2)] == [0, 1]
    assert list(client.stream("count", {"to": [0]})) == []


def test_a_stream_that_fails_before_its_first_response_is_repeated(
    server: FakeServer, client: Any
) -> None:
    client.metadata("count")
    server.fail("count", with_="lost")
    assert len(list(client.stream("count", {"to": [3]}))) == 3
    assert len(server.requests) == 2


def test_a_stream_that_breaks_later_is_not_repeated(server: FakeServer, client: Any) -> None:
    client.metadata("count")
    server.fail("count", with_="lost", after=2)
    results = client.stream("count", {"to": [5]}, request_id="s-2")
    assert [int(next(results).number.item()) for _ in range(2)] == [0, 1]
    with pytest.raises(ConnectionLostError) as caught:
        next(results)
    assert len(server.requests) == 1
    assert caught.value.objects["request_id"] == "s-2"


def test_a_stream_that_is_left_ends_on_the_server(server: FakeServer, client: Any) -> None:
    ended = threading.Event()

    def endless(inputs: Mapping[str, Any], request: Request) -> Iterator[dict[str, Any]]:
        try:
            while not request.gone.wait(0.005):
                yield {"number": [0]}
        finally:
            ended.set()

    server.add(
        "endless", inputs={"to": ("INT32", [1])}, outputs={"number": ("INT32", [1])}, answer=endless
    )
    results = client.stream("endless", {"to": [0]})
    assert int(next(results).number.item()) == 0
    results.close()
    assert ended.wait(10)


def test_a_model_that_streams_is_not_called_once(client: Any) -> None:
    with pytest.raises(ClientError, match="decoupled"):
        client.infer("count", {"to": [3]})
