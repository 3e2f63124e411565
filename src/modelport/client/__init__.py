"""Calls to models on a server that speaks the Open Inference Protocol (V2).

:class:`Client` is the way in; the rest of the package is its parts::

    client, aio         the two clients: blocking, and for asyncio
    model               a model that is called like a function; sequences
    session             the steps of a call, the same for both clients
    catalogue, control  what is known of models; questions and commands
    dispatch            which server, again after a failure, twice when it is slow
    endpoints, retry, hedge
    driver, aio_driver  carry the steps out, by blocking or by awaiting
    microbatch          single items of many tasks, sent together
    tensors             from a caller's values to checked arrays (values, foreign, binding)
    batches             batches that are larger than a model takes
    result              what a model answered
    exchange, wire      what a call sends and how its answer is read, without I/O
    transports          the four that send it
    options             headers, TLS, compression, keep-alive
    url, metadata       where a server is, and what it says of a model
    faults              which error stands for what went wrong

The shortest program::

    from modelport.client import Client

    with Client("grpc://127.0.0.1:8001") as client:
        answer = client.infer("digits", {"image": open("photo.png", "rb").read()})
        print(answer["label"])

Importing this loads numpy; tritonclient is loaded when a :class:`Client` is made, asyncio when
:class:`AsyncClient` is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelport.client.client import Client
from modelport.client.endpoints import Breaker
from modelport.client.hedge import Hedge
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.model import Model, Sequence
from modelport.client.options import TLS
from modelport.client.result import Result
from modelport.client.retry import Retry
from modelport.client.url import default_url
from modelport.errors import (
    CallCancelledError,
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InterfaceMismatchError,
    InvalidInputError,
    ModelNotFoundError,
    ModelportError,
    NotReadyError,
    OverloadedError,
    PartialBatchError,
    ProtocolError,
    ResolveError,
    ServerFaultError,
    ServerRefusedError,
    ServerUnreachableError,
    TLSError,
    UnauthenticatedError,
    UnauthorizedError,
)

if TYPE_CHECKING:
    from modelport.client.aio import AsyncClient, AsyncModel, AsyncSequence
    from modelport.client.microbatch import MicroBatch

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncModel",
    "AsyncSequence",
    "Breaker",
    "CallCancelledError",
    "Client",
    "ClientError",
    "ConnectionLostError",
    "DeadlineExceededError",
    "Hedge",
    "InterfaceMismatchError",
    "InvalidInputError",
    "MicroBatch",
    "Model",
    "ModelMetadata",
    "ModelNotFoundError",
    "ModelportError",
    "NotReadyError",
    "OverloadedError",
    "PartialBatchError",
    "ProtocolError",
    "ResolveError",
    "Result",
    "Retry",
    "Sequence",
    "ServerFaultError",
    "ServerRefusedError",
    "ServerUnreachableError",
    "TLSError",
    "TensorMetadata",
    "UnauthenticatedError",
    "UnauthorizedError",
    "default_url",
]

# asyncio takes as long to load as all the rest.
_LATE = {
    "AsyncClient": "aio",
    "AsyncModel": "aio",
    "AsyncSequence": "aio",
    "MicroBatch": "microbatch",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
