"""What the TypeScript generator writes; that it compiles and runs is tested in tests/server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from modelport.codegen import typescript, typescript_types
from modelport.errors import InterfaceError
from modelport.repository.interface import Interface, TensorInterface

FILES = typescript.package([])


def tensor(
    name: str = "x", datatype: Any = "FP32", dims: Any = (1,), **more: Any
) -> TensorInterface:
    return TensorInterface(name=name, datatype=datatype, dims=dims, **more)


def model(name: str = "thing", **more: Any) -> Interface:
    given = {"inputs": (tensor(),), "outputs": (tensor("y"),), "max_batch_size": 4, **more}
    return Interface(model=name, **given)


@pytest.mark.parametrize(
    ("one", "taken", "answered"),
    [
        (tensor(), "number", "number"),
        (tensor(dims=()), "number", "number"),
        (tensor(dims=(3,)), "readonly number[] | Float32Array", "Float32Array"),
        (tensor(dims=(-1, 2)), "Nd<readonly number[] | Float32Array>", "Nd<Float32Array>"),
        (tensor(datatype="BF16", dims=(2,)), "readonly number[] | Float32Array", "Float32Array"),
        (tensor(datatype="BOOL"), "boolean", "boolean"),
        (tensor(datatype="BOOL", dims=(2,)), "readonly boolean[]", "boolean[]"),
        (tensor(datatype="INT64"), "number | bigint", "bigint"),
        (
            tensor(datatype="UINT64", dims=(2,)),
            "readonly (number | bigint)[] | BigUint64Array",
            "BigUint64Array",
        ),
        (tensor(datatype="BYTES"), "string | Uint8Array", "string"),
        (tensor(datatype="BYTES", content="text", dims=(-1,)), "readonly string[]", "string[]"),
        (tensor(datatype="BYTES", content="image"), "Uint8Array", "Uint8Array"),
        (tensor(datatype="BYTES", values=("a", 'b"')), r'"a" | "b\""', r'"a" | "b\""'),
        (
            tensor(datatype="BYTES", values=("a", "b"), dims=(-1,)),
            'readonly ("a" | "b")[]',
            '("a" | "b")[]',
        ),
    ],
)
def test_the_types_of_values(one: TensorInterface, taken: str, answered: str) -> None:
    assert typescript_types.of(one, answer=False) == taken
    assert typescript_types.of(one, answer=True) == answered


def test_a_tensor_says_what_it_means() -> None:
    one = tensor(doc="how warm it is", unit="°C", minimum=-40, maximum=85, dims=(3,))
    assert typescript_types.doc(one) == ["How warm it is.", "FP32 [3], in °C, -40 to 85."]
    assert typescript_types.doc(tensor(minimum=0)) == ["FP32, 0 or more."]
    assert typescript_types.doc(tensor(instead_of="y")) == ["FP32, in place of `y`."]


def test_words_cannot_end_a_comment() -> None:
    told = typescript.module(model(doc="Ends */ here\nand goes on"))
    assert told.count("*/") == told.count("/**")
    assert " * and goes on" in told


@pytest.mark.parametrize(
    ("more", "base"),
    [({}, "Model"), ({"stateful": True}, "SequenceModel"), ({"decoupled": True}, "StreamingModel")],
)
def test_how_a_model_answers_chooses_its_class(more: Any, base: str) -> None:
    told = typescript.module(model("some_thing", **more))
    assert f"class SomeThing extends {base}<SomeThingInputs, SomeThingResult>" in told


def test_ranges_and_labels_reach_the_program() -> None:
    told = typescript.module(
        model(
            inputs=(tensor(minimum=0, maximum=1, optional=True),),
            outputs=(tensor("y", dims=(2,), labels=("no", "yes")),),
        )
    )
    assert (
        '{ name: "x", datatype: "FP32", dims: [1], optional: true, minimum: 0.0, maximum: 1.0 }'
        in told
    )
    assert '"y": ["no", "yes"],' in told
    assert "readonly x?: number;" in told


def test_names_that_typescript_does_not_allow_are_quoted() -> None:
    told = typescript.module(model("2-good.model", inputs=(tensor("a b"), tensor("a²"))))
    assert 'readonly "a\\u00b2": number;' in told
    assert 'readonly "a b": number;' in told
    assert "class Model2GoodModel " in told


def test_a_package_is_whole_and_always_the_same() -> None:
    one, other = model("one"), model("index", stateful=True)
    files = typescript.package([one, other], name="@acme/models")
    assert files == typescript.package([one, other], name="@acme/models")
    assert json.loads(files["package.json"])["name"] == "@acme/models"
    assert "dependencies" not in json.loads(files["package.json"])
    assert {"one.ts", "index_model.ts", "index.ts", "tsconfig.json"} <= files.keys()
    imported = re.findall(r'from "\./([^"]+)"', files["index.ts"])
    assert imported == ["modelport/index.ts", "one.ts", "index_model.ts"]
    assert set(imported) <= files.keys()


def test_no_class_is_called_as_what_the_runtime_offers() -> None:
    """All that index.ts exports, and it exports all of some files."""
    root = "modelport/"
    runtime = {p.removeprefix(root): text for p, text in FILES.items() if p.startswith(root)}
    exported: set[str] = set()
    for name in re.findall(r'export \* from "\./(.+)"', runtime["index.ts"]):
        text = runtime[name]
        exported |= set(re.findall(r"^export (?:\w+ )+?(\w+)(?=[ <(=:])", text, re.MULTILINE))
        for listed in re.findall(r"^export (?:type )?\{([^}]+)\}", text, re.MULTILINE):
            exported |= {part.split()[-1] for part in listed.split(",") if part.strip()}
    assert {"Client", "HeaderSource", "SequenceModel", "Nd", "refusal"} <= exported
    classes = {name for name in exported if name[0].isupper()}
    assert classes <= typescript.RESERVED


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("model", "ModelModel"),
        ("client_error", "ClientErrorModel"),
        ("sequence", "SequenceModelModel"),
        ("URL", "URLModel"),
        ("SPEC", "SPECModel"),
        ("promise", "PromiseModel"),
        ("object", "ObjectModel"),
        ("é", "ModelModel"),
        ("digits", "Digits"),
    ],
)
def test_a_class_stands_beside_what_it_builds_on(name: str, called: str) -> None:
    assert typescript.class_name(name) == called
    assert f"export class {called} extends Model<{called}Inputs" in typescript.module(model(name))


@pytest.mark.parametrize("pair", [("a_b", "a-b"), ("a", "a_result"), ("a b", "a.b")])
def test_models_of_one_name_in_typescript_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(InterfaceError, match="one module in TypeScript"):
        typescript.package([model(name) for name in pair])


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (tensor(datatype="FP16"), "FP16"),
        (tensor(dims=(-1, -1)), r"\[-1, -1\]"),
    ],
)
def test_a_stream_that_json_cannot_carry_is_refused(one: TensorInterface, why: str) -> None:
    with pytest.raises(InterfaceError, match=why):
        typescript.module(model(decoupled=True, inputs=(one,)))
    optional = one.model_copy(update={"optional": True})
    told = typescript.module(model(decoupled=True, inputs=(tensor("z"), optional)))
    assert "x?" not in told


def test_a_package_leaves_out_streams_that_json_cannot_carry() -> None:
    halves = model("halves", decoupled=True, inputs=(tensor("x", "FP16"),))
    files = typescript.package([model("one"), halves])
    assert "halves.ts" not in files
    assert "// 'halves' is left out: its input 'x', FP16 [1], has no form" in files["index.ts"]
    assert "Halves" not in files["index.ts"]
    with pytest.raises(InterfaceError, match="cannot be called from TypeScript"):
        typescript.package([halves])
