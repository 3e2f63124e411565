"""The fake server and the real one are asked the same, and must answer the same."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelport.client.testing import FakeServer, Refusal, Request
from modelport.client.url import parse
from modelport.runtime.server import Server

KEY = "modelport-control"


@pytest.fixture(scope="module")
def fake(server: Server) -> Iterator[FakeServer]:
    with FakeServer(control_headers=server.control_headers) as made:
        _add_models(made)
        yield made


def scale(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    y = inputs["x"] * 2 + inputs.get("offset", np.float32(0))
    return {"y": y, "total": y.sum(axis=1, keepdims=True)}


def upper(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"loud": [[text.upper()] for [text] in inputs["text"].tolist()]}


def stream(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    count = inputs["count"].item()
    if count < 0:
        raise Refusal("not a count")
    for number in range(count):
        yield {"number": [number]}


def fussy(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    how = inputs["how"].item()
    if how == b"invalid":
        raise Refusal("not an image")
    if how == b"fault":
        raise RuntimeError("the model tripped")
    return {"ok": [True]}


class Total:
    def __init__(self) -> None:
        self.totals: dict[Any, int] = {}

    def __call__(self, inputs: Mapping[str, np.ndarray], request: Request) -> dict[str, Any]:
        step = request.sequence
        assert step is not None
        answer = inputs["x"].item() + (0 if step.start else self.totals[step.id])
        self.totals[step.id] = answer
        if step.end:
            del self.totals[step.id]
        return {"total": [[answer]], "live": [[len(self.totals)]]}


def _add_models(made: FakeServer) -> None:
    """The models of `repository/` that are asked here, once more."""
    floats, text, whole = ("FP32", [-1, 4]), ("BYTES", [-1, 1]), ("INT32", [-1, 1])
    one = ("FP32", [-1, 1])
    made.add(
        "scale",
        inputs={"x": floats, "offset": one},
        outputs={"y": floats, "total": one},
        answer=scale,
        max_batch_size=8,
        optional=["offset"],
    )
    made.add("upper", inputs={"text": text}, outputs={"loud": text}, answer=upper, max_batch_size=8)
    made.add(
        "stream",
        inputs={"count": ("INT32", [1])},
        outputs={"number": ("INT32", [1])},
        answer=stream,
    )
    made.add("fussy", inputs={"how": ("BYTES", [1])}, outputs={"ok": ("BOOL", [1])}, answer=fussy)
    made.add(
        "total",
        inputs={"x": whole},
        outputs={"total": whole, "live": whole},
        answer=Total(),
        max_batch_size=8,
        sequence=True,
    )


# --- HTTP --------------------------------------------------------------------

X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
OFFSET = {"name": "offset", "datatype": "FP32", "shape": [1, 1], "data": [1]}
TEXT = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
STEP = {"name": "x", "datatype": "INT32", "shape": [1, 1], "data": [2]}
ROWS = np.arange(4, dtype=np.float32).tobytes()
REGION = "/v2/systemsharedmemory/region/a"


def asked(*inputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def binary(raw: bytes, size: int = 16, name: str = "x", **more: Any) -> tuple[str, bytes]:
    """Give the head of a request with one binary tensor, and its content."""
    known = X if name == "x" else TEXT
    tensor = {n: value for n, value in known.items() if n != "data"}
    return json.dumps(asked(tensor | {"parameters": {"binary_data_size": size}}, **more)), raw


GETS = [
    "/v2", "/v2/", "/", "/v2/nothing", "/v2/health/live", "/v2/health/ready", "/v2/models",
    *(
        f"/v2/models/{model}{rest}"
        for model in ("scale", "scale/versions/1", "scale/versions/7", "upper", "stream", "nothing")
        for rest in ("", "/ready")
    ),
    "/v2/models/upper/config", "/v2/models/stream/config", "/v2/models/scale/versions/7/config",
    "/v2/models/nothing/config", "/v2/models/nothing/stats", "/v2/models/scale/versions/x",
    "/v2/models/scale/infer", "/v2/repository/index", "/v2/systemsharedmemory/status",
    f"{REGION}/status",
]  # fmt: skip

INFERENCES: list[tuple[str, Any]] = [
    ("scale", asked(X)),
    ("scale", asked(X, id="r1")),
    ("scale", asked(X, OFFSET)),
    ("scale", asked(X, outputs=[{"name": "total"}])),
    ("scale", asked(X, outputs=[{"name": "nope"}])),
    ("scale", asked(X, parameters={"timeout": 1000000, "custom": "x"})),
    ("scale", asked(X, parameters={"binary_data_output": True})),
    ("scale", asked(X, parameters={"priority": -1})),
    ("scale", asked()),
    ("scale", asked(id="r1")),
    ("scale", asked(X, X | {"name": "z"})),
    ("scale", asked(X, X)),
    ("scale", asked(X | {"datatype": "INT32"})),
    ("scale", asked(X | {"datatype": "WHAT"})),
    ("scale", asked(X | {"shape": [1, 3], "data": [1, 2, 3]})),
    ("scale", asked(X | {"shape": [4]})),
    ("scale", asked(X | {"data": [1, 2, 3]})),
    ("scale", asked(X | {"data": [[1, 2], [3, 4]]})),
    ("scale", asked(X | {"data": ["a"] * 4})),
    ("scale", asked(X | {"shape": [9, 4], "data": [0] * 36})),
    ("scale", asked(X | {"shape": [0, 4], "data": []})),
    ("scale", asked(X | {"shape": [2, 4], "data": [0] * 8}, OFFSET)),
    *(("scale", asked({n: v for n, v in X.items() if n != left_out})) for left_out in X),
    ("scale", {}),
    ("scale", []),
    ("scale", binary(ROWS)),
    ("scale", binary(ROWS, parameters={"binary_data_output": True})),
    (
        "scale",
        binary(
            ROWS, outputs=[{"name": "y", "parameters": {"binary_data": True}}, {"name": "total"}]
        ),
    ),
    ("scale", binary(ROWS[:12])),
    ("scale", binary(ROWS[:12], 12)),
    ("scale", binary(ROWS + ROWS)),
    ("upper", binary(b"\1\0\0\0a", 5, "text", parameters={"binary_data_output": True})),
    ("upper", binary(b"\5\0\0\0a", 5, "text")),
    ("upper", asked(TEXT)),
    ("upper", asked(TEXT | {"data": ["ä"]})),
    ("upper", asked(TEXT | {"data": [1]})),
    ("upper", asked()),
    ("nothing", asked(X)),
    ("scale/versions/7", asked(X)),
    ("scale/versions/1", asked(X)),
    ("stream", asked({"name": "count", "datatype": "INT32", "shape": [1], "data": [2]})),
    ("fussy", asked({"name": "how", "datatype": "BYTES", "shape": [1], "data": ["invalid"]})),
    ("fussy", asked({"name": "how", "datatype": "BYTES", "shape": [1], "data": ["fault"]})),
    ("total", asked(STEP)),
    ("total", asked(STEP, parameters={"sequence_id": 5})),
    ("total", asked(STEP, parameters={"sequence_id": 5, "sequence_start": True})),
    ("total", asked(STEP, parameters={"sequence_id": 5, "sequence_end": True})),
    ("total", asked(STEP, parameters={"sequence_id": 5, "sequence_end": True})),
    (
        "scale",
        asked(
            {n: v for n, v in X.items() if n != "data"}
            | {"parameters": {"shared_memory_region": "zz", "shared_memory_byte_size": 16}}
        ),
    ),
]

GENERATIONS: list[tuple[str, Any]] = [
    ("upper/generate", {"text": "a"}),
    ("upper/generate", {"text": ["a"], "id": "r1"}),
    ("upper/generate", {"text": "a", "other": 1}),
    ("upper/generate", {}),
    ("upper/generate", {"text": 1}),
    ("scale/generate", {"x": [1, 2, 3, 4]}),
    ("scale/generate", {"x": [1, 2]}),
    ("stream/generate", {"count": 2}),
    ("nothing/generate", {"a": 1}),
    ("upper/generate_stream", {"text": "a"}),
    ("upper/generate_stream", {"text": 1}),
    ("stream/generate_stream", {"count": 2}),
    ("stream/generate_stream", {"count": 0}),
    ("stream/generate_stream", {"id": "r", "count": 1}),
    ("nothing/generate_stream", {"a": 1}),
]

CONTROLS: list[tuple[str, Any]] = [
    (f"{REGION}/register", {"key": "/nope", "offset": 0, "byte_size": 10}),
    (f"{REGION}/register", {"key": "/nope"}),
    (f"{REGION}/unregister", None),
    ("/v2/systemsharedmemory/unregister", None),
    ("/v2/repository/models/nothing/load", None),
    ("/v2/repository/models/nothing/unload", None),
]


def over_http(
    url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Give status and content: JSON as far as it is some, then the bytes behind it."""
    given, raw = dict(headers or {}), b""
    if isinstance(body, tuple):
        body, raw = body
        given["Inference-Header-Content-Length"] = str(len(body))
    elif body is not None:
        body = json.dumps(body)
    connection = http.client.HTTPConnection(parse(url).authority, timeout=20)
    connection.request(method, path, None if body is None else body.encode() + raw, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    size = int(answer.getheader("Inference-Header-Content-Length", len(content)))
    return answer.status, (_parsed(content[:size]), content[size:])


def _parsed(content: bytes) -> Any:
    try:
        document = json.loads(content)
    except ValueError:
        return content.decode()
    if isinstance(document, dict) and "error" in document:
        document["error"] = _without_places(document["error"])
    return document


def _without_places(message: str) -> str:
    """A model's error has its traceback behind it, in which the files differ."""
    return re.sub(r"\n\nAt:\n(.|\n)*", "", message)


@pytest.mark.parametrize("path", GETS)
def test_reading_over_http(server: Server, fake: FakeServer, path: str) -> None:
    for headers in ({}, server.control_headers):
        real = over_http(server.endpoints.http, "GET", path, None, headers)
        assert over_http(fake.http_url, "GET", path, None, headers) == real


def test_inferences_over_http(server: Server, fake: FakeServer) -> None:
    for model, body in INFERENCES:
        path = f"/v2/models/{model}/infer"
        real = over_http(server.endpoints.http, "POST", path, body)
        assert over_http(fake.http_url, "POST", path, body) == real, body


def test_generations_over_http(server: Server, fake: FakeServer) -> None:
    for model, body in GENERATIONS:
        path = f"/v2/models/{model}"
        real = over_http(server.endpoints.http, "POST", path, body)
        assert over_http(fake.http_url, "POST", path, body) == real, body


def test_control_over_http(server: Server, fake: FakeServer) -> None:
    for path, body in CONTROLS:
        for headers in ({}, server.control_headers):
            real = over_http(server.endpoints.http, "POST", path, body, headers)
            assert over_http(fake.http_url, "POST", path, body, headers) == real, path


def test_no_json_over_http(server: Server, fake: FakeServer) -> None:
    """Only the words of the parser differ."""
    answers = [
        over_http(url, "POST", "/v2/models/scale/infer", ("{", b""))
        for url in (server.endpoints.http, fake.http_url)
    ]
    assert [status for status, _ in answers] == [500, 500]
    for _, (document, _) in answers:
        assert document["error"].startswith("failed to parse the request JSON buffer: ")


def test_statistics_have_the_same_fields(server: Server, fake: FakeServer) -> None:
    (_, (real, _)), (_, (ours, _)) = (
        over_http(url, "GET", "/v2/models/fussy/stats")
        for url in (server.endpoints.http, fake.http_url)
    )
    assert _fields(ours) == _fields(real)


def _fields(document: Any) -> Any:
    if isinstance(document, dict):
        return {n: _fields(v) for n, v in document.items() if n != "batch_stats"}
    return [_fields(item) for item in document] if isinstance(document, list) else None


# --- gRPC --------------------------------------------------------------------


def message(
    model: str = "scale",
    inputs: Any = (("x", "FP32", [1, 4]),),
    raw: Any = (ROWS,),
    outputs: Any = (),
    version: str = "",
    id: str = "",  # noqa: A002
    typed: Any = (),
    **parameters: Any,
) -> Any:
    kind = service_pb2.ModelInferRequest
    request = kind(
        model_name=model,
        model_version=version,
        id=id,
        inputs=[kind.InferInputTensor(name=n, datatype=d, shape=s) for n, d, s in inputs],
        outputs=[kind.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=raw,
    )
    for name, value in parameters.items():
        field = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], field, value)
    if typed:
        request.inputs[0].contents.fp32_contents.extend(typed)
    return request


