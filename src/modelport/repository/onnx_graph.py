"""What an ONNX file takes and gives, read from its protobuf without a runtime.

Weights in external files are not loaded; only where they lie is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from modelport.errors import IntegrityError, MissingExtraError, RepositoryError
from modelport.spec.config import DataType

if TYPE_CHECKING:
    import onnx

# A dimension: a size, the name of a symbolic one, or None where nothing is said.
Dimension: TypeAlias = int | str | None

# TensorProto.DataType of ONNX, by name, to the type that Triton's backend gives it.
DATA_TYPES: Mapping[str, DataType] = {
    "BOOL": "TYPE_BOOL",
    "UINT8": "TYPE_UINT8",
    "UINT16": "TYPE_UINT16",
    "UINT32": "TYPE_UINT32",
    "UINT64": "TYPE_UINT64",
    "INT8": "TYPE_INT8",
    "INT16": "TYPE_INT16",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "FLOAT16": "TYPE_FP16",
    "BFLOAT16": "TYPE_BF16",
    "FLOAT": "TYPE_FP32",
    "DOUBLE": "TYPE_FP64",
    "STRING": "TYPE_STRING",
}

# Domains of the standard operator set.
_STANDARD = ("", "ai.onnx")

# Operators of the standard set that draw at random.
_RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
     "Bernoulli")
)  # fmt: skip


@dataclass(frozen=True)
class OnnxTensor:
    """An input or output of the graph."""

    name: str
    data_type: DataType
    dims: tuple[Dimension, ...] | None
    """Full shape, a batch dimension included; None for an unknown rank, () for a scalar."""
    optional: bool = False
    """Whether the file carries a default value (an initializer of the same name)."""

    def triton_dims(self) -> tuple[int, ...] | None:
        """The shape as config.pbtxt writes it: -1 for every dimension that varies."""
        if self.dims is None:
            return None
        return tuple(dim if isinstance(dim, int) else -1 for dim in self.dims)


@dataclass(frozen=True)
class ExternalFile:
    """A file beside the model that holds weights."""

    location: str
    """Path relative to the model's folder, as the file states it."""
    size_bytes: int
    """Least size that holds every tensor that lies in it."""


@dataclass(frozen=True)
class OnnxGraph:
    """The outside of an ONNX file."""

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    external_files: tuple[ExternalFile, ...]
    opset: int
    """Version of the standard operator set; 0 where only custom operators are used."""
    random_operators: tuple[str, ...] = ()
    """Operators that draw anew with every run, such as RandomNormal."""

    def input(self, name: str) -> OnnxTensor | None:
        """Give the input of that name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> OnnxTensor | None:
        """Give the output of that name."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)


def read(path: Path) -> OnnxGraph:
    """Read inputs, outputs, external files and opset of an ONNX file.

    Raises:
        IntegrityError: the file is missing, cut short, or no ONNX file.
        RepositoryError: a tensor is a sequence, a map, or of a type that
            Triton does not know; the message names it.
        MissingExtraError: the onnx package is not installed.
    """
    model = _load(path)
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    defaults |= {tensor.values.name for tensor in graph.sparse_initializer}
    return OnnxGraph(
        inputs=tuple(_tensor(path, "input", value, defaults) for value in graph.input),
        outputs=tuple(_tensor(path, "output", value, set()) for value in graph.output),
        external_files=_external_files(model),
        opset=max((o.version for o in model.opset_import if o.domain in _STANDARD), default=0),
        random_operators=tuple(sorted({node.op_type for node in graph.node if _draws(node)})),
    )


def _draws(node: onnx.NodeProto) -> bool:
    return node.op_type in _RANDOM and node.domain in _STANDARD


def _load(path: Path) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError

    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "reading ONNX files needs the onnx package",
            next_step="pip install 'modelport[serve]'",
        ) from error
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, f"{error.strerror}") from error
    except DecodeError as error:
        raise _unreadable(path, f"{path.stat().st_size} bytes that are no ONNX protobuf") from error
    if not model.graph.output:
        raise _unreadable(path, f"{path.stat().st_size} bytes without a graph that has outputs")
    if not model.opset_import:  # the last field of the file: a cut can fall just before it
        raise _unreadable(path, f"{path.stat().st_size} bytes that state no operator set")
    return model


def _unreadable(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: {reason}",
        cause="it was cut short while it was copied, or is a Git LFS pointer or another format",
        next_step="copy or build it again",
        path=path,
        reason=reason,
    )


def _tensor(path: Path, role: str, value: onnx.ValueInfoProto, defaults: set[str]) -> OnnxTensor:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise _unservable(path, role, value.name, (kind or "untyped value").removesuffix("_type"))
    tensor = value.type.tensor_type
    type_name = _type_name(tensor.elem_type)
    if type_name not in DATA_TYPES:
        raise _unservable(path, role, value.name, f"tensor of {type_name}")
    return OnnxTensor(
        name=value.name,
        data_type=DATA_TYPES[type_name],
        dims=tuple(map(_dimension, tensor.shape.dim)) if tensor.HasField("shape") else None,
        optional=value.name in defaults,
    )


def _unservable(path: Path, role: str, name: str, got: str) -> RepositoryError:
    return RepositoryError(
        f"{path}: {role} {name!r} is a {got}, which Triton cannot take or give",
        cause="Triton's tensors are dense and of a type that config.pbtxt can name",
        next_step="export the network with plain tensors at its edges (sklearn: zipmap=False)",
        path=path,
        tensor=name,
        role=role,
        got=got,
    )


def _type_name(number: int) -> str:
    import onnx

    known = onnx.TensorProto.DataType.DESCRIPTOR.values_by_number.get(number)
    return str(known.name) if known else f"type {number}"


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> Dimension:
    which = dim.WhichOneof("value")
    if which == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return str(dim.dim_param) or None if which == "dim_param" else None


def _external_files(model: onnx.ModelProto) -> tuple[ExternalFile, ...]:
    sizes: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            location, end = _extent(tensor)
            sizes[location] = max(sizes.get(location, 0), end)
    return tuple(ExternalFile(location, size) for location, size in sorted(sizes.items()))


def _extent(tensor: onnx.TensorProto) -> tuple[str, int]:
    """Give the file that holds a tensor and the byte after its last one there."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset = _bytes(entries.get("offset"))
    length = _bytes(entries.get("length")) or _size_bytes(tensor)
    return entries.get("location", ""), offset + length


def _bytes(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _size_bytes(tensor: onnx.TensorProto) -> int:
    """Size of a tensor by its shape; 0 where its type has no numpy counterpart."""
    from onnx import helper

    count = 1
    for dim in tensor.dims:
        count *= dim
    try:
        return count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        return 0


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All constant tensors of the file, those of subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)
