"""What a load test asks: real inputs of a version, with the answers that were proven for them.

They are the items of the version's ``samples.json``, which its builder took from its data, of the
form in which a caller would ask.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.utils import serialize_byte_tensor

from modelport.errors import LoadTestError, RepositoryError
from modelport.repository.layout import ModelFolder
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples
from modelport.spec.model import Delivery
from modelport.spec.parts import Tolerance

Arrays = Mapping[str, np.ndarray]
_UNWRITTEN = {"float16", "bfloat16"}
_NUMBER_BYTES = 16


@dataclass(frozen=True)
class Question:
    """One request, as it is sent alone; of a sequence one step.

    Attributes:
        inputs: arrays without batch dimension, where the model has one.
        outputs: what the reference answers, as the server gives it: with a batch dimension of 1
            where the model has one; of a stream all responses joined on the first dimension.
    """

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Questions:
    """What one version is asked.

    Attributes:
        model: its name.
        version: of the model.
        delivery: how its answers come.
        batched: whether its tensors have a batch dimension.
        streams: one list of questions that is gone through again and again; of a sequence model
            one list for each sequence, from its start to its end.
        cases: the same as whole requests.
        tolerance: how far answers may lie from the reference.
    """

    model: str
    version: int
    delivery: Delivery
    batched: bool
    streams: Sequence[Sequence[Question]]
    cases: Sequence[Case]
    tolerance: Tolerance

    @property
    def datatypes(self) -> Mapping[str, np.dtype[Any]]:
        """Types of the outputs' elements by name."""
        return {name: array.dtype for name, array in self.streams[0][0].outputs.items()}

    @property
    def weight(self) -> int:
        """Bytes that perf_analyzer keeps of a request and its reply, at most.

        Of each number it makes a JSON value of 16 bytes, texts stay as they are.
        """
        return max(
            sum(map(_weight, (*question.inputs.values(), *question.outputs.values())))
            for stream in self.streams
            for question in stream
        )

    def write(self, path: Path) -> None:
        """Write them as perf_analyzer takes them by ``--input-data``."""
        streams = [[_step(question.inputs) for question in stream] for stream in self.streams]
        data: Any = streams if self.delivery == "sequence" else streams[0]
        path.write_text(json.dumps({"data": data}), encoding="utf-8")


def of(folder: ModelFolder, version: int) -> Questions:
    """Give the questions of a version.

    Raises:
        RepositoryError: the version has none that can be sent as a load.
        IntegrityError: its samples or its manifest cannot be read.
    """
    manifest = folder.manifest(version)
    samples = Samples.read(folder.version_dir(version) / SAMPLES)
    batched = folder.config_of(version).max_batch_size > 0
    cases = _alike([case for case in samples.cases if case.outputs])
    if not cases:
        raise RepositoryError(
            f"{folder.name}: version {version} has no sample with an answer",
            cause="its model.py answers some requests with nothing, and only those are samples",
            next_step=f"give the builder of {folder.name} samples that are answered",
        )
    _refuse_unwritten(folder.name, cases)
    bound = manifest.proof.tolerance
    if samples.delivery == "sequence":
        streams = [_steps(case) for case in cases]
    else:
        streams = [[q for case in cases for q in _items(case, batched, samples.delivery)]]
    return Questions(
        model=folder.name,
        version=version,
        delivery=samples.delivery,
        batched=batched,
        streams=streams,
        cases=cases,
        tolerance=Tolerance(bound.absolute, bound.relative),
    )


def _refuse_unwritten(model: str, cases: Sequence[Case]) -> None:
    """Refuse what perf_analyzer sends but cannot write down: replies could not be checked."""
    arrays = {**cases[0].inputs, **cases[0].outputs}
    for name, array in arrays.items():
        if array.dtype.name in _UNWRITTEN:
            raise LoadTestError(
                f"{model}: {name!r} is {array.dtype.name}, which perf_analyzer does not write down",
                cause="so nobody could tell whether replies are right",
                next_step="put the load on a model over it whose tensors are of other types",
                model=model,
            )


def _alike(cases: Sequence[Case]) -> list[Case]:
    """Keep those with the same inputs: of those that people look at, what most have."""
    titled = [case for case in cases if case.title]
    forms = Counter(frozenset(case.inputs) for case in titled or cases)
    most = max(forms, key=lambda form: forms[form], default=frozenset())
    return [case for case in cases if frozenset(case.inputs) == most]


def _items(case: Case, batched: bool, delivery: Delivery) -> list[Question]:
    if not batched:
        return [Question(case.inputs, case.outputs)]
    count = len(next(iter(case.inputs.values())))
    if delivery == "stream" and count == 1:  # whose answer has as many rows as it likes
        return [Question(_row(case.inputs, 0), case.outputs)]
    return [
        Question(_row(case.inputs, i), {n: a[i : i + 1] for n, a in case.outputs.items()})
        for i in range(count)
    ]


def _steps(case: Case) -> list[Question]:
    length = len(next(iter(case.inputs.values())))
    return [
        Question(_row(case.inputs, i), {n: a[i : i + 1] for n, a in case.outputs.items()})
        for i in range(length)
    ]


def _weight(array: np.ndarray) -> int:
    array = np.asarray(array)
    if array.dtype == object:
        return sum(len(item) for item in array.flat) + _NUMBER_BYTES * array.size
    return _NUMBER_BYTES * array.size


def _row(arrays: Arrays, index: int) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in arrays.items()}


def _step(inputs: Arrays) -> dict[str, Any]:
    return {name: _tensor(np.asarray(array)) for name, array in inputs.items()}


def _tensor(array: np.ndarray) -> dict[str, Any]:
    """Write a tensor as bytes: every element type survives, and texts with any character."""
    if array.dtype == object:
        raw = serialize_byte_tensor(array)
        content = raw.item() if raw.size else b""
    else:
        content = np.ascontiguousarray(array).tobytes()
    return {"b64": base64.b64encode(content).decode("ascii"), "shape": list(array.shape)}