def counting(count: int, **parameters: Any) -> Any:
    return message("stream", (("count", "INT32", [1]),), (np.int32(count).tobytes(),), **parameters)


TEXT_INPUT, HOW, NUMBER = (
    (("text", "BYTES", [1, 1]),),
    (("how", "BYTES", [1]),),
    (("x", "INT32", [1, 1]),),
)
MESSAGES = [
    message(), message(id="r1"), message(outputs=["total"]), message(outputs=["nope"]),
    message(inputs=(), raw=()), message(inputs=(("z", "FP32", [1, 4]),)),
    message(inputs=(("x", "FP32", [1, 4]), ("z", "FP32", [1, 4])), raw=(ROWS, ROWS)),
    message(inputs=(("x", "FP32", [1, 4]),) * 2, raw=(ROWS, ROWS)),
    message(inputs=(("x", "INT32", [1, 4]),)), message(inputs=(("x", "WHAT", [1, 4]),)),
    message(inputs=(("x", "FP32", [1, 3]),), raw=(ROWS[:12],)), message(raw=(ROWS[:12],)),
    message(raw=()), message(raw=(ROWS, ROWS)),
    message(inputs=(("x", "FP32", [9, 4]),), raw=(ROWS * 9,)),
    message(inputs=(("x", "FP32", [0, 4]),), raw=(b"",)), message("nothing"), message(version="7"),
    message(version="x"), message(raw=(), typed=[1, 2, 3, 4]), message(raw=(), typed=[1, 2, 3]),
    message(priority=-1), message(priority="x"), message(custom="x"), counting(2),
    message("upper", TEXT_INPUT, (b"\1\0\0\0a",)), message("upper", TEXT_INPUT, (b"\5\0\0\0a",)),
    message("fussy", HOW, (b"\7\0\0\0invalid",)), message("fussy", HOW, (b"\5\0\0\0fault",)),
    message("total", NUMBER, (b"\2\0\0\0",)),
    message("total", NUMBER, (b"\2\0\0\0",), sequence_id=9),
    message("total", NUMBER, (b"\2\0\0\0",), sequence_id=9, sequence_start=True),
    message("total", NUMBER, (b"\2\0\0\0",), sequence_id=9, sequence_end=True),
]  # fmt: skip
STREAMS = [
    [counting(2)], [counting(0)], [counting(-1)],
    [counting(2, triton_enable_empty_final_response=True)],
    [counting(1), counting(1)], [message()], [message("nothing")], [message(version="7")],
    [message(raw=(ROWS[:12],))], [message("fussy", HOW, (b"\5\0\0\0fault",))],
]  # fmt: skip
MODELS = [
    {"name": name, "version": version}
    for name, version in (
        ("upper", ""),
        ("stream", "1"),
        ("scale", "7"),
        ("scale", "x"),
        ("nothing", ""),
    )
]
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ServerLive", {}), ("ServerReady", {}), ("ServerMetadata", {}),
    *((method, of) for method in ("ModelMetadata", "ModelReady", "ModelConfig") for of in MODELS),
    *(("ModelStatistics", of) for of in MODELS[2:]),
    ("RepositoryModelLoad", {"model_name": "nothing"}),
    ("RepositoryModelUnload", {"model_name": "nothing"}),
    ("SystemSharedMemoryStatus", {}), ("SystemSharedMemoryStatus", {"name": "a"}),
    ("SystemSharedMemoryRegister", {"name": "a", "key": "/nope", "byte_size": 5}),
    ("SystemSharedMemoryUnregister", {"name": "a"}),
]  # fmt: skip


