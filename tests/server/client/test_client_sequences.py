"""Requests that belong together, and requests that are answered many times."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelport.client import Client
from modelport.errors import (
    InvalidInputError,
    ModelNotFoundError,
    ServerRefusedError,
)
from modelport.runtime.server import Server


@pytest.fixture
def grpc(server: Server) -> Iterator[Client]:
    with Client(server.endpoints.grpc) as opened:
        yield opened


def numbers(client: Client, count: int) -> list[int]:
    return [int(response["number"][0]) for response in client.stream("stream", {"count": count})]


def test_streams_run_side_by_side_on_one_client(grpc: Client) -> None:
    counts = [50, 0, 7, 120, 1, 33]
    with ThreadPoolExecutor(len(counts)) as pool:
        assert list(pool.map(lambda n: numbers(grpc, n), counts)) == [
            list(range(n)) for n in counts
        ]


def test_many_refusals_side_by_side_leave_the_server_standing(server: Server, grpc: Client) -> None:
    """Asked for status codes, tritonserver 2.51.0 ends within some hundreds of these."""

    def ask(place: int) -> str:
        try:
            return f"{numbers(grpc, place % 2 * 3 - 1)}"
        except InvalidInputError:
            return "refused"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(1600)))
    assert answers == ["refused", "[0, 1]"] * 800
    assert server.status is None


def test_a_stream_of_a_model_that_is_not_there(grpc: Client) -> None:
    with pytest.raises(ModelNotFoundError, match="steam"):
        next(grpc.stream("steam", {"count": 1}))


def test_a_stream_without_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Client(f"grpc://127.0.0.1:{port}") as client, pytest.raises(ServerRefusedError):
        next(client.stream("stream", {"count": 1}))


def test_a_sequence_is_remembered_and_ended(client: Client) -> None:
    with client.sequence("total") as sequence:
        answers = [sequence.send({"x": x}, end=x == 4) for x in (1, 2, 3, 4)]
    assert [int(answer["total"][0, 0]) for answer in answers] == [1, 3, 6, 10]
    assert answers[-1]["live"].item() == answers[0]["live"].item() - 1


def test_a_sequence_begins_anew_after_its_end(client: Client) -> None:
    sequence = client.sequence("total")
    assert sequence.send({"x": 5}, end=True)["total"].item() == 5
    assert sequence.send({"x": 1})["total"].item() == 1
    assert sequence.send({"x": 1}, end=True)["total"].item() == 2


def test_sequences_do_not_mix(client: Client) -> None:
    sequences = [client.sequence("total") for _ in range(20)]
    assert len({sequence.id for sequence in sequences}) == 20
    for turn in range(5):
        for place, sequence in enumerate(sequences):
            got = sequence.send({"x": place}, end=turn == 4)["total"].item()
            assert got == place * (turn + 1)


@pytest.mark.parametrize("number", [77, 2**64 - 1])
def test_a_sequence_of_a_chosen_number(client: Client, number: int) -> None:
    first = client.infer("total", {"x": 2}, sequence_id=number, sequence_start=True)
    last = client.infer("total", {"x": 3}, sequence_id=number, sequence_end=True)
    assert (first["total"].item(), last["total"].item()) == (2, 5)


def test_a_request_without_a_sequence_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="correlation ID"):
        client.infer("total", {"x": 1})
