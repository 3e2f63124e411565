"""The content of answers, the same over both transports."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from modelport.client import Client, TensorMetadata
from modelport.client.tensors import DTYPES

NUMERIC = [name for name in DTYPES if name not in ("BYTES", "BF16")]


@pytest.mark.parametrize("datatype", NUMERIC)
def test_every_datatype_there_and_back(client: Client, datatype: str) -> None:
    dtype = DTYPES[datatype]
    raw = np.random.default_rng(7).integers(0, 256, (5, 3 * dtype.itemsize), np.uint8)
    sent = (raw % 2).astype(bool) if datatype == "BOOL" else raw.view(dtype)
    answer = client.infer("echo", {datatype.lower(): sent})
    assert list(answer) == [f"{datatype.lower()}_out"]
    got = answer[f"{datatype.lower()}_out"]
    assert (got.dtype, got.shape) == (dtype, (5, 3))
    assert got.tobytes() == sent.tobytes()


def test_bfloat16_there_and_back(client: Client) -> None:
    sent = np.array([[0.5, -2.0, 3.140625]], ml_dtypes.bfloat16)
    got = client.infer("echo", {"bf16": sent})["bf16_out"]
    assert got.dtype == ml_dtypes.bfloat16
    assert got.tolist() == sent.tolist()


def test_bytes_there_and_back(client: Client) -> None:
    sent = [[b"", b"\x00end\x00"], ["grüße".encode(), bytes(range(256))]]
    got = client.infer("echo", {"bytes": sent})["bytes_out"]
    assert got.dtype == object
    assert got.tolist() == sent


def test_several_inputs_and_an_empty_one(client: Client) -> None:
    answer = client.infer("echo", {"int32": [[1, 2]], "fp32": np.zeros((0, 4), np.float32)})
    assert answer["int32_out"].tolist() == [[1, 2]]
    assert answer["fp32_out"].shape == (0, 4)


def test_a_large_tensor(client: Client) -> None:
    sent = np.random.default_rng(3).random((2048, 2048), np.float32)  # 16 MiB
    got = client.infer("echo", {"fp32": sent})["fp32_out"]
    assert np.array_equal(got, sent)


def test_arrays_that_are_not_contiguous(client: Client) -> None:
    sent = np.arange(12, dtype=np.int32).reshape(3, 4).T[::2]
    assert client.infer("echo", {"int32": sent})["int32_out"].tolist() == sent.tolist()


def test_answers_are_read_only(client: Client) -> None:
    answer = client.infer("scale", {"x": [1, 2, 3, 4]})
    assert not answer["y"].flags.writeable
    assert not client.infer("upper", {"text": "a"})["loud"].flags.writeable


def test_one_item_and_a_batch(client: Client) -> None:
    assert client.infer("scale", {"x": [1, 2, 3, 4]})["y"].tolist() == [[2, 4, 6, 8]]
    rows = np.arange(32, dtype=np.float64).reshape(8, 4)
    answer = client.infer("scale", {"x": rows})
    assert answer["y"].tolist() == (rows * 2).tolist()
    assert answer["total"].tolist() == (rows * 2).sum(axis=1, keepdims=True).tolist()


def test_an_optional_input(client: Client) -> None:
    answer = client.infer("scale", {"x": [1, 2, 3, 4], "offset": 10})
    assert answer["y"].tolist() == [[12, 14, 16, 18]]


def test_a_batch_of_strings(client: Client) -> None:
    assert client.infer("upper", {"text": "a"})["loud"].tolist() == [[b"A"]]
    assert client.infer("upper", {"text": ["a", b"b"]})["loud"].tolist() == [[b"A"], [b"B"]]


def test_only_the_outputs_that_were_asked_for(client: Client) -> None:
    answer = client.infer("scale", {"x": [1, 2, 3, 4]}, outputs=["total"])
    assert {name: array.tolist() for name, array in answer.items()} == {"total": [[20]]}


def test_outputs_that_are_named_come_as_the_others_do(client: Client) -> None:
    """FP16 and bytes that are no text have no form in JSON."""
    half, raw = np.array([[0.5]], np.float16), [[b"\xff\x00"]]
    answer = client.infer("echo", {"fp16": half, "bytes": raw}, outputs=["bytes_out", "fp16_out"])
    assert answer["bytes_out"].tolist() == raw
    assert answer["fp16_out"].dtype == np.float16


@pytest.mark.parametrize("version", ["", "1", 1])
def test_a_version_may_be_named(client: Client, version: str | int) -> None:
    answer = client.infer("scale", {"x": [1, 2, 3, 4]}, version=version, request_id="r-1")
    assert answer["total"].tolist() == [[20]]


def test_metadata(client: Client) -> None:
    scale = client.metadata("scale")
    assert (scale.name, scale.versions, scale.max_batch_size) == ("scale", ("1",), 8)
    assert scale.inputs == (
        TensorMetadata("x", "FP32", (-1, 4)),
        TensorMetadata("offset", "FP32", (-1, 1), optional=True),
    )
    assert [output.name for output in scale.outputs] == ["y", "total"]


def test_ready(client: Client) -> None:
    assert client.ready()
    assert client.ready("scale")
    assert client.ready("scale", 1)
    assert not client.ready("scale", 9)
    assert not client.ready("nothing")


@pytest.mark.parametrize("model", ["echo", "scale", "sleepy", "stream"])
def test_both_transports_say_the_same(server, model: str) -> None:
    with Client(server.endpoints.http) as http, Client(server.endpoints.grpc) as grpc:
        assert http.metadata(model) == grpc.metadata(model)
        assert http.config(model) == grpc.config(model)
        assert http.config(model)["name"] == model
