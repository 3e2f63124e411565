"""Variants of a network that cost less to serve, and the budgets that they must keep.

A variant is named by a word, or by an object where its settings matter::

    variants=("int8", spec.Pruned(share=0.5))

``fp32``, the network as it was trained, is always there: all others are derived from it and
compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from modelport.spec.parts import STRICT, TensorName

Precision: TypeAlias = Literal[
    "fp32", "int8", "int8-dynamic", "int8-weights", "int4-weights", "fp16", "bf16", "pruned", "plan"
]
# The network as it was trained, from which the variants are derived.
FULL: Precision = "fp32"
# A TensorRT engine, which stands beside the version that serves where there is no such GPU.
PLAN: Precision = "plan"
# Figures that every variant has, whatever its model measures.
COSINE = "cosine"
MEAN_COSINE = "mean_cosine"
Positive: TypeAlias = Annotated[int, Field(ge=1)]
# Shapes of one item that an engine is made for: the smallest, the commonest and the largest.
Range: TypeAlias = tuple[Positive, Positive, Positive]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Variant:
    """What every variant declares.

    Args:
        keep: nodes of the ONNX graph that stay in FP32: names or patterns, of nodes or of
            their weights, which bear the names of torch's modules (``"*.head.*"``); an operator
            type such as ``"Softmax"`` stands for all its nodes.
    """

    precision: ClassVar[Precision]
    # Whether an item's answer depends on the others of its batch.
    mixes_batch: ClassVar[bool] = False

    keep: tuple[str, ...] = ()

    @property
    def name(self) -> Precision:
        """What people call it, and the manifest."""
        return self.precision

    @property
    def needs_calibration(self) -> bool:
        """Say whether it is made with items of the training split."""
        return False


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Int8(Variant):
    """Weights and activations as 8-bit integers, their ranges found on calibration data.

    Static quantization in QDQ form (Jacob et al. 2018, arXiv:1712.05877), which ONNX Runtime
    runs on CPUs and TensorRT takes as it is.

    Args:
        method: how the range of an activation is found: its extremes, the range that loses
            least information (entropy), or the one that holds most of the values (percentile).
        percentile: share of the values that is held, in percent.
        items: the most calibration items, of the training split.
        per_channel: a scale for each output channel of the weights.
        smooth: how much of the spread of activations moves into the weights first, 0 to 1
            (SmoothQuant, Xiao et al. 2022, arXiv:2211.10438); ``None`` for nothing.
    """

    precision: ClassVar[Precision] = "int8"

    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    items: Positive = 128
    per_channel: bool = True
    smooth: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def needs_calibration(self) -> bool:
        """It always does."""
        return True


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Int8Dynamic(Variant):
    """Weights as 8-bit integers; ranges of activations are found anew in each request.

    For matrix products and LSTMs, whose weights are read more than they are used. Convolutions
    become slower by it, and are left alone. A range is that of the whole batch, so an answer
    depends, within the error of its quantization, on what else is in the batch.

    Args:
        smooth: as of :class:`Int8`; it takes calibration data.
        items: the most calibration items, where it is smoothed.
    """

    precision: ClassVar[Precision] = "int8-dynamic"
    mixes_batch: ClassVar[bool] = True

    smooth: Annotated[float, Field(ge=0, le=1)] | None = None
    items: Positive = 128

    @property
    def needs_calibration(self) -> bool:
        """Where it is smoothed."""
        return self.smooth is not None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Int8Weights(Variant):
    """Weights as 8-bit integers in blocks, for a smaller file; results stay in floating point.

    Args:
        block: weights of a row that share a scale.
    """

    precision: ClassVar[Precision] = "int8-weights"

    block: Positive = 128


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Int4Weights(Variant):
    """Weights of matrix products as 4-bit integers in blocks; results stay in floating point.

    Args:
        block: weights of a row that share a scale.
    """

    precision: ClassVar[Precision] = "int4-weights"

    block: Positive = 32


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Fp16(Variant):
    """16-bit floating point where its range holds the values, for GPUs; inputs and outputs stay."""

    precision: ClassVar[Precision] = "fp16"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Bf16(Variant):
    """The same with the range of FP32 and 8 bits of precision, for GPUs since Ampere."""

    precision: ClassVar[Precision] = "bf16"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Pruned(Variant):
    """Channels that matter least removed, the rest trained further.

    Structured pruning along the dependencies of the layers (Fang et al. 2023,
    arXiv:2301.12900); ``keep`` names modules of the torch network here.

    Args:
        share: of the channels of each layer that are removed; the number that stays is a
            multiple of 8, in which CPUs compute.
        epochs: of training afterwards.
        learning_rate: of it; that of the training by default, divided by 4.
    """

    precision: ClassVar[Precision] = "pruned"

    share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    epochs: Positive = 5
    learning_rate: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Plan(Variant):
    """A TensorRT engine for one kind of GPU, built there by ``modelport plan``.

    Args:
        of: the variant whose graph it is built from: precision stands in the graph.
        batch: the batch that it is tuned for; the largest is the model's own.
        lengths: smallest, commonest and largest value of each dimension that varies, by the
            name of the tensor, in the order of its dimensions.
        workspace_mib: memory that the engine may take beside its weights.
        version_compatible: it also runs in later versions of TensorRT, a little slower.
        hardware_compatible: it also runs on other GPUs since Ampere, slower.
    """

    precision: ClassVar[Precision] = "plan"

    of: Literal["fp32", "fp16", "bf16", "int8", "pruned"] = "fp16"
    batch: Positive = 8
    lengths: Mapping[TensorName, tuple[Range, ...]] = Field(default_factory=dict)
    workspace_mib: Positive = 1024
    version_compatible: bool = False
    hardware_compatible: bool = False


_KINDS: tuple[type[Variant], ...] = (
    Int8, Int8Dynamic, Int8Weights, Int4Weights, Fp16, Bf16, Pruned, Plan,
)  # fmt: skip
_BY_NAME = {kind.precision: kind for kind in _KINDS}


def _named(given: Any) -> Variant:
    if isinstance(given, Variant):
        return given
    if given not in _BY_NAME:
        raise ValueError(f"no variant {given!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[given]()


# A word, or an object where its settings matter; the object in any case once it is declared.
NamedVariant: TypeAlias = Annotated[Variant | Any, BeforeValidator(_named)]


@dataclass(frozen=True, config=STRICT)
class Budget:
    """What a variant may lose, in one figure.

    Args:
        metric: a figure of the model's evaluation, or ``cosine``: the least cosine between an
            output of the variant and of the torch network, over the items of the proof, or
            ``mean_cosine``, over all of them. A pruned network is trained further, so no cosine
            bounds it.
        drop: how far it may fall below that of FP32, in the figure's own unit.
        rise: how far it may rise above, for a figure of which less is better.
        at_least: a bound of its own, whatever FP32 has.
    """

    metric: str
    drop: Annotated[float, Field(ge=0)] | None = Field(default=None, kw_only=True)
    rise: Annotated[float, Field(ge=0)] | None = Field(default=None, kw_only=True)
    at_least: float | None = Field(default=None, kw_only=True)

    @model_validator(mode="after")
    def _has_one_bound(self) -> Budget:
        given = [b for b in (self.drop, self.rise, self.at_least) if b is not None]
        if len(given) != 1:
            raise ValueError("a budget has one of drop, rise and at_least")
        if self.metric in (COSINE, MEAN_COSINE) and self.at_least is None:
            raise ValueError("the cosine is of the variant and FP32: it takes at_least")
        return self

    def holds(self, before: float, after: float) -> bool:
        """Say whether a variant keeps it (NaN never does).

        Args:
            before: the figure of FP32.
            after: that of the variant.
        """
        # Differences of figures such as 0.983 and 0.978 are not exact in binary.
        slack = 1e-9
        if self.drop is not None:
            return before - after <= self.drop + slack
        if self.rise is not None:
            return after - before <= self.rise + slack
        assert self.at_least is not None
        return after >= self.at_least - slack

    def describe(self) -> str:
        """Show the bound as text, such as ``falls by at most 0.005``."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        if self.rise is not None:
            return f"rises by at most {self.rise:g}"
        return f"falls by at most {self.drop:g}"
