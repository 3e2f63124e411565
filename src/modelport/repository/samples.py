"""Sample requests with their expected answers, kept beside the weights of a version.

``samples.json`` holds cases that were answered right when the version was
proven. The watchdog, promotion and load tests send them again. Tensors are
stored as the V2 protocol's binary encoding in base64, so that every element
type survives, strings with NUL bytes included.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from modelport.errors import IntegrityError
from modelport.spec.model import Delivery

FILE_NAME = "samples.json"


@dataclass(frozen=True)
class Case:
    """One request and its answer: named arrays with the batch dimension first.

    Attributes:
        inputs: what is sent.
        outputs: what the reference answers.
        title: words for people; empty for a case that only machines look at.
        truth: what is known to be right, whatever the reference says; often empty.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    title: str = ""
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """The cases of one version, and how its answers come."""

    cases: tuple[Case, ...]
    delivery: Delivery = "single"

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read ``samples.json``.

        Raises:
            IntegrityError: the file is missing, or is not what the schema says.
        """
        try:
            stored = _StoredSamples.model_validate_json(path.read_bytes())
            return cls(tuple(case.decode() for case in stored.cases), stored.delivery)
        except (OSError, ValidationError, ValueError, struct.error) as error:
            raise IntegrityError(
                f"{path}: cannot read the samples: {error}",
                cause="the file was cut short or edited by hand",
                next_step="build the model again: modelport build",
                path=path,
            ) from error

    def write(self, path: Path) -> None:
        """Write ``samples.json``."""
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Give the text of ``samples.json``."""
        cases = [_StoredCase.encode(case) for case in self.cases]
        stored = _StoredSamples(schema_version=1, delivery=self.delivery, cases=cases)
        return stored.model_dump_json(indent=1) + "\n"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _StoredTensor(_Stored):
    datatype: str
    shape: list[Annotated[int, Field(ge=0)]]
    b64: str

    @classmethod
    def encode(cls, array: np.ndarray) -> _StoredTensor:
        datatype = np_to_triton_dtype(array.dtype)
        if datatype == "BYTES":
            raw = serialize_byte_tensor(array)
            content = raw.item() if raw.size else b""
        else:
            content = np.ascontiguousarray(array).tobytes()
        encoded = base64.b64encode(content).decode("ascii")
        return cls(datatype=datatype, shape=list(array.shape), b64=encoded)

    def decode(self) -> np.ndarray:
        content = base64.b64decode(self.b64, validate=True)
        flat = self._flat(content)
        if flat.size != math.prod(self.shape):
            raise ValueError(f"{flat.size} elements do not fill shape {self.shape}")
        return flat.reshape(self.shape)

    def _flat(self, content: bytes) -> np.ndarray:
        if self.datatype == "BYTES":
            return np.asarray(deserialize_bytes_tensor(content), dtype=np.object_)
        dtype: Any = triton_to_np_dtype(self.datatype)
        if dtype is None:
            raise ValueError(f"unknown datatype {self.datatype!r}")
        return np.frombuffer(content, dtype=dtype)


class _StoredCase(_Stored):
    title: str = ""
    inputs: dict[str, _StoredTensor]
    outputs: dict[str, _StoredTensor]
    truth: dict[str, _StoredTensor] = Field(default_factory=dict)

    @classmethod
    def encode(cls, case: Case) -> _StoredCase:
        return cls(
            title=case.title,
            inputs=_encode_all(case.inputs),
            outputs=_encode_all(case.outputs),
            truth=_encode_all(case.truth),
        )

    def decode(self) -> Case:
        return Case(
            inputs=_decode_all(self.inputs),
            outputs=_decode_all(self.outputs),
            title=self.title,
            truth=_decode_all(self.truth),
        )


def _encode_all(arrays: Mapping[str, np.ndarray]) -> dict[str, _StoredTensor]:
    return {name: _StoredTensor.encode(array) for name, array in arrays.items()}


def _decode_all(tensors: Mapping[str, _StoredTensor]) -> dict[str, np.ndarray]:
    return {name: tensor.decode() for name, tensor in tensors.items()}


class _StoredSamples(_Stored):
    schema_version: Literal[1]
    delivery: Delivery = "single"
    cases: list[_StoredCase]
