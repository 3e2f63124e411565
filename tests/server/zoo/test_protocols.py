"""One request by every way that leads to a model: the same numbers come back, to the bit."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from modelport.client import Client
from modelport.repository.layout import Repository
from modelport.repository.samples import Case
from modelport.runtime.server import Endpoints, Server
from modelport.spec import Tolerance
from modelport.verify.parity import compare

Arrays = Mapping[str, np.ndarray]
Ask = Callable[[Endpoints, str, Arrays], Arrays]
IDENTICAL = Tolerance(absolute=0, relative=0)
GENERATED_GRPC = Path(__file__).with_name("generated_grpc_client.py")


def json_inputs(inputs: Arrays) -> list[dict[str, Any]]:
    """The `inputs` of a V2 request in JSON: numbers and texts as they are, a file in base64."""
    return [
        {
            "name": name,
            "datatype": np_to_triton_dtype(array.dtype),
            "shape": list(array.shape),
            "data": [_json_value(value) for value in array.flat],
        }
        for name, array in inputs.items()
    ]


def _json_value(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value.item()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def from_json(data: Any, datatype: str, shape: list[int]) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([text.encode() for text in data], np.object_).reshape(shape)
    return np.array(data, triton_to_np_dtype(datatype)).reshape(shape)


def post(url: str, document: object) -> Any:
    """What `curl -d` does; an error's document is answered like any other."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return json.load(error)


