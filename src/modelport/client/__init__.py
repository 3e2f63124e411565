"""Calls to models on a server that speaks the Open Inference Protocol (V2).

:class:`Client` is the way in; the rest of the package is its parts::

    url         where the server is
    metadata    what the server says of a model
    tensors     from a caller's values to checked arrays
    batches     batches that are larger than a model takes
    result      what a model answered
    transport   what HTTP and gRPC have in common
    http, grpc  the two transports
    connection  HTTP connections that threads may share
    faults      which error stands for what went wrong

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
    UnauthorizedError,
)

__all__ = [
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
    "TensorMetadata",
    "UnauthorizedError",
    "default_url",
]
