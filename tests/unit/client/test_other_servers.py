"""Answers as MLServer 1.7.1 and KServe 0.21 give them; perf/other_servers.py asks real ones."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from modelport.client import faults, metadata
from modelport.client.call import Call
from modelport.client.exchange import Exchange, Inference
from modelport.client.options import Options
from modelport.client.tensors import Tensor
from modelport.client.wire.http import HttpWire
from modelport.client.wire.http1 import Response
from modelport.errors import ModelNotFoundError, ProtocolError, ServerFaultError

MODEL: dict[str, Any] = {
    "name": "invoice",
    "versions": None,
    "platform": "",
    "inputs": [{"name": "prices", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [{"name": "total", "datatype": "FP32", "shape": [-1, 1]}],
}


@pytest.fixture
def call() -> Call:
    return Call("http://127.0.0.1:8000", 5.0, time.monotonic() + 5.0, model="invoice")


def answered(call: Call, exchange: Exchange[Any], status: int, body: str, kind: str) -> Any:
    return exchange.read(call, Response(status, {"content-type": kind}, body.encode()))


def test_versions_may_be_null() -> None:
    assert metadata.read(MODEL, None).versions == ()


@pytest.mark.parametrize(
    ("server", "binary"),
    [
        (None, True),
        ({"extensions": []}, False),
        ({"extensions": None}, False),
        ({"extensions": ["model_repository_extension"]}, False),
        ({"extensions": ["statistics", "binary_tensor_data"]}, True),
    ],
)
def test_tensors_go_as_bytes_where_the_server_says_that_it_takes_them(
    server: dict[str, Any] | None, binary: bool
) -> None:
    assert metadata.read(MODEL, None, server).binary is binary


def test_an_answer_in_json_may_have_null_where_others_have_nothing(call: Call) -> None:
    tensor = Tensor("prices", "FP32", np.ones((1, 3), np.float32))
    exchange = HttpWire(Options()).infer(call, Inference([tensor], binary=False))
    output = {"name": "total", "datatype": "FP32", "shape": [1, 1], "data": [3.0]}
    document = {
        "id": "none",
        "model_name": "invoice",
        "model_version": None,
        "parameters": None,
        "outputs": [{**output, "parameters": None}],
    }
    reply = answered(call, exchange, 200, json.dumps(document), "application/json")
    assert (reply.version, reply.outputs["total"].tolist()) == ("", [[3.0]])


def test_what_a_server_does_not_have_is_called_that(call: Call) -> None:
    config = HttpWire(Options()).config(call)
    with pytest.raises(ProtocolError, match="has no such call"):
        answered(call, config, 404, '{"detail":"Not Found"}', "application/json")
    with pytest.raises(ProtocolError, match="does not speak"):
        answered(call, config, 404, "<html>", "text/html")
    assert "no such call" in str(faults.from_server(call, "UNIMPLEMENTED", "Method not found!"))


def test_a_failure_without_a_document_is_the_servers(call: Call) -> None:
    config = HttpWire(Options()).config(call)
    with pytest.raises(ServerFaultError):
        answered(call, config, 500, "Internal Server Error", "text/plain; charset=utf-8")


def test_mlserver_says_over_grpc_that_a_model_is_unknown(call: Call) -> None:
    message = (
        "Unexpected <class 'mlserver.errors.ModelNotFound'>: Model nothing with version  not found"
    )
    assert isinstance(faults.from_server(call, "UNKNOWN", message), ModelNotFoundError)