def plain_json(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    url = f"{endpoints.http}/v2/models/{model}/infer"
    outputs = post(url, {"inputs": json_inputs(inputs)})["outputs"]
    return {o["name"]: from_json(o["data"], o["datatype"], o["shape"]) for o in outputs}


def _by_tritonclient(module: Any, url: str, model: str, inputs: Arrays, names: list[str]) -> Arrays:
    tensors = []
    for name, array in inputs.items():
        tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    with module.InferenceServerClient(url.partition("://")[2]) as connected:
        wanted = [module.InferRequestedOutput(name) for name in names]
        result = connected.infer(model, tensors, outputs=wanted)
        return {name: result.as_numpy(name) for name in names}


def tritonclient_http(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    names = _output_names(endpoints, model)
    return _by_tritonclient(tritonclient.http, endpoints.http, model, inputs, names)


def tritonclient_grpc(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    names = _output_names(endpoints, model)
    return _by_tritonclient(tritonclient.grpc, endpoints.grpc, model, inputs, names)


def _output_names(endpoints: Endpoints, model: str) -> list[str]:
    with urllib.request.urlopen(f"{endpoints.http}/v2/models/{model}", timeout=30) as reply:
        return [output["name"] for output in json.load(reply)["outputs"]]


def modelport_http(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    with Client(endpoints.http) as client:
        return client.infer(model, inputs)


def modelport_grpc(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    with Client(endpoints.grpc) as client:
        return client.infer(model, inputs)


def generated_rest(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    """The client that the protocol's authors generate from its OpenAPI document."""
    import open_inference.openapi.client as openapi

    reply = openapi.OpenInferenceClient(base_url=endpoints.http).model_infer(
        model, request=openapi.InferenceRequest(inputs=json_inputs(inputs))
    )
    return {o.name: from_json(_values(o), o.datatype, o.shape) for o in reply.outputs}


def _values(output: Any) -> Any:
    data = output.data.__root__
    if output.datatype != "BYTES":
        return data
    # The same union as below: the text "7" arrives as 7.0.
    return [value if isinstance(value, str) else f"{value:g}" for value in data]


def generated_grpc(endpoints: Endpoints, model: str, inputs: Arrays) -> Arrays:
    """The client generated from the protocol's .proto.

    In a process of its own: it registers the same message names as tritonclient's stubs,
    and protobuf takes one set per process.
    """
    address = endpoints.grpc.removeprefix("grpc://")
    done = subprocess.run(
        [sys.executable, str(GENERATED_GRPC), address, model],
        input=json.dumps(json_inputs(inputs)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return {o["name"]: _from_bytes(**o) for o in json.loads(done.stdout)}


def _from_bytes(name: str, datatype: str, shape: list[int], data: str) -> np.ndarray:
    raw = base64.b64decode(data)
    if datatype == "BYTES":
        values = tritonclient.utils.deserialize_bytes_tensor(raw)
        return np.asarray(values, np.object_).reshape(shape)
    return np.frombuffer(raw, triton_to_np_dtype(datatype)).reshape(shape)


WAYS: dict[str, Ask] = {
    "JSON with urllib": plain_json,
    "tritonclient HTTP": tritonclient_http,
    "tritonclient gRPC": tritonclient_grpc,
    "modelport HTTP": modelport_http,
    "modelport gRPC": modelport_grpc,
    "open-inference REST": generated_rest,
    "open-inference gRPC": generated_grpc,
}


# Its element type is a union that tries float first, so it cannot send an integer tensor:
# 7 leaves as 7.0, which Triton refuses.
WITHOUT_INTEGERS = {"open-inference REST"}


def askable(way: str, case: Case) -> bool:
    return way not in WITHOUT_INTEGERS or not any(map(looks_whole, case.inputs.values()))


def looks_whole(array: np.ndarray) -> bool:
    """Integers, or texts that read like numbers: an item's id."""
    texts = [value for value in array.flat if isinstance(value, bytes)]
    return np.issubdtype(array.dtype, np.integer) or any(text.isdigit() for text in texts)


@pytest.mark.parametrize("way", WAYS)
def test_every_public_model_answers_the_same_by_every_way(
    server: Server, repository: Repository, cases: dict[str, list[Case]], way: str
) -> None:
    assert "digits" in cases
    for model, asked in cases.items():
        manifest = repository.model(model).manifest(int(server.versions[model]))
        bound = Tolerance(manifest.proof.tolerance.absolute, manifest.proof.tolerance.relative)
        for case in [case for case in asked if askable(way, case)][:4]:
            got = WAYS[way](server.endpoints, model, case.inputs)
            reference = modelport_grpc(server.endpoints, model, case.inputs)
            assert set(got) == set(reference) == set(case.outputs)
            assert compare(got, reference, IDENTICAL).describe() == ""
            assert compare(got, case.outputs, bound).describe() == ""
            assert compare(got, case.truth, bound).describe() == ""


@pytest.mark.parametrize("stream", [False, True], ids=["generate", "generate_stream"])
def test_the_generate_extension_takes_an_image(
    server: Server, cases: dict[str, list[Case]], stream: bool
) -> None:
    case = next(case for case in cases["digits"] if "image" in case.inputs)
    document = {"image": _json_value(case.inputs["image"].flat[0])}
    url = f"{server.endpoints.http}/v2/models/digits/generate"
    if stream:
        body = json.dumps(document).encode()
        with urllib.request.urlopen(f"{url}_stream", body, timeout=30) as reply:
            answer = json.loads(reply.read().removeprefix(b"data: "))
    else:
        answer = post(url, document)
    expected = modelport_http(server.endpoints, "digits", case.inputs)
    assert answer["label"].encode() == case.truth["label"].flat[0]
    assert np.float32(answer["probability"]) == expected["probability"].flat[0]
    assert np.array_equal(np.array(answer["scores"], np.float32), expected["scores"][0])


def test_the_classification_extension_gives_labels_from_the_label_file(
    server: Server, repository: Repository, cases: dict[str, list[Case]]
) -> None:
    labels = (repository.model("digits").path / "scores_labels.txt").read_text().splitlines()
    for case in cases["digits"]:
        document = {
            "inputs": json_inputs(case.inputs),
            "outputs": [{"name": "scores", "parameters": {"classification": 3}}],
        }
        url = f"{server.endpoints.http}/v2/models/digits/infer"
        [output] = post(url, document)["outputs"]
        entries = [text.split(":") for text in output["data"]]
        scores = case.outputs["scores"][0]
        best = np.argsort(-scores)[:3]
        assert [int(index) for _, index, _ in entries] == best.tolist()
        assert [label for *_, label in entries] == [labels[i] for i in best]
        assert np.allclose([float(value) for value, *_ in entries], scores[best], atol=1e-4)


def test_an_unknown_model_is_named_by_every_protocol(server: Server) -> None:
    answer = post(f"{server.endpoints.http}/v2/models/digitz/infer", {"inputs": []})
    assert "digitz" in answer["error"]
    with (
        tritonclient.grpc.InferenceServerClient(server.endpoints.grpc.partition("://")[2]) as raw,
        pytest.raises(tritonclient.utils.InferenceServerException, match="digitz"),
    ):
        raw.infer("digitz", [])
