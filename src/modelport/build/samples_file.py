"""A user's own requests, with or without the answers that are expected, from a file.

Two formats are read. An ``.npz`` archive has one array for each input and output, items along
the first dimension; of a model that does not batch it is one request. A ``.json`` file is what
perf_analyzer takes as ``--input-data``: a list of requests under ``data``, and under
``validation_data`` the answers, if they are known.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import perf_analyzer
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import convert
from modelport.errors import DataError, InvalidInputError
from modelport.repository.samples import Case
from modelport.spec.model import Model
from modelport.spec.parts import Sample, Tensor
from modelport.verify.cases import requests

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Given:
    """One request of a user.

    Attributes:
        inputs: one array for each input, as :class:`modelport.spec.Sample` has them.
        outputs: what is expected, likewise; of a stream all responses, joined on their first
            dimension. Empty where nothing is expected.
    """

    inputs: Arrays
    outputs: Arrays


def read(path: Path, model: Model) -> list[Given]:
    """Read a file of samples for a model.

    Args:
        path: an ``.npz`` archive, or perf_analyzer's JSON.
        model: whose inputs, and maybe outputs, it holds.

    Returns:
        The requests, one or more; either all have expected answers, or none has.

    Raises:
        DataError: it cannot be read, or does not fit the model.
    """
    form = _Form(path, model)
    if path.suffix == ".json":
        requests = form.checked(perf_analyzer.read(path, model.delivery))
        return [form.of_json(number, *request) for number, request in enumerate(requests)]
    return form.of_archive(_archive(path))


def cases(model: Model, given: Sequence[Given]) -> list[Case]:
    """Make the requests of a proof, with the answers that the user expects.

    Single items are sent alone and in batches, as those of a builder are; a sequence or a
    stream is sent as it is.
    """
    if model.delivery == "sequence" or model.max_batch_size == 0:
        return [Case(item.inputs, item.outputs) for item in given]
    if model.delivery == "stream":
        return [Case({n: a[np.newaxis] for n, a in g.inputs.items()}, g.outputs) for g in given]
    # What belongs together stays together: answers are batched like what they answer.
    items = [Sample({**_marked("in", g.inputs), **_marked("out", g.outputs)}) for g in given]
    return [
        Case(_unmarked("in", both.inputs), _unmarked("out", both.inputs))
        for both in requests(items, model.max_batch_size)
    ]


def _marked(mark: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Keep an input and an output of one name apart."""
    return {f"{mark} {name}": array for name, array in arrays.items()}


def _unmarked(mark: str, arrays: Arrays) -> dict[str, np.ndarray]:
    start = f"{mark} "
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}


