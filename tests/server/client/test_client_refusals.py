"""What the real server refuses becomes the class of its cause, over both transports."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from modelport.client import Client
from modelport.client.call import Call
from modelport.client.options import Options
from modelport.client.transport import connect
from modelport.client.url import parse
from modelport.errors import (
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    OverloadedError,
    ProtocolError,
    ServerFaultError,
    UnauthorizedError,
)


def test_no_such_model(client: Client) -> None:
    """The index is restricted here, so there are no near names."""
    with pytest.raises(ModelNotFoundError, match="no model 'scal'") as caught:
        client.infer("scal", {"x": [1]})
    assert "did you mean" not in str(caught.value)
    assert caught.value.objects["model"] == "scal"


def test_no_such_model_with_near_names(control_client: Client) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'scale'"):
        control_client.infer("scal", {"x": [1]})
    with pytest.raises(ModelNotFoundError, match="did you mean 'upper'"):
        control_client.config("uper")


def test_no_such_version(client: Client, control_client: Client) -> None:
    for asker in (client, control_client):
        with pytest.raises(ModelNotFoundError, match="versions that serve: 1") as caught:
            asker.infer("scale", {"x": [1, 2, 3, 4]}, version=7)
        assert caught.value.objects["versions"] == ["1"]


def test_the_model_calls_the_input_invalid(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="not an image"):
        client.infer("fussy", {"how": ["invalid"]})


def test_the_model_fails(client: Client) -> None:
    with pytest.raises(ServerFaultError, match="the model tripped") as caught:
        client.infer("fussy", {"how": ["fault"]}, request_id="r-7")
    assert "'r-7'" in caught.value.what
    assert "model.py" not in str(caught.value)
    assert client.infer("fussy", {"how": ["ok"]})["ok"].tolist() == [True]


def test_the_deadline(client: Client) -> None:
    client.infer("sleepy", {"seconds": 0})
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"within 0\.3 s"):
        client.infer("sleepy", {"seconds": 2}, timeout_s=0.3)
    assert time.monotonic() - began < 2  # the answer was not waited for
    assert client.infer("sleepy", {"seconds": 0}, timeout_s=20)["slept"].tolist() == [[0]]


def test_a_full_queue(client: Client) -> None:
    """One runs, one waits, the others are refused."""
    client.metadata("sleepy")
    outcomes: list[object] = []

    def call() -> None:
        try:
            outcomes.append(client.infer("sleepy", {"seconds": 0.5})["slept"].tolist())
        except ClientError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count([[0.5]]) >= 1
    assert outcomes.count(OverloadedError) >= 1
    assert len(outcomes) == outcomes.count([[0.5]]) + outcomes.count(OverloadedError)


def test_a_decoupled_model(client: Client) -> None:
    with pytest.raises(ClientError, match="answers as a stream"):
        client.infer("stream", {"count": [3]})


def test_a_restricted_api(url: str) -> None:
    transport = connect(parse(url), Options())
    call = Call(url, timeout_s=10, expires_s=time.monotonic() + 10)
    with pytest.raises(UnauthorizedError, match="restricted"):
        transport.ask(call, transport.wire.index(call))
    transport.close()


def test_the_other_transports_port(server, scheme: str) -> None:
    http, grpc = parse(server.endpoints.http), parse(server.endpoints.grpc)
    swapped = f"{scheme}://{(grpc if scheme == 'http' else http).authority}"
    with (
        Client(swapped, timeout_s=10) as client,
        pytest.raises(ProtocolError, match="this port wants"),
    ):
        client.metadata("scale")


def test_nothing_is_sent_when_the_input_is_wrong(client: Client, server) -> None:
    """The server's own count of requests is the witness."""
    client.infer("upper", {"text": "a"})
    before = _requests(server, "upper")
    for inputs in (
        {"text": 1},
        {"text": np.zeros((2, 2), object)},
        {"text": []},
        {"txet": "a"},
        {},
    ):
        with pytest.raises(InvalidInputError):
            client.infer("upper", inputs)
    assert _requests(server, "upper") == before


def _requests(server, model: str) -> int:
    from tritonclient.grpc import InferenceServerClient

    triton = InferenceServerClient(parse(server.endpoints.grpc).authority)
    (stats,) = triton.get_inference_statistics(model).model_stats
    return int(stats.inference_stats.success.count + stats.inference_stats.fail.count)
