"""Calls to models on a server that speaks the Open Inference Protocol (V2).

:class:`Client` is the way in; the rest of the package is its parts::

    url         where the server is
    metadata    what the server says of a model
    options     headers, TLS, compression, keep-alive
    tensors     from a caller's values to checked arrays
    exchange    what a call sends and how its answer is read, whatever the protocol
    wire        HTTP and gRPC without I/O
    transport   what carries an exchange; transports, the four of them
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
    "ProtocolError",
    "ResolveError",
    "ServerFaultError",
    "ServerRefusedError",
    "ServerUnreachableError",
    "TLSError",
    "TensorMetadata",
    "UnauthenticatedError",
    "UnauthorizedError",
    "default_url",
]
