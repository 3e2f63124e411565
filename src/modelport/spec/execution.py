"""Where and how a model runs: instances, devices, rate limits, optimization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from modelport.spec.scalars import STRICT, Bool, Int32, Int64, Name, Text, UInt32

InstanceKind = Literal["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"]
SecondaryDeviceKind = Literal["KIND_NVDLA"]
ModelPriority = Literal["PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RateLimiterResource:
    """A resource that an instance holds while it executes."""

    name: Text = ""
    """Name of the resource."""
    global_: Bool = False
    """Whether all devices share it (``global`` in config.pbtxt)."""
    count: UInt32 = 0
    """How many of it one execution needs."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelRateLimiter:
    """When an instance may execute, beside those of other models."""

    resources: tuple[RateLimiterResource, ...] = ()
    """What an execution needs."""
    priority: UInt32 = 0
    """Weight against other instances: twice the number, half the chances."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SecondaryDevice:
    """A further device of an instance."""

    kind: SecondaryDeviceKind = "KIND_NVDLA"
    """Kind of the device."""
    device_id: Int64 = 0
    """Index of the device."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelInstanceGroup:
    """Instances of a model that share their settings."""

    name: Text = ""
    """Name in messages and metrics; Triton makes one when empty."""
    kind: InstanceKind = "KIND_AUTO"
    """Device; KIND_AUTO takes GPUs where there are any."""
    count: Int32 = 0
    """Instances on each device; 0 for the default (2 on a CPU)."""
    rate_limiter: ModelRateLimiter | None = None
    """Limits under ``--rate-limit``."""
    gpus: tuple[Int32, ...] = ()
    """Indices of the GPUs; empty for all."""
    secondary_devices: tuple[SecondaryDevice, ...] = ()
    """Further devices of each instance."""
    profile: tuple[Text, ...] = ()
    """TensorRT optimization profiles."""
    passive: Bool = False
    """Whether the instances wait to be driven by others."""
    host_policy: Text = ""
    """Host policy (NUMA, CPU cores) by name."""


@dataclass(frozen=True, config=STRICT)
class GraphOptimization:
    """Optimization of the graph by the backend."""

    level: Int32 = 0
    """Level; its meaning is the backend's, 0 the default."""


@dataclass(frozen=True, config=STRICT)
class CudaGraphShape:
    """Shape of an input of a CUDA graph."""

    dim: tuple[Int64, ...] = ()
    """Dimensions without the batch."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CudaGraphLowerBound:
    """Smallest request that a CUDA graph may serve."""

    batch_size: Int32 = 0
    """Smallest batch."""
    input: Mapping[Text, CudaGraphShape] = field(default_factory=dict)
    """Smallest shapes by input."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CudaGraphSpec:
    """A CUDA graph to capture."""

    batch_size: Int32 = 0
    """Batch of the graph."""
    input: Mapping[Text, CudaGraphShape] = field(default_factory=dict)
    """Shapes by input."""
    graph_lower_bound: CudaGraphLowerBound | None = None
    """Smallest request that is padded to the graph."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CudaOptimization:
    """Settings for CUDA devices."""

    graphs: Bool = False
    """Whether CUDA graphs are captured and used."""
    busy_wait_events: Bool = False
    """Whether events are waited for by polling."""
    graph_spec: tuple[CudaGraphSpec, ...] = ()
    """Which graphs; empty for a default set."""
    output_copy_stream: Bool = False
    """Whether outputs are copied on a stream of their own."""


@dataclass(frozen=True, config=STRICT)
class Accelerator:
    """An execution accelerator, such as tensorrt or openvino."""

    name: Name
    """Name that the backend knows it by."""
    parameters: Mapping[Text, Text] = field(default_factory=dict)
    """Its settings."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExecutionAccelerators:
    """Accelerators by device, in order of preference."""

    gpu_execution_accelerator: tuple[Accelerator, ...] = ()
    """Tried on GPU instances."""
    cpu_execution_accelerator: tuple[Accelerator, ...] = ()
    """Tried on CPU instances."""


@dataclass(frozen=True, config=STRICT)
class PinnedMemoryBuffer:
    """Use of pinned memory for copies between host and GPU."""

    enable: Bool = False
    """Whether it is used; Triton uses it where this message is absent."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelOptimizationPolicy:
    """Hints to the backend and the server."""

    graph: GraphOptimization | None = None
    """Optimization of the graph."""
    priority: ModelPriority = "PRIORITY_DEFAULT"
    """Priority on the device."""
    cuda: CudaOptimization | None = None
    """Settings for CUDA devices."""
    execution_accelerators: ExecutionAccelerators | None = None
    """Accelerators to use."""
    input_pinned_memory: PinnedMemoryBuffer | None = None
    """Pinned memory for inputs."""
    output_pinned_memory: PinnedMemoryBuffer | None = None
    """Pinned memory for outputs."""
    gather_kernel_buffer_threshold: UInt32 = 0
    """Number of buffers from which a CUDA kernel gathers a batch."""
    eager_batching: Bool = False
    """Whether the next batch is prepared while one executes."""
