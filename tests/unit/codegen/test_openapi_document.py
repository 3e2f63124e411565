"""The OpenAPI document; that tritonserver keeps to it is tested in tests/server."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from modelport.codegen import openapi
from modelport.errors import InterfaceError
from modelport.repository.interface import Interface, TensorInterface


def tensor(
    name: str = "x", datatype: Any = "FP32", dims: Any = (1,), **more: Any
) -> TensorInterface:
    return TensorInterface(name=name, datatype=datatype, dims=dims, **more)


def model(name: str = "thing", **more: Any) -> Interface:
    given = {"inputs": (tensor(),), "outputs": (tensor("y"),), "max_batch_size": 4, **more}
    return Interface(model=name, **given)


def paths(one: Interface) -> set[str]:
    root = f"/v2/models/{one.model}/"
    return {path.removeprefix(root) for path in openapi.document([one])["paths"] if root in path}


def accepts(one: Interface, schema: str, value: Any) -> bool:
    document = openapi.document([one])
    root = {"$ref": f"#/components/schemas/{one.model}.{schema}", **document}
    return bool(jsonschema.Draft202012Validator(root).is_valid(value))


def request(*inputs: tuple[str, str, list[int], list[Any]], **more: Any) -> dict[str, Any]:
    keys = ("name", "datatype", "shape", "data")
    return {"inputs": [dict(zip(keys, one, strict=True)) for one in inputs], **more}


ASKED = {"ready", "config", "stats"}


def test_a_model_may_have_a_name_that_no_path_can_have() -> None:
    document = openapi.document([model("a b/{c}")])
    validate(document)
    assert "/v2/models/a%20b%2F%7Bc%7D/infer" in document["paths"]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (model(), {"infer", "generate"}),
        (model(decoupled=True), {"generate_stream"}),
        (model(stateful=True), {"infer"}),
        (model(inputs=(tensor(dims=(-1, -1)),)), {"infer"}),
        (model(inputs=(tensor(datatype="FP16"),)), set()),
        (model(inputs=(tensor(), tensor("z", "BF16", optional=True))), {"infer", "generate"}),
    ],
)
def test_only_endpoints_that_can_be_used_are_told(one: Interface, expected: set[str]) -> None:
    assert paths(one) == ASKED | expected


def test_a_request_has_every_input_that_is_not_optional_in_any_order() -> None:
    one = model(inputs=(tensor(), tensor("z", "BYTES", optional=True), tensor("w", "INT32", (2,))))
    x, z, w = (
        ("x", "FP32", [1, 1], [0.5]),
        ("z", "BYTES", [1, 1], ["a"]),
        ("w", "INT32", [1, 2], [1, 2]),
    )
    for right in ([x, w], [w, x], [w, z, x]):
        assert accepts(one, "InferRequest", request(*right))
    for wrong in ([x], [x, z], [x, x, w], [], [x, w, ("v", "FP32", [1, 1], [1])]):
        assert not accepts(one, "InferRequest", request(*wrong)), wrong


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([5, 1], [1] * 5),
        ([0, 1], []),
        ([1, 2], [1, 2]),
        ([1], [1]),
        ([1, 1], ["1"]),
        ([1, 1], [1e39]),
        ([1, 1], []),
    ],
)
def test_what_triton_refuses_or_spoils_is_not_allowed(shape: list[int], data: list[Any]) -> None:
    assert accepts(model(), "InferRequest", request(("x", "FP32", [1, 1], [1.5])))
    assert not accepts(model(), "InferRequest", request(("x", "FP32", shape, data)))


def test_ranges_labels_and_values_are_told() -> None:
    one = model(
        inputs=(tensor(minimum=0, maximum=1, unit="m", doc="how far"),),
        outputs=(
            tensor("label", "BYTES", values=("no", "yes")),
            tensor("scores", dims=(2,), labels=("no", "yes")),
        ),
    )
    schemas = openapi.document([one])["components"]["schemas"]
    assert not accepts(one, "GenerateRequest", {"x": 2})
    assert accepts(one, "GenerateRequest", {"x": 1})
    assert schemas["thing.input.x"]["description"] == "How far. In m."
    assert schemas["thing.output.scores"]["x-labels"] == ["no", "yes"]
    answer = {"model_name": "thing", "model_version": "1", "label": "yes", "scores": [0.5, 0.5]}
    assert accepts(one, "GenerateResponse", answer)
    assert not accepts(one, "GenerateResponse", {**answer, "label": "maybe"})


def test_inputs_that_stand_in_for_one_another_are_given_once() -> None:
    pixels = tensor("pixels", "UINT8", (-1, -1), optional=True, instead_of="image")
    one = model(inputs=(tensor("image", "BYTES", optional=True), pixels))
    image = ("image", "BYTES", [1, 1], ["a"])
    grey = ("pixels", "UINT8", [1, 1, 1], [0])
    assert accepts(one, "InferRequest", request(image))
    assert accepts(one, "InferRequest", request(grey))
    assert not accepts(one, "InferRequest", request(image, grey))
    assert accepts(one, "GenerateRequest", {"image": "a"})  # which cannot tell pixels' shape
    assert not accepts(one, "GenerateRequest", {})


def test_a_sequence_takes_one_item_at_a_time_and_says_which_sequence() -> None:
    one = model(stateful=True)
    single = ("x", "FP32", [1, 1], [1])
    assert accepts(one, "InferRequest", request(single, parameters={"sequence_id": 7}))
    assert not accepts(one, "InferRequest", request(single))
    double = ("x", "FP32", [2, 1], [1, 2])
    assert not accepts(one, "InferRequest", request(double, parameters={"sequence_id": 7}))


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(InterfaceError, match="one name"):
        openapi.document([model("a b"), model("a_b")])


tensors = st.builds(
    tensor,
    name=st.text("abc .é", min_size=1, max_size=4),
    datatype=st.sampled_from(["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64", "BYTES", "BF16"]),
    dims=st.lists(st.sampled_from([-1, 1, 3]), max_size=3).map(tuple),
    optional=st.booleans(),
)
models = st.builds(
    model,
    inputs=st.lists(tensors, min_size=1, max_size=3, unique_by=lambda t: t.name).map(tuple),
    outputs=st.lists(tensors, min_size=1, max_size=3, unique_by=lambda t: t.name).map(tuple),
    max_batch_size=st.sampled_from([0, 8]),
    decoupled=st.booleans(),
    stateful=st.booleans(),
)


# Validating one takes some tenths of a second: few are drawn, and failures are not made smaller.
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@example(model(inputs=(tensor(datatype="FP16", optional=True),)))
@example(model(inputs=(tensor(dims=()),), max_batch_size=0))
@given(models)
def test_the_document_of_any_model_is_valid_and_always_the_same(one: Interface) -> None:
    text = openapi.text([one])
    assert text == openapi.text([one])
    validate(json.loads(text))
