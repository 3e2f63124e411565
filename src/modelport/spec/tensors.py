"""What a model takes and gives: inputs, outputs and the batcher's own tensors."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from modelport.spec.scalars import STRICT, Bool, DataType, Dimension, Name, Text

InputFormat = Literal["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"]
BatchInputKind = Literal[
    "BATCH_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
    "BATCH_ITEM_SHAPE",
    "BATCH_ITEM_SHAPE_FLATTEN",
]
BatchOutputKind = Literal["BATCH_SCATTER_WITH_INPUT_SHAPE"]


@dataclass(frozen=True, config=STRICT)
class ModelTensorReshape:
    """The shape that the backend sees, where it differs from the one clients send."""

    shape: tuple[Dimension, ...] = ()
    """Dimensions without the batch; empty for a scalar."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelInput:
    """One input tensor."""

    name: Name
    """Name of the tensor, unique among the model's inputs."""
    data_type: DataType = "TYPE_INVALID"
    """Type of an element; TYPE_INVALID leaves it to auto-completion."""
    format: InputFormat = "FORMAT_NONE"
    """Layout of an image input."""
    dims: tuple[Dimension, ...] = ()
    """Shape without the batch dimension; -1 for a variable one."""
    reshape: ModelTensorReshape | None = None
    """Shape given to the backend instead of ``dims``."""
    is_shape_tensor: Bool = False
    """Whether TensorRT reads the tensor as a shape."""
    allow_ragged_batch: Bool = False
    """Whether requests of different shapes may share a batch."""
    optional: Bool = False
    """Whether a request may leave the tensor out."""
    is_non_linear_format_io: Bool = False
    """Whether TensorRT keeps the tensor in a vectorised layout."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelOutput:
    """One output tensor."""

    name: Name
    """Name of the tensor, unique among the model's outputs."""
    data_type: DataType = "TYPE_INVALID"
    """Type of an element; TYPE_INVALID leaves it to auto-completion."""
    dims: tuple[Dimension, ...] = ()
    """Shape without the batch dimension; -1 for a variable one."""
    reshape: ModelTensorReshape | None = None
    """Shape that the backend gives, where it is not ``dims``."""
    label_filename: Text = ""
    """File of class names, one a line, in the model's folder."""
    is_shape_tensor: Bool = False
    """Whether TensorRT writes the tensor as a shape."""
    is_non_linear_format_io: Bool = False
    """Whether TensorRT keeps the tensor in a vectorised layout."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BatchInput:
    """A tensor that Triton computes for the backend from the batch (ragged batching)."""

    kind: BatchInputKind = "BATCH_ELEMENT_COUNT"
    """What is computed."""
    target_name: tuple[Text, ...] = ()
    """Tensors of the backend that receive it."""
    data_type: DataType = "TYPE_INVALID"
    """Type of its elements."""
    source_input: tuple[Text, ...] = ()
    """Inputs that it is computed from."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BatchOutput:
    """An output that Triton scatters to the requests of a ragged batch."""

    target_name: tuple[Text, ...] = ()
    """Outputs to scatter."""
    kind: BatchOutputKind = "BATCH_SCATTER_WITH_INPUT_SHAPE"
    """How the shares are found."""
    source_input: tuple[Text, ...] = ()
    """Inputs whose shapes give the shares."""
