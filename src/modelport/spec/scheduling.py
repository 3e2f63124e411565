"""How Triton gathers requests: dynamic batching, sequence batching, ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from modelport.spec.scalars import (
    STRICT,
    Bool,
    DataType,
    Dimension,
    Float32,
    Int32,
    Int64,
    Name,
    Text,
    UInt32,
    UInt64,
    at_most_one,
)

TimeoutAction = Literal["REJECT", "DELAY"]
ControlKind = Literal[
    "CONTROL_SEQUENCE_START",
    "CONTROL_SEQUENCE_READY",
    "CONTROL_SEQUENCE_END",
    "CONTROL_SEQUENCE_CORRID",
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelQueuePolicy:
    """Limits of a request queue."""

    timeout_action: TimeoutAction = "REJECT"
    """What happens to a request that waited too long."""
    default_timeout_microseconds: UInt64 = 0
    """Longest wait of a request; 0 for no limit."""
    allow_timeout_override: Bool = False
    """Whether a request may bring a shorter timeout of its own."""
    max_queue_size: UInt32 = 0
    """Most requests that wait; more are refused. 0 for no limit."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelDynamicBatching:
    """Requests are combined into batches on the server."""

    preferred_batch_size: tuple[Int32, ...] = ()
    """Batch sizes that are executed at once when reached."""
    max_queue_delay_microseconds: UInt64 = 0
    """Longest wait for more requests to join a batch."""
    preserve_ordering: Bool = False
    """Whether answers leave in the order in which requests came."""
    priority_levels: UInt64 = 0
    """Number of priorities, 1 the highest; 0 for none."""
    default_priority_level: UInt64 = 0
    """Priority of a request that names none."""
    default_queue_policy: ModelQueuePolicy | None = None
    """Limits of every queue without its own policy."""
    priority_queue_policy: Mapping[UInt64, ModelQueuePolicy] = field(default_factory=dict)
    """Limits by priority level."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SequenceControl:
    """A signal about the sequence that the batcher gives to the model as a tensor."""

    kind: ControlKind = "CONTROL_SEQUENCE_START"
    """Which signal."""
    int32_false_true: tuple[Int32, ...] = ()
    """The two int32 values for false and true."""
    fp32_false_true: tuple[Float32, ...] = ()
    """The two float32 values for false and true."""
    bool_false_true: tuple[Bool, ...] = ()
    """The two bool values for false and true."""
    data_type: DataType = "TYPE_INVALID"
    """Type of the correlation id (CONTROL_SEQUENCE_CORRID only)."""


@dataclass(frozen=True, config=STRICT)
class SequenceControlInput:
    """A control tensor of the model."""

    name: Name
    """Name of the tensor."""
    control: tuple[SequenceControl, ...] = ()
    """Signals that it carries."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SequenceInitialState:
    """Value of a state tensor when a sequence starts."""

    data_type: DataType = "TYPE_INVALID"
    """Type of its elements."""
    dims: tuple[Dimension, ...] = ()
    """Shape, all dimensions fixed."""
    zero_data: Bool | None = None
    """All zeros (empty strings for TYPE_STRING)."""
    data_file: Text | None = None
    """File in the model's ``initial_state`` folder with the raw values."""
    name: Text = ""
    """Name of this value in messages."""

    @model_validator(mode="after")
    def _check_oneof(self) -> SequenceInitialState:
        at_most_one(self, "zero_data", "data_file")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SequenceState:
    """A tensor that Triton carries from one request of a sequence to the next."""

    input_name: Name
    """Input that receives the state."""
    output_name: Name
    """Output that gives the next state."""
    data_type: DataType = "TYPE_INVALID"
    """Type of its elements."""
    dims: tuple[Dimension, ...] = ()
    """Shape without the batch dimension."""
    initial_state: tuple[SequenceInitialState, ...] = ()
    """Value at the start of a sequence."""
    use_same_buffer_for_input_output: Bool = False
    """Whether the model may update the state in place."""
    use_growable_memory: Bool = False
    """Whether the state's buffer grows in CUDA virtual memory."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StrategyDirect:
    """Each sequence keeps one slot of one instance."""

    max_queue_delay_microseconds: UInt64 = 0
    """Longest wait for the other slots."""
    minimum_slot_utilization: Float32 = 0.0
    """Share of slots, 0 to 1, that must be filled before execution."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StrategyOldest:
    """The oldest requests of many sequences share dynamic batches."""

    max_candidate_sequences: Int32 = 0
    """Most sequences that are active on an instance."""
    preferred_batch_size: tuple[Int32, ...] = ()
    """Batch sizes that are executed at once when reached."""
    max_queue_delay_microseconds: UInt64 = 0
    """Longest wait for more requests to join a batch."""
    preserve_ordering: Bool = False
    """Whether answers leave in the order in which requests came."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSequenceBatching:
    """Requests of one sequence go to the same instance of the model."""

    direct: StrategyDirect | None = None
    """One slot a sequence; excludes ``oldest``."""
    oldest: StrategyOldest | None = None
    """Dynamic batches over sequences; excludes ``direct``."""
    max_sequence_idle_microseconds: UInt64 = 0
    """Longest pause of a sequence before it is dropped; 0 for 1 second."""
    control_input: tuple[SequenceControlInput, ...] = ()
    """Control tensors of the model."""
    state: tuple[SequenceState, ...] = ()
    """State tensors of the model."""
    iterative_sequence: Bool = False
    """Whether one request is executed again and again until its end."""

    @model_validator(mode="after")
    def _check_oneof(self) -> ModelSequenceBatching:
        at_most_one(self, "direct", "oldest")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnsembleStep:
    """One model of an ensemble."""

    model_name: Name
    """Model to run."""
    model_version: Int64 = 0
    """Its version; -1 for the newest that serves (0, the default, serves never)."""
    input_map: Mapping[Text, Text] = field(default_factory=dict)
    """Input of the model to tensor of the ensemble."""
    output_map: Mapping[Text, Text] = field(default_factory=dict)
    """Output of the model to tensor of the ensemble."""
    model_namespace: Text = ""
    """Repository folder of the model, where namespacing is on."""


@dataclass(frozen=True, config=STRICT)
class ModelEnsembling:
    """The model is a pipeline of other models."""

    step: tuple[EnsembleStep, ...]
    """Models to run; their order follows from their tensors."""
    max_inflight_requests: UInt32 = 0
    """Most requests between two steps of a decoupled pipeline; 0 for no limit."""

    @model_validator(mode="after")
    def _check_steps(self) -> ModelEnsembling:
        if not self.step:
            raise ValueError("an ensemble has at least one step")
        return self
