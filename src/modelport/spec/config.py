"""Triton's model configuration (config.pbtxt), typed and frozen.

Field for field what ``model_config.proto`` of the Triton common repository
declares, under the same names and with the same defaults: a repeated field is
a tuple, a map a Mapping, an absent message or oneof member None, an enum the
name that config.pbtxt uses. Only what makes a value meaningless is refused
here; what Triton would complain of on loading is `modelport doctor`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from modelport.spec.execution import (
    Accelerator,
    CudaGraphLowerBound,
    CudaGraphShape,
    CudaGraphSpec,
    CudaOptimization,
    ExecutionAccelerators,
    GraphOptimization,
    InstanceKind,
    ModelInstanceGroup,
    ModelOptimizationPolicy,
    ModelPriority,
    ModelRateLimiter,
    PinnedMemoryBuffer,
    RateLimiterResource,
    SecondaryDevice,
    SecondaryDeviceKind,
)
from modelport.spec.scalars import (
    STRICT,
    Bool,
    Count,
    DataType,
    Dimension,
    Float64,
    Int64,
    Text,
    UInt32,
    at_most_one,
    unique,
)
from modelport.spec.scheduling import (
    ControlKind,
    EnsembleStep,
    ModelDynamicBatching,
    ModelEnsembling,
    ModelQueuePolicy,
    ModelSequenceBatching,
    SequenceControl,
    SequenceControlInput,
    SequenceInitialState,
    SequenceState,
    StrategyDirect,
    StrategyOldest,
    TimeoutAction,
)
from modelport.spec.tensors import (
    BatchInput,
    BatchInputKind,
    BatchOutput,
    BatchOutputKind,
    InputFormat,
    ModelInput,
    ModelOutput,
    ModelTensorReshape,
)

__all__ = [
    "Accelerator",
    "AllVersions",
    "BatchInput",
    "BatchInputKind",
    "BatchOutput",
    "BatchOutputKind",
    "ControlKind",
    "CudaGraphLowerBound",
    "CudaGraphShape",
    "CudaGraphSpec",
    "CudaOptimization",
    "DataType",
    "EnsembleStep",
    "ExecutionAccelerators",
    "GraphOptimization",
    "HistogramOptions",
    "InputFormat",
    "InstanceKind",
    "LatestVersions",
    "MetricControl",
    "MetricIdentifier",
    "ModelConfig",
    "ModelDynamicBatching",
    "ModelEnsembling",
    "ModelInput",
    "ModelInstanceGroup",
    "ModelMetrics",
    "ModelOperations",
    "ModelOptimizationPolicy",
    "ModelOutput",
    "ModelPriority",
    "ModelQueuePolicy",
    "ModelRateLimiter",
    "ModelRepositoryAgents",
    "ModelResponseCache",
    "ModelSequenceBatching",
    "ModelTensorReshape",
    "ModelTransactionPolicy",
    "ModelVersionPolicy",
    "ModelWarmup",
    "PinnedMemoryBuffer",
    "RateLimiterResource",
    "RepositoryAgent",
    "SecondaryDevice",
    "SecondaryDeviceKind",
    "SequenceControl",
    "SequenceControlInput",
    "SequenceInitialState",
    "SequenceState",
    "SpecificVersions",
    "StrategyDirect",
    "StrategyOldest",
    "TimeoutAction",
    "WarmupInput",
]


@dataclass(frozen=True, config=STRICT)
class LatestVersions:
    """The newest versions serve."""

    num_versions: UInt32 = 0
    """How many; with 0, the default of the proto file, none serves."""


@dataclass(frozen=True, config=STRICT)
class AllVersions:
    """Every version serves."""


@dataclass(frozen=True, config=STRICT)
class SpecificVersions:
    """The versions that are named serve."""

    versions: tuple[Int64, ...] = ()
    """Version numbers."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelVersionPolicy:
    """Which version folders serve; at most one member is set."""

    latest: LatestVersions | None = None
    """The newest ones."""
    all: AllVersions | None = None
    """All of them."""
    specific: SpecificVersions | None = None
    """Those named."""

    @model_validator(mode="after")
    def _check_oneof(self) -> ModelVersionPolicy:
        at_most_one(self, "latest", "all", "specific")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WarmupInput:
    """Data of one input of a warmup request; at most one kind of data is set."""

    data_type: DataType = "TYPE_INVALID"
    """Type of its elements."""
    dims: tuple[Dimension, ...] = ()
    """Shape without the batch dimension, all dimensions fixed."""
    zero_data: Bool | None = None
    """All zeros."""
    random_data: Bool | None = None
    """Random values."""
    input_data_file: Text | None = None
    """File in the model's ``warmup`` folder with the raw values."""

    @model_validator(mode="after")
    def _check_oneof(self) -> WarmupInput:
        at_most_one(self, "zero_data", "random_data", "input_data_file")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelWarmup:
    """A request that is run before the model is ready."""

    name: Text = ""
    """Name in messages."""
    batch_size: UInt32 = 0
    """Batch of the request; with 0 it is never run."""
    inputs: Mapping[Text, WarmupInput] = field(default_factory=dict)
    """Data by input."""
    count: UInt32 = 0
    """How many times it is run; 0 for once."""


@dataclass(frozen=True, config=STRICT)
class ModelOperations:
    """Custom operations that the backend loads."""

    op_library_filename: tuple[Text, ...] = ()
    """Shared libraries, in the order of loading."""


@dataclass(frozen=True, config=STRICT)
class ModelTransactionPolicy:
    """How answers relate to requests."""

    decoupled: Bool = False
    """Whether a request may have none or many answers."""


