"""Interfaces of models that were built, that were not, and that others wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from interfaces import interfaces
from small_versions import manifest, publish

from modelport import spec
from modelport.errors import ConfigError, IntegrityError, RepositoryError
from modelport.repository import interface
from modelport.repository.interface import Interface
from modelport.repository.layout import Repository
from modelport.repository.manifest import Manifest, TensorsEntry

X = spec.Tensor("x", "FP32", (2,), doc="how far", unit="m", minimum=0.0)
Y = spec.Tensor("y", "FP32", (2,), labels=("a", "b"))


def model(**fields: object) -> spec.PythonModel:
    given = {"name": "m", "inputs": (X,), "outputs": (Y,), "max_batch_size": 8, "doc": "Moves."}
    return spec.PythonModel(reference=dict, **(given | fields))  # type: ignore[arg-type]


def test_a_version_that_says_what_its_tensors_mean(tmp_path: Path) -> None:
    folder = publish(tmp_path, "m")
    said = manifest("m", 1, folder).model_copy(update={"tensors": TensorsEntry.of(model())})
    said.write(folder)
    found = interface.read(Repository(tmp_path), "m")
    assert (found.version, found.described, found.max_batch_size) == (1, True, 8)
    assert (found.inputs[0].unit, found.inputs[0].minimum) == ("m", 0.0)
    assert found.outputs[0].labels == ("a", "b")
    # the builder alone says the same, without a version
    told = interface.declared(model())
    assert told.version is None
    assert told.model_copy(update={"doc": ""}).digest == found.digest


def test_a_manifest_says_only_what_is_said(tmp_path: Path) -> None:
    folder = publish(tmp_path, "m")
    said = manifest("m", 1, folder).model_copy(update={"tensors": TensorsEntry.of(model())})
    said.write(folder)
    written = json.loads((folder / "manifest.json").read_bytes())
    inputs = {"x": {"doc": "how far", "unit": "m", "minimum": 0.0}}
    assert written["tensors"] == {"inputs": inputs, "outputs": {"y": {}}}
    assert Manifest.read(folder) == said


def test_words_do_not_count_as_meaning() -> None:
    told = TensorsEntry.of(model()).told()
    assert told == {"inputs": {"x": {"unit": "m", "minimum": 0.0}}}
    plain = model(inputs=(spec.Tensor("x", "FP32", (2,), doc="other words"),))
    assert TensorsEntry.of(plain).told() == {}


def test_a_version_of_before_has_its_tensors(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    found = interface.read(Repository(tmp_path), "m")
    assert not found.described
    assert found.tensors_digest == interface.declared(model()).tensors_digest
    assert found.digest != interface.declared(model()).digest


def test_a_model_without_versions(tmp_path: Path) -> None:
    (tmp_path / "invoice").mkdir()
    (tmp_path / "invoice" / "config.pbtxt").write_text(
        'backend: "python" input { name: "who" data_type: TYPE_STRING dims: [1] optional: true }'
        'output { name: "n" data_type: TYPE_INT64 dims: [-1] }'
        "model_transaction_policy { decoupled: true }"
    )
    [found] = interface.public(Repository(tmp_path))
    assert (found.version, found.batching, found.decoupled) == (None, False, True)
    assert (found.inputs[0].datatype, found.inputs[0].optional) == ("BYTES", True)


def test_what_triton_completes_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text('backend: "onnxruntime"')
    with pytest.raises(ConfigError, match="names no outputs"):
        interface.read(Repository(tmp_path), "m")


def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    with pytest.raises(RepositoryError, match="no version 7; there are 1"):
        interface.read(Repository(tmp_path), "m", 7)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "a/../../secret.txt"])
def test_labels_outside_the_models_folder_are_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("a secret\n")
    folder = publish(tmp_path, "m")
    for config in (tmp_path / "m" / "config.pbtxt", folder / "config.pbtxt"):
        config.write_text(config.read_text().replace("y_labels.txt", name))
    with pytest.raises(IntegrityError, match="lie outside its folder"):
        interface.read(Repository(tmp_path), "m")


@pytest.mark.parametrize("bound", [float("inf"), float("nan")])
def test_a_bound_is_a_number(bound: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        spec.Tensor("x", "FP32", (1,), maximum=bound)


def test_parts_are_not_public(tmp_path: Path) -> None:
    folder = publish(tmp_path, "part")
    manifest("part", 1, folder).model_copy(update={"public": False}).write(folder)
    publish(tmp_path, "whole")
    assert [one.model for one in interface.public(Repository(tmp_path))] == ["whole"]


@given(interfaces())
def test_json_and_back(one: Interface) -> None:
    text = json.dumps(one.as_json())
    [found] = interface.parse(text, "x")
    assert found == one
    assert found.digest == one.digest


def test_no_interface() -> None:
    with pytest.raises(RepositoryError, match=r"x.json: is no interface: field outputs"):
        interface.parse('{"model": "m", "inputs": []}', "x.json")
    with pytest.raises(RepositoryError, match=r"x.json: is no interface"):
        interface.parse("[1]", "x.json")


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-(2.0**31), 2.0**31 - 1, "-2147483648 to 2147483647"),
        (0, None, "0 or more"),
        (None, 0.1, "0.1 or less"),
        (0.0, 1.7976931348623157e308, "0 to 1.7976931348623157e+308"),
        (1e-5, 12345678.5, "1e-05 to 12345678.5"),
        (float("-inf"), float("inf"), "-inf to inf"),
        (None, None, ""),
    ],
)
def test_bounds_are_shown_as_they_are(low: float | None, high: float | None, shown: str) -> None:
    assert interface.bounds(low, high) == shown
