"""What goes over the wire: requests in each server's best encoding, and how to read answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from peers.networks import Network

Feeds = Mapping[str, np.ndarray]
MODEL = "model"
"""The name under which the servers of the Open Inference Protocol serve it."""
_GRPC = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Encoding:
    """One way to ask.

    Attributes:
        title: for people.
        kind: of wire: ``http`` or ``grpc``.
        path: of the URL, or the gRPC method.
        request: makes what the load sends.
        answer: gives the array of an answer's body.
    """

    title: str
    kind: str
    path: str
    request: Callable[[Network, Feeds], bytes]
    answer: Callable[[Network, bytes], np.ndarray]


def _http(path: str, body: bytes, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "", "")).encode() + body


def raw(path: str) -> Encoding:
    """Bytes of the inputs, one after the other; bytes of the output."""

    def request(_: Network, feeds: Feeds) -> bytes:
        body = b"".join(array.tobytes() for array in feeds.values())
        return _http(path, body, "Content-Type: application/octet-stream")

    def answer(_: Network, body: bytes) -> np.ndarray:
        return np.frombuffer(body, np.float32).reshape(1, -1)

    return Encoding("raw bytes", "http", path, request, answer)


def json_arrays(path: str) -> Encoding:
    """All inputs as one nested list of numbers, batch first; the output likewise."""

    def request(_: Network, feeds: Feeds) -> bytes:
        stacked = np.stack(list(feeds.values()), axis=1).tolist()
        body = json.dumps({"inputs": stacked}, separators=(",", ":")).encode()
        return _http(path, body, "Content-Type: application/json")

    def answer(_: Network, body: bytes) -> np.ndarray:
        return np.array(json.loads(body), np.float32)

    return Encoding("JSON arrays", "http", path, request, answer)


def v2_binary() -> Encoding:
    """The Open Inference Protocol over HTTP with its binary extension."""
    path = f"/v2/models/{MODEL}/infer"

    def request(network: Network, feeds: Feeds) -> bytes:
        inputs = [
            {**_described(network, name, a), "parameters": {"binary_data_size": a.nbytes}}
            for name, a in feeds.items()
        ]
        outputs = [{"name": network.output, "parameters": {"binary_data": True}}]
        head = json.dumps({"inputs": inputs, "outputs": outputs}, separators=(",", ":")).encode()
        body = head + b"".join(array.tobytes() for array in feeds.values())
        return _http(
            path,
            body,
            "Content-Type: application/octet-stream",
            f"Inference-Header-Content-Length: {len(head)}",
        )

    def answer(_: Network, body: bytes) -> np.ndarray:
        # The JSON is followed by the bytes of the one output; its length is in a header that the
        # load does not keep.
        head, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        return np.frombuffer(body, np.float32, offset=end).reshape(head["outputs"][0]["shape"])

    return Encoding("V2 binary, HTTP", "http", path, request, answer)


def v2_json() -> Encoding:
    """The Open Inference Protocol over HTTP with numbers as text."""
    path = f"/v2/models/{MODEL}/infer"

    def request(network: Network, feeds: Feeds) -> bytes:
        inputs = [
            {**_described(network, name, a), "data": a.ravel().tolist()}
            for name, a in feeds.items()
        ]
        asked = {"inputs": inputs, "outputs": [{"name": network.output}]}
        body = json.dumps(asked, separators=(",", ":")).encode()
        return _http(path, body, "Content-Type: application/json")

    def answer(_: Network, body: bytes) -> np.ndarray:
        output = json.loads(body)["outputs"][0]
        return np.array(output["data"], np.float32).reshape(output["shape"])

    return Encoding("V2 JSON, HTTP", "http", path, request, answer)


def v2_grpc() -> Encoding:
    """The Open Inference Protocol over gRPC, tensors as raw bytes."""

    def request(network: Network, feeds: Feeds) -> bytes:
        from tritonclient.grpc import service_pb2

        message = service_pb2.ModelInferRequest(model_name=MODEL)
        for name, array in feeds.items():
            message.inputs.add(**_described(network, name, array))
            message.raw_input_contents.append(array.tobytes())
        message.outputs.add(name=network.output)
        return bytes(message.SerializeToString())

    def answer(_: Network, body: bytes) -> np.ndarray:
        from tritonclient.grpc import service_pb2

        message = service_pb2.ModelInferResponse.FromString(body)
        output = message.outputs[0]
        if message.raw_output_contents:
            array = np.frombuffer(message.raw_output_contents[0], np.float32)
        else:
            array = np.array(output.contents.fp32_contents, np.float32)
        return array.reshape(list(output.shape))

    return Encoding("V2 raw, gRPC", "grpc", _GRPC, request, answer)


def _described(network: Network, name: str, array: np.ndarray) -> dict[str, object]:
    return {"name": name, "datatype": network.datatype, "shape": list(array.shape)}
