"""What a client needs of a transport, and the table of those there are.

Each is imported when the first endpoint of its scheme is opened: a program that
speaks HTTP alone never loads grpc, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from modelport.client.exchange import IndexEntry, Reply, SequenceStep
from modelport.client.faults import Call
from modelport.client.tensors import Tensor
from modelport.client.url import Endpoint


class Transport(Protocol):
    """One protocol spoken with one endpoint, from any number of threads.

    Every method raises errors of :mod:`modelport.errors` only, within the time of its call.
    """

    def infer(
        self,
        call: Call,
        tensors: Sequence[Tensor],
        outputs: Sequence[str],
        step: SequenceStep | None = None,
    ) -> Reply:
        """Run the model once; without ``outputs`` it answers with all of them."""

    def stream(
        self, call: Call, tensors: Sequence[Tensor], outputs: Sequence[str]
    ) -> Iterator[Reply]:
        """Send one request and give its responses as they come."""

    def metadata(self, call: Call) -> dict[str, Any]:
        """Give the V2 model metadata document."""

    def config(self, call: Call) -> dict[str, Any]:
        """Give Triton's model configuration as the JSON document of its HTTP endpoint."""

    def ready(self, call: Call) -> bool:
        """Whether the call's model, or without one the server, is ready."""

    def index(self, call: Call) -> list[IndexEntry]:
        """Give the repository index, which may be restricted."""

    def close(self) -> None:
        """Close every connection; calls after this fail."""


_MODULES = {
    "http": ("modelport.client.http", "HttpTransport"),
    "grpc": ("modelport.client.grpc", "GrpcTransport"),
}


def connect(endpoint: Endpoint, headers: Mapping[str, str]) -> Transport:
    """Make the transport that the endpoint's scheme asks for; nothing is sent yet.

    Args:
        endpoint: where the server is.
        headers: sent with every request (as metadata over gRPC).
    """
    module, name = _MODULES[endpoint.protocol]
    return cast("Transport", getattr(import_module(module), name)(endpoint, headers))
