"""The typed configuration covers model_config.proto and refuses what means nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError
from tritonclient.grpc import model_config_pb2

import modelport.spec
import modelport.spec.config
from modelport.spec.config import (
    AllVersions,
    LatestVersions,
    ModelConfig,
    ModelDynamicBatching,
    ModelEnsembling,
    ModelInput,
    ModelVersionPolicy,
    SequenceInitialState,
    WarmupInput,
)


def _counterpart(annotation: Any) -> type | None:
    """The dataclass inside an optional, a tuple or a mapping."""
    if dataclasses.is_dataclass(annotation):
        return annotation
    inner = get_args(annotation)
    if get_origin(annotation) is Mapping:
        return _counterpart(inner[1])
    return next((found for part in inner if (found := _counterpart(part))), None)


def _pairs() -> list[tuple[Any, type]]:
    """Every message of model_config.proto with its dataclass."""
    found: list[tuple[Any, type]] = [(model_config_pb2.ModelConfig.DESCRIPTOR, ModelConfig)]
    for descriptor, cls in found:
        hints = get_type_hints(cls, include_extras=True)
        for field in descriptor.fields:
            message = field.message_type
            if message is not None and message.GetOptions().map_entry:
                message = message.fields_by_name["value"].message_type
            if message is None or message.name == "ModelParameter":
                continue
            pair = (message, _counterpart(hints[field.name]))
            if pair not in found:
                found.append(pair)
    return found


PAIRS = _pairs()


@pytest.mark.parametrize(("descriptor", "cls"), PAIRS, ids=[d.full_name for d, _ in PAIRS])
def test_every_field_of_the_proto_has_its_counterpart(descriptor: Any, cls: type) -> None:
    ours = [field.name.rstrip("_") for field in dataclasses.fields(cls)]
    assert set(ours) == set(descriptor.fields_by_name)


def test_every_message_of_the_proto_is_reached() -> None:
    every = list(model_config_pb2.DESCRIPTOR.message_types_by_name.values())
    for descriptor in every:
        every.extend(n for n in descriptor.nested_types if not n.GetOptions().map_entry)
    # Parameters are plain strings here; the only field of their message is string_value.
    missing = {d.full_name for d in every} - {d.full_name for d, _ in PAIRS}
    assert missing == {"inference.ModelParameter"}


@pytest.mark.parametrize(("descriptor", "cls"), PAIRS, ids=[d.full_name for d, _ in PAIRS])
def test_enums_carry_the_names_of_the_proto(descriptor: Any, cls: type) -> None:
    for field in descriptor.fields:
        if field.enum_type is not None:
            schema = TypeAdapter(get_type_hints(cls, include_extras=True)[field.name]).json_schema()
            names = schema.get("items", schema)
            allowed = names.get("enum") or [names["const"]]
            assert allowed == list(field.enum_type.values_by_name)


def test_the_package_shows_all_that_the_module_shows() -> None:
    assert set(modelport.spec.config.__all__) <= set(modelport.spec.__all__)


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig(name="m").name = "n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ModelConfig(nmae="m"), "nmae"),
        (lambda: ModelConfig(max_batch_size=-1), "max_batch_size"),
        (lambda: ModelConfig(max_batch_size="8"), "max_batch_size"),
        (lambda: ModelConfig(max_batch_size=True), "max_batch_size"),
        (lambda: ModelInput(name=""), "name"),
        (lambda: ModelInput(name="x", data_type="FP32"), "TYPE_FP32"),
        (lambda: ModelInput(name="x", dims=(0,)), "got 0"),
        (lambda: ModelInput(name="x", dims=(-2,)), "got -2"),
        (lambda: ModelConfig(input=(ModelInput(name="x"),) * 2), "'x' is declared twice"),
        (lambda: ModelEnsembling(step=()), "at least one step"),
        (lambda: ModelDynamicBatching(max_queue_delay_microseconds=-1), "greater than or equal"),
        (
            lambda: ModelVersionPolicy(latest=LatestVersions(1), all=AllVersions()),
            "latest and all exclude each other",
        ),
        (lambda: WarmupInput(zero_data=True, random_data=False), "exclude each other"),
        (lambda: SequenceInitialState(zero_data=True, data_file="f"), "exclude each other"),
        (
            lambda: ModelConfig(
                dynamic_batching=ModelDynamicBatching(),
                ensemble_scheduling=ModelEnsembling(step=({"model_name": "m"},)),
            ),
            "dynamic_batching and ensemble_scheduling exclude each other",
        ),
    ],
)
def test_what_means_nothing_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make()
