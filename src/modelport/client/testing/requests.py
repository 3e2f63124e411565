"""What a fake server received, and what it answers instead of outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelport.client.dtypes import Array
from modelport.client.exchange import SequenceStep


@dataclass
class Request:
    """One request for an inference, as it arrived.

    Attributes:
        model: its name.
        version: as the client asked for it; empty when the server was to choose.
        id: the client's id of the request.
        inputs: arrays by tensor name, with the batch dimension; BYTES as objects of ``bytes``.
        outputs: names of the outputs that were asked for; empty for all.
        sequence: which sequence it belongs to, if any.
        parameters: further parameters, ``priority`` and ``timeout`` (µs) among them.
        headers: of HTTP, or metadata of gRPC, by lower-case name.
        transport: ``http`` or ``grpc``.
        gone: set when the client has cancelled the request or hung up, or the server stops.
        watch: begins to look for that, where it is not seen by itself.
    """

    model: str
    version: str = ""
    id: str = ""
    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    sequence: SequenceStep | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    transport: str = ""
    gone: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    watch: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)


class Refusal(Exception):
    """What a model answers instead of outputs.

    Args:
        message: the server's text.
        code: name of a gRPC status; over HTTP it becomes the status that Triton gives for it.
    """

    def __init__(self, message: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.message, self.code = message, code
        self.by_model = False  # it came after the request was handed to the model