class _Form:
    """What a file for one model must hold, and how to say what it does not."""

    def __init__(self, path: Path, model: Model) -> None:
        self.path = path
        self.model = model
        self.inputs = {tensor.name: tensor for tensor in model.inputs}
        self.outputs = {tensor.name: tensor for tensor in model.outputs}
        self._required = {tensor.name for tensor in model.inputs if not tensor.optional}

    def checked(self, read: perf_analyzer.Data) -> list[tuple[perf_analyzer.Step, ...]]:
        """Compare the names of a JSON file with those of the model."""
        told = read.validation_data
        answers = [{} for _ in read.data] if told is None else told
        if len(answers) != len(read.data):
            raise DataError(
                f"{self.path}: {len(read.data)} requests in `data`, {len(answers)} in"
                " `validation_data`",
                next_step="give one answer for each request, in the same order",
                path=self.path,
            )
        for step, answer in zip(read.data, answers, strict=True):
            self._check_inputs(set(step))
            if unknown := set(answer) - self.outputs.keys():
                raise self._other(unknown)
            if told is not None:
                self._check_outputs(set(answer))
        return list(zip(read.data, answers, strict=True))

    def of_archive(self, arrays: Arrays) -> list[Given]:
        """Take the arrays of an archive apart into requests."""
        expected = arrays.keys() & self.outputs.keys() - self.inputs.keys()
        self._check_inputs(set(arrays) - expected)
        if expected:
            self._check_outputs(expected)
        batches = bool(self.model.max_batch_size)
        inputs = {
            name: self._array(tensor, arrays[name], self._dims(tensor, items=batches))
            for name, tensor in self.inputs.items()
            if name in arrays
        }
        outputs = {
            name: self._array(self.outputs[name], arrays[name], self._dims(t, items=batches))
            for name, t in self.outputs.items()
            if name in expected
        }
        if not batches:
            return [Given(inputs, outputs)]
        count = self._count({**_marked("in", inputs), **_marked("out", outputs)})
        return [
            Given({n: a[i] for n, a in inputs.items()}, {n: a[i] for n, a in outputs.items()})
            for i in range(count)
        ]

    def of_json(self, number: int, step: perf_analyzer.Step, answer: perf_analyzer.Step) -> Given:
        """Make the arrays of one request."""
        inputs, outputs = f"data[{number}]: ", f"validation_data[{number}]: "
        return Given(
            {n: self._value(t, step[n], inputs) for n, t in self.inputs.items() if n in step},
            {n: self._value(t, answer[n], outputs) for n, t in self.outputs.items() if n in answer},
        )

    def _value(self, tensor: Tensor, value: perf_analyzer.Value, where: str) -> np.ndarray:
        dims = self._dims(tensor, items=False)
        shaped = self._blamed(
            tensor, lambda: perf_analyzer.array(value, tensor, dims, self.model.name), where
        )
        return self._array(tensor, shaped, dims, where)

    def _dims(self, tensor: Tensor, *, items: bool) -> tuple[int, ...]:
        dims = tensor.dims
        if self.model.delivery == "sequence":
            dims = (-1, *dims)
        elif self.model.delivery == "stream" and tensor.name in self.outputs:
            dims = (-1, *dims) if self.model.max_batch_size else (-1, *dims[1:])
        return (-1, *dims) if items else dims

    def _array(
        self, tensor: Tensor, value: np.ndarray, dims: tuple[int, ...], where: str = ""
    ) -> np.ndarray:
        alone = ModelMetadata(self.model.name, (), "", (), ())
        wanted = TensorMetadata(tensor.name, tensor.datatype, dims)
        return self._blamed(tensor, lambda: convert(value, wanted, alone), where)

    def _blamed(self, tensor: Tensor, make: Callable[[], np.ndarray], where: str) -> np.ndarray:
        try:
            return make()
        except InvalidInputError as error:
            kind = "output" if self.outputs.get(tensor.name) is tensor else "input"
            raise DataError(
                f"{self.path}: {where}{error.what.replace('input', kind, 1)}",
                next_step=error.next_step,
                path=self.path,
                tensor=tensor.name,
            ) from error

    def _count(self, arrays: Arrays) -> int:
        lengths = {name: len(array) for name, array in arrays.items()}
        count = min(lengths.values())
        if count and count == max(lengths.values()):
            return count
        shown = ", ".join(f"{n} items of {name.split(' ', 1)[1]}" for name, n in lengths.items())
        raise DataError(
            f"{self.path}: holds {shown}; expected the same number of each, one or more",
            next_step="stack the items along the first dimension",
            path=self.path,
        )

    def _check_inputs(self, names: set[str]) -> None:
        if names - self.inputs.keys() or self._required - names:
            raise self._other(names)

    def _check_outputs(self, names: set[str]) -> None:
        if missing := [name for name in self.outputs if name not in names]:
            raise DataError(
                f"{self.path}: expected answers without {', '.join(missing)};"
                f" {self.model.name!r} gives {', '.join(self.outputs)}",
                next_step="give what is expected of every output, or of none",
                path=self.path,
                tensor=missing[0],
            )

    def _other(self, names: set[str]) -> DataError:
        return DataError(
            f"{self.path}: holds {', '.join(sorted(names)) or 'nothing'}; the model takes"
            f" {', '.join(self.inputs)} and gives {', '.join(self.outputs)}",
            next_step="name each array as the input or output that it is for",
            path=self.path,
        )


def _archive(path: Path) -> dict[str, np.ndarray]:
    """Read an archive of arrays, never objects: those would be run on reading."""
    try:
        with path.open("rb") as file:
            return _arrays(np.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file", path=path) from error
    # zipfile says NotImplementedError of a compression or a version that it does not know.
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile,
            zlib.error, NotImplementedError) as error:  # fmt: skip
        raise DataError(
            f"{path}: not an .npz file that can be read: {error}",
            next_step="write it with numpy.savez(path, input_name=array, ...)",
            path=path,
        ) from error


def _arrays(loaded: Any) -> dict[str, np.ndarray]:
    if hasattr(loaded, "files"):
        return {name: loaded[name] for name in loaded.files}
    raise ValueError("it holds one array, without the name of a tensor")
