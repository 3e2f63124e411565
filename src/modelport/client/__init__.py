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

Importing this loads numpy; tritonclient is loaded when a :class:`Client` is made.
"""

from modelport.client.client import Client
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.result import Result
from modelport.client.url import default_url
from modelport.errors import (
    CallCancelledError,
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
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

__all__ = [
    "CallCancelledError",
    "Client",
    "ClientError",
    "ConnectionLostError",
    "DeadlineExceededError",
    "InvalidInputError",
    "ModelMetadata",
    "ModelNotFoundError",
    "ModelportError",
    "NotReadyError",
    "OverloadedError",
    "PartialBatchError",
    "ProtocolError",
    "ResolveError",
    "Result",
    "ServerFaultError",
    "ServerRefusedError",
    "ServerUnreachableError",
    "TLSError",
    "TensorMetadata",
    "UnauthenticatedError",
    "UnauthorizedError",
    "default_url",
]
