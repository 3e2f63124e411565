"""Settings that were measured to be best, as they lie beside a builder file, with the evidence.

``digits.tuned.toml`` beside ``digits.py`` holds a table for each tuned model. A build puts its
settings in the place of the builder's. It also says over which settings they were found: where the
builder has changed since, nobody knows whether they are still the best, and the build refuses.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from modelport.spec.config import ModelDynamicBatching
from modelport.spec.model import Model

SUFFIX = ".tuned.toml"
_THREADS = "intra_op_thread_count"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TunedServing(_Table):
    """The settings of a model that are tuned.

    Attributes:
        instances: processes that execute side by side.
        intra_op_threads: threads within one execution; 0 of what is no ONNX model.
        max_batch_size: the largest batch.
        dynamic_batching: whether requests are gathered.
        preferred_batch_size: batch sizes that are executed at once when reached.
        max_queue_delay_microseconds: longest wait for more requests to join a batch.
    """

    instances: Annotated[int, Field(ge=1)] = 1
    intra_op_threads: Annotated[int, Field(ge=0)] = 1
    max_batch_size: Annotated[int, Field(ge=0)]
    dynamic_batching: bool
    preferred_batch_size: tuple[Annotated[int, Field(ge=1)], ...] = ()
    max_queue_delay_microseconds: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def of(cls, model: Model) -> TunedServing:
        """Read what a declaration says."""
        serving, batching = model.serving, model.serving.dynamic_batching
        # A parameter of that name goes before the field, in config.pbtxt too.
        threads = int(serving.parameters.get(_THREADS, serving.intra_op_threads))
        return cls(
            instances=serving.instances,
            intra_op_threads=threads if model.kind == "onnx" else 0,
            max_batch_size=model.max_batch_size,
            dynamic_batching=batching is not None,
            preferred_batch_size=batching.preferred_batch_size if batching else (),
            max_queue_delay_microseconds=batching.max_queue_delay_microseconds if batching else 0,
        )

    def differing(self, other: TunedServing) -> str:
        """Say in words which settings differ from others."""
        was = other.model_dump()
        return "; ".join(
            f"{field} {value!r} instead of {was[field]!r}"
            for field, value in self.model_dump().items()
            if value != was[field]
        )

    def applied(self, model: Model) -> Model:
        """Give a declaration with these settings, and all else as it was."""
        batching = None
        if self.dynamic_batching:
            batching = dataclasses.replace(
                model.serving.dynamic_batching or ModelDynamicBatching(),
                preferred_batch_size=self.preferred_batch_size,
                max_queue_delay_microseconds=self.max_queue_delay_microseconds,
            )
        threads, parameters = model.serving.intra_op_threads, dict(model.serving.parameters)
        if model.kind == "onnx" and self.intra_op_threads:
            threads = self.intra_op_threads
            parameters.pop(_THREADS, None)
        serving = dataclasses.replace(
            model.serving,
            instances=self.instances,
            intra_op_threads=threads,
            parameters=parameters,
            dynamic_batching=batching,
        )
        return dataclasses.replace(model, serving=serving, max_batch_size=self.max_batch_size)


class Evidence(_Table):
    """Where and how the settings were found to be the best.

    Attributes:
        objectives: that were to be met.
        asked: the public model that was asked.
        tuned_at: date and time, UTC.
        machine: processor and cores.
        measured: by load and figure, with these settings.
        before: the same with the settings of before.
        simulator_error: by load and figure, simulated over measured, less one.
        versions: of Modelport, tritonserver and ONNX Runtime, as far as they are known.
        files: digests of the files of the version that was measured, by path: its weights too.
        note: what else there is to know.
    """

    objectives: tuple[str, ...]
    asked: str
    tuned_at: str
    machine: str
    measured: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    before: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    simulator_error: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    versions: Mapping[str, str] = Field(default_factory=dict)
    files: Mapping[str, str] = Field(default_factory=dict)
    note: str = ""


class Tuned(_Table):
    """One tuned model.

    Attributes:
        serving: its settings.
        over: what the builder said when they were found.
        evidence: how.
    """

    serving: TunedServing
    over: TunedServing
    evidence: Evidence


def parse(document: Mapping[str, Any]) -> dict[str, Tuned]:
    """Read a file's tables; raises ``pydantic.ValidationError``."""
    return {name: Tuned.model_validate(table) for name, table in document.items()}


def render(tuned: Mapping[str, Tuned]) -> str:
    """Write a file of tables."""
    lines = [
        "# Written by `modelport tune`: a build puts these settings in place of the builder's.",
        "# Remove a table, or the file, and the builder's own hold again.",
    ]
    for name, one in sorted(tuned.items()):
        _table(lines, [name], one.model_dump(mode="json"))
    return "\n".join(lines) + "\n"


def _table(lines: list[str], path: list[str], values: Mapping[str, Any]) -> None:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if plain:
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
        lines += [f"{_key(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            _table(lines, [*path, key], value)


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name)