class OverGrpc:
    def __init__(self, url: str, key: str) -> None:
        self._channel = grpc.insecure_channel(parse(url).authority)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._control = ((f"triton-grpc-protocol-{KEY}", key),)

    def ask(self, method: str, request: Any, *, control: bool = False) -> Any:
        try:
            metadata = self._control if control else ()
            answer = getattr(self._stub, method)(request, metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            return error.code(), _without_places(error.details())
        return MessageToDict(answer)

    def stream(self, requests: list[Any]) -> list[Any]:
        answers = self._stub.ModelStreamInfer(iter(requests), timeout=20)
        documents = [MessageToDict(answer) for answer in answers]
        for document in documents:
            document["errorMessage"] = _without_places(document.get("errorMessage", ""))
        return documents

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def both(server: Server, fake: FakeServer) -> Iterator[tuple[OverGrpc, OverGrpc]]:
    key = server.control_headers[KEY]
    pair = (OverGrpc(server.endpoints.grpc, key), OverGrpc(fake.grpc_url, key))
    yield pair
    for one in pair:
        one.close()


def test_questions_over_grpc(both: tuple[OverGrpc, OverGrpc]) -> None:
    for method, fields in QUESTIONS:
        request = getattr(service_pb2, f"{method}Request")(**fields)
        for control in (False, True):
            real, ours = (one.ask(method, request, control=control) for one in both)
            assert ours == real, (method, fields)


def test_inferences_over_grpc(both: tuple[OverGrpc, OverGrpc]) -> None:
    for request in MESSAGES:
        real, ours = (one.ask("ModelInfer", request) for one in both)
        assert ours == real, request


def test_streams_over_grpc(both: tuple[OverGrpc, OverGrpc]) -> None:
    for requests in STREAMS:
        real, ours = (one.stream(requests) for one in both)
        assert ours == real, requests
