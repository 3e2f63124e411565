"""What a call sends and how its answer is read: everything of a protocol that does no I/O.

A :class:`Wire` turns each operation into an :class:`Exchange`: a request ready to be sent, and
the function that reads what comes back. The four transports send one and receive the other, so
that what HTTP or gRPC mean is written once for blocking and for asynchronous callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from modelport.client.call import Call
from modelport.client.metadata import ModelMetadata
from modelport.client.tensors import Array, Tensor

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING  # one for all: a dictionary for each would be three a call


Parameter: TypeAlias = str | int | float | bool


class SequenceStep(NamedTuple):
    """Which sequence a request belongs to, and whether it is its first or its last."""

    id: int
    start: bool
    end: bool


class Region(NamedTuple):
    """A part of system shared memory that the server has registered.

    Attributes:
        name: under which it was registered.
        offset: where the part begins, in bytes.
        size_bytes: how long it is.
    """

    name: str
    offset: int
    size_bytes: int


# Not frozen: that costs 2 µs for each one made, and one is made for every call.
@dataclass(slots=True)
class Inference:
    """One request for an inference, its tensors checked.

    Attributes:
        tensors: the inputs.
        outputs: names of the outputs to answer with; all of them when it is empty.
        step: the request's place in a sequence.
        priority: of a model with priority levels; 0 is the model's default.
        parameters: further ones, which a model reads by name.
        input_regions: where inputs lie that are not sent, by tensor name.
        output_regions: where outputs are to be written instead of being sent, by tensor name.
        model: what the server says of the model; a stream over HTTP needs it, because the JSON
            events tell neither datatypes nor shapes.
        binary: whether tensors go as bytes over HTTP (a Triton extension that most servers
            have) or as JSON.
    """

    tensors: Sequence[Tensor]
    outputs: Sequence[str] = ()
    step: SequenceStep | None = None
    priority: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=_nothing)
    input_regions: Mapping[str, Region] = field(default_factory=_nothing)
    output_regions: Mapping[str, Region] = field(default_factory=_nothing)
    model: ModelMetadata | None = None
    binary: bool = True


class Placed(NamedTuple):
    """An output that lies in shared memory: its datatype and shape."""

    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True)
class Reply:
    """The answer to one inference.

    Attributes:
        outputs: arrays by tensor name, read-only; BYTES as object arrays of ``bytes``.
        version: the version that answered, empty when the server does not say.
        placed: outputs that were written to shared memory, by tensor name.
    """

    outputs: dict[str, Array]
    version: str
    placed: Mapping[str, Placed] = field(default_factory=_nothing)


class IndexEntry(NamedTuple):
    """One line of the server's repository index."""

    name: str
    version: str
    state: str
    reason: str


@dataclass(slots=True)
class Exchange(Generic[Answer]):
    """One request and how its answer is read.

    Attributes:
        request: what a transport of the same protocol sends.
        read: makes the answer of what the transport received; it raises the leaf of
            :class:`~modelport.errors.ClientError` for a refusal.
    """

    request: Any
    read: Callable[[Call, Any], Answer]


class StreamReader(Protocol):
    """Makes replies of what arrives on a stream, piece by piece."""

    def feed(self, part: Any) -> Sequence[Reply]:
        """Give the replies that are complete with this part (a message, or bytes)."""

    def finish(self) -> None:
        """Raise the error that the stream told of, or that it ended too early, if so."""


@dataclass(frozen=True)
class StreamExchange:
    """One request that is answered by a stream.

    Attributes:
        request: what a transport of the same protocol sends.
        reader: makes a reader for one stream.
    """

    request: Any
    reader: Callable[[Call], StreamReader]


class Wire(Protocol):
    """One protocol, without I/O; from any number of threads."""

    def infer(self, call: Call, inference: Inference) -> Exchange[Reply]:
        """Run the call's model once."""

    def stream(self, call: Call, inference: Inference) -> StreamExchange:
        """Run the call's model once and read its responses as they come.

        Raises:
            ClientError: the protocol has no way to send these tensors on a stream.
        """

    def metadata(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 model metadata document."""

    def config(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read Triton's model configuration as the JSON document of its HTTP endpoint."""

    def server(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 server metadata document: name, version, extensions."""

    def ready(self, call: Call) -> Exchange[bool]:
        """Ask whether the call's model, or without one the server, is ready."""

    def index(self, call: Call) -> Exchange[list[IndexEntry]]:
        """Read the repository index."""

    def statistics(self, call: Call) -> Exchange[list[dict[str, Any]]]:
        """Read the statistics of the call's model, or of all: one document a version."""

    def load(self, call: Call, config: str = "") -> Exchange[None]:
        """Load the call's model, with another configuration (JSON) than that on disk if given."""

    def unload(self, call: Call, *, dependents: bool = False) -> Exchange[None]:
        """Unload the call's model, and what only it runs if ``dependents``."""

    def register(self, call: Call, name: str, key: str, size_bytes: int) -> Exchange[None]:
        """Let the server map a region of system shared memory (``key`` as for shm_open)."""

    def unregister(self, call: Call, name: str) -> Exchange[None]:
        """Let the server forget a region."""

    def regions(self, call: Call) -> Exchange[list[str]]:
        """List the names of the regions that the server has registered."""