@dataclass(frozen=True, config=STRICT)
class RepositoryAgent:
    """A repository agent, run when the model is loaded or unloaded."""

    name: Text = ""
    """Name of the agent."""
    parameters: Mapping[Text, Text] = field(default_factory=dict)
    """Its settings."""


@dataclass(frozen=True, config=STRICT)
class ModelRepositoryAgents:
    """Repository agents of the model."""

    agents: tuple[RepositoryAgent, ...] = ()
    """Agents, in the order in which they run."""


@dataclass(frozen=True, config=STRICT)
class ModelResponseCache:
    """Cache of answers to equal requests."""

    enable: Bool = False
    """Whether the model uses the server's cache."""


@dataclass(frozen=True, config=STRICT)
class MetricIdentifier:
    """Which metric."""

    family: Text = ""
    """Metric family, such as nv_inference_first_response_histogram_ms."""


@dataclass(frozen=True, config=STRICT)
class HistogramOptions:
    """Settings of a histogram."""

    buckets: tuple[Float64, ...] = ()
    """Upper bounds of the buckets, rising."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MetricControl:
    """Settings of one metric family."""

    metric_identifier: MetricIdentifier | None = None
    """Which metric."""
    histogram_options: HistogramOptions | None = None
    """Settings, for a histogram."""


@dataclass(frozen=True, config=STRICT)
class ModelMetrics:
    """Settings of the model's metrics."""

    metric_control: tuple[MetricControl, ...] = ()
    """Settings by metric family."""


# The parameter of config.pbtxt that names the models which a Python model calls.
CALLS_PARAMETER = "calls"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """All that config.pbtxt says of one model.

    Raises:
        pydantic.ValidationError: a value that no Triton could use.
    """

    name: Text = ""
    """Name of the model; empty for that of its folder."""
    platform: Text = ""
    """Older way of naming the backend, such as onnxruntime_onnx or ensemble."""
    backend: Text = ""
    """Backend that runs the model, such as onnxruntime or python."""
    runtime: Text = ""
    """Implementation of the backend: a shared library or a Python file."""
    version_policy: ModelVersionPolicy | None = None
    """Which versions serve; None for the newest."""
    max_batch_size: Count = 0
    """Largest batch; 0 for a model without a batch dimension."""
    input: tuple[ModelInput, ...] = ()
    """Input tensors."""
    output: tuple[ModelOutput, ...] = ()
    """Output tensors."""
    batch_input: tuple[BatchInput, ...] = ()
    """Tensors that Triton computes for the backend."""
    batch_output: tuple[BatchOutput, ...] = ()
    """Outputs that Triton scatters."""
    optimization: ModelOptimizationPolicy | None = None
    """Hints to the backend and the server."""
    dynamic_batching: ModelDynamicBatching | None = None
    """Batching on the server; excludes the other two ways of scheduling."""
    sequence_batching: ModelSequenceBatching | None = None
    """Sequences; excludes the other two ways of scheduling."""
    ensemble_scheduling: ModelEnsembling | None = None
    """A pipeline of models; excludes the other two ways of scheduling."""
    instance_group: tuple[ModelInstanceGroup, ...] = ()
    """Instances and their devices; empty for Triton's default."""
    default_model_filename: Text = ""
    """Model file in the version folder; empty for the backend's usual name."""
    cc_model_filenames: Mapping[Text, Text] = field(default_factory=dict)
    """Model file by CUDA compute capability."""
    metric_tags: Mapping[Text, Text] = field(default_factory=dict)
    """Labels of the model's metrics."""
    parameters: Mapping[Text, Text] = field(default_factory=dict)
    """Settings of the backend (``string_value`` in config.pbtxt)."""
    model_warmup: tuple[ModelWarmup, ...] = ()
    """Requests to run before the model is ready."""
    model_operations: ModelOperations | None = None
    """Custom operations."""
    model_transaction_policy: ModelTransactionPolicy | None = None
    """How answers relate to requests."""
    model_repository_agents: ModelRepositoryAgents | None = None
    """Repository agents."""
    response_cache: ModelResponseCache | None = None
    """Cache of answers."""
    model_metrics: ModelMetrics | None = None
    """Settings of metrics."""

    @property
    def calls(self) -> tuple[str, ...]:
        """Names of the models that the code of a Python model calls."""
        # "name:version" while a promotion switches several of them together.
        named = self.parameters.get(CALLS_PARAMETER, "").split()
        return tuple(one.partition(":")[0] for one in named)

    @property
    def runs(self) -> frozenset[str]:
        """Names of the models that answer a part of each request: steps, and what code calls."""
        steps = self.ensemble_scheduling.step if self.ensemble_scheduling else ()
        return frozenset({*(step.model_name for step in steps), *self.calls})

    def serves(self, versions: Sequence[int]) -> list[int]:
        """Choose by the policy what Triton would serve if these versions were on disk, ascending.

        Versions that the policy names count whether they are there or not.
        """
        policy, versions = self.version_policy, sorted(versions)
        if policy is not None and policy.all is not None:
            return versions
        if policy is not None and policy.specific is not None:
            return sorted(policy.specific.versions)
        latest = policy.latest if policy is not None else None
        # An empty `latest { }` means num_versions 0, and Triton then serves none.
        count = 1 if latest is None else latest.num_versions
        return versions[-count:] if count else []

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        at_most_one(self, "dynamic_batching", "sequence_batching", "ensemble_scheduling")
        unique("input", [tensor.name for tensor in self.input])
        unique("output", [tensor.name for tensor in self.output])
        return self
