"""How connections to servers are made: headers, TLS, compression, keep-alive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

# Called before each request, so that a token which expires can be renewed.
HeaderSource: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class TLS:
    """What an encrypted connection trusts and shows.

    Attributes:
        ca: file of certificates (PEM) that servers are checked against; the system's by default.
        certificate: the client's own certificate chain (PEM), for mutual TLS.
        key: its private key (PEM), without a passphrase.
        server_name: the name that the server's certificate must have, where it is not the URL's.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None


@dataclass(frozen=True)
class Options:
    """Settings of every connection of a client.

    Attributes:
        headers: sent with every request (as metadata over gRPC): a mapping, or a function that
            gives one and is asked before each request.
        tls: for ``https`` and ``grpcs``; the system's certificates by default.
        compression: of what is sent; answers come back compressed in the same way over HTTP,
            and over gRPC as the server is configured.
        keepalive_s: seconds of silence after which a connection is probed, so that one that a
            firewall dropped is noticed; 0 turns that off. Over gRPC at least 310: servers hang
            up on a client that probes more often during one quiet call.
    """

    headers: HeaderSource = field(default_factory=dict)
    tls: TLS | None = None
    compression: Literal["gzip", "deflate"] | None = None
    keepalive_s: float = 60.0
