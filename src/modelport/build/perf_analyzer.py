"""perf_analyzer's files of requests: what ``--input-data`` takes.

Source: "Input Data" of perf_analyzer's documentation (docs/input_data.md). A tensor is a list
of values in row-major order, or ``{"content": …, "shape": …}``, or ``{"b64": …}`` with the raw
bytes; ``data`` may hold streams, which are lists of requests.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor

from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import DTYPES, convert
from modelport.errors import DataError, InvalidInputError
from modelport.spec.model import Delivery
from modelport.spec.parts import Tensor

# A tensor as the file has it; of a sequence, one for each of its requests.
Value: TypeAlias = Any
Step: TypeAlias = Mapping[str, Value]
_EXAMPLE = '{"data": [{"INPUT": [1, 2, 3]}], "validation_data": [{"OUTPUT": [6]}]}'


@dataclass(frozen=True)
class Frames:
    """A tensor of a whole sequence, a value for each request of it."""

    values: Sequence[Value]


@dataclass(frozen=True)
class Data:
    """The requests of a file, and the answers that it expects; None where it tells none."""

    data: Sequence[Step]
    validation_data: Sequence[Step] | None


def read(path: Path, delivery: Delivery) -> Data:
    """Read a file; of a sequence model, each stream is one request.

    Raises:
        DataError: it is missing, no JSON, or not of that form.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", path=path) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _malformed(path, f"not JSON that can be read: {reason}") from error
    if not isinstance(document, dict) or "data" not in document:
        raise _malformed(path, "there is no `data`")
    requests = _requests(path, document, "data", delivery)
    if not requests:
        raise _malformed(path, "`data` holds no request")
    answers = None
    if "validation_data" in document:
        answers = _requests(path, document, "validation_data", delivery)
    return Data(requests, answers)


def array(value: Value, tensor: Tensor, dims: tuple[int, ...], model: str) -> np.ndarray:
    """Make an array of a value of the file.

    Args:
        value: as the file has it.
        tensor: what it is for.
        dims: shape of a whole request, -1 for what varies.
        model: name of the model, for messages.

    Raises:
        InvalidInputError: it holds something else than the tensor takes.
    """
    if isinstance(value, Frames):
        frames = [array(frame, tensor, dims[1:], model) for frame in value.values]
        return _frames(frames, tensor)
    shape = dims
    if isinstance(value, dict):
        shape = _shape(value, tensor) if "shape" in value else dims
        value = _content(value, tensor)
    if not isinstance(value, np.ndarray):
        value = _converted(value, tensor, model)
    made: np.ndarray = value
    if -1 not in shape and made.size == math.prod(shape):
        return made.reshape(shape)
    if shape is not dims:
        raise _refused(tensor, f"holds {made.size} values, which do not fill {list(shape)}")
    return made


def _requests(path: Path, document: Mapping[str, Any], key: str, delivery: Delivery) -> list[Step]:
    found = document[key]
    streams = found if isinstance(found, list) else [found]
    if not any(isinstance(stream, list) for stream in streams):
        streams = [streams]
    for stream in streams:
        if not isinstance(stream, list) or not all(isinstance(step, dict) for step in stream):
            raise _malformed(path, f"`{key}` is no list of requests, or of lists of requests")
    if delivery != "sequence":
        return [step for stream in streams for step in stream]
    return [_joined(path, key, stream) for stream in streams if stream]


def _joined(path: Path, key: str, stream: Sequence[Step]) -> Step:
    """Make one request of those of a sequence."""
    names = set(stream[0])
    if any(set(step) != names for step in stream):
        raise _malformed(path, f"`{key}`: the requests of a sequence have different tensors")
    return {name: Frames([step[name] for step in stream]) for name in stream[0]}


def _frames(frames: Sequence[np.ndarray], tensor: Tensor) -> np.ndarray:
    if len({frame.shape for frame in frames}) > 1:
        raise _refused(tensor, "has other shapes in the requests of one sequence")
    return np.stack(frames)


def _shape(value: Mapping[str, Any], tensor: Tensor) -> tuple[int, ...]:
    shape = value["shape"]
    sizes = shape if isinstance(shape, list) else [None]
    if all(type(size) is int and 0 <= size < 1 << 31 for size in sizes):
        return tuple(sizes)
    raise _refused(tensor, "has a `shape` that is no list of sizes")


def _content(value: Mapping[str, Any], tensor: Tensor) -> Any:
    if "b64" in value:
        return _decoded(value["b64"], tensor)
    if "content" in value:
        return value["content"]
    raise _refused(tensor, f"has {', '.join(value) or 'nothing'}; expected `content` or `b64`")


def _decoded(text: object, tensor: Tensor) -> np.ndarray:
    try:
        raw = base64.b64decode(str(text), validate=True)
        if tensor.datatype == "BYTES":
            return np.asarray(deserialize_bytes_tensor(raw), dtype=np.object_)
        return np.frombuffer(raw, dtype=DTYPES[tensor.datatype])
    except (ValueError, struct.error) as error:
        raise _refused(tensor, f"has a `b64` that does not decode: {error}") from error


def _converted(value: Any, tensor: Tensor, model: str) -> np.ndarray:
    try:
        natural = np.shape(value)
    except (ValueError, RecursionError) as error:
        raise _refused(tensor, "has rows of unequal length") from error
    wanted = TensorMetadata(tensor.name, tensor.datatype, natural)
    return convert(value, wanted, ModelMetadata(model, (), "", (), ()))


def _refused(tensor: Tensor, what: str) -> InvalidInputError:
    return InvalidInputError(f"input {tensor.name!r} {what}", tensor=tensor.name)


def _malformed(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what}",
        cause="expected what perf_analyzer takes as --input-data",
        next_step=f"write it as {_EXAMPLE}",
        path=path,
    )
