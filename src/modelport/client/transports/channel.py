"""The settings of gRPC channels, the same for blocking and asyncio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.options import TLS, Options
from modelport.client.transports.connection import CONNECT_S
from modelport.client.transports.headers import Headers
from modelport.client.url import Endpoint
from modelport.client.wire import status
from modelport.errors import ClientError

_SERVICE = "/inference.GRPCInferenceService/"

_ALWAYS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default a server that was down once is not tried again for a second, then
    # for two, … up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Despite its name: how long an attempt to connect may take, 20 seconds by default.
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_S * 1000)),
)

# Servers take more than two probes in less than 5 minutes for an attack, and hang up
# (GOAWAY, too_many_pings), unless they are configured otherwise.
_LEAST_KEEPALIVE_S = 310.0

_KEY = re.compile(r"[a-z0-9._-]+")

_COMPRESSION = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def path(name: str) -> str:
    """Give the path of a method of the inference service."""
    return _SERVICE + name


def settings(endpoint: Endpoint, options: Options) -> list[tuple[str, Any]]:
    """Give the channel's arguments."""
    tls = options.tls or TLS()
    chosen: list[tuple[str, Any]] = [
        *_ALWAYS,
        ("grpc.enable_http_proxy", int(not endpoint.loopback)),
    ]
    if endpoint.address:
        chosen.append(("grpc.default_authority", endpoint.authority))
    if endpoint.secure and (tls.server_name or endpoint.address):
        chosen.append(("grpc.ssl_target_name_override", tls.server_name or endpoint.host))
    if options.keepalive_s:
        seconds = max(options.keepalive_s, _LEAST_KEEPALIVE_S)
        chosen.append(("grpc.keepalive_time_ms", int(seconds * 1000)))
    return chosen


def compression(options: Options) -> grpc.Compression | None:
    """Give grpc's name of the compression."""
    return _COMPRESSION[options.compression] if options.compression else None


def credentials(options: Options) -> grpc.ChannelCredentials:
    """Read the certificates.

    Raises:
        ClientError: a file cannot be read.
    """
    tls = options.tls or TLS()
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca), private_key=_read(tls.key),
        certificate_chain=_read(tls.certificate),
    )  # fmt: skip


def _read(path: Path | str | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise ClientError(
            f"cannot read {str(path)!r}: {error.strerror}",
            next_step="see the files that TLS(…) names",
        ) from error


class Metadata:
    """The metadata of each request: headers with lower-case names."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._fixed = None if headers.fixed is None else _to_metadata(headers.fixed)

    def of(self, call: Call) -> tuple[tuple[str, str | bytes], ...]:
        """Give the metadata of one request."""
        if self._fixed is not None and not call.headers:
            return self._fixed
        return _to_metadata(self._headers.of(call))


def _to_metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str | bytes], ...]:
    lowered = {name.lower(): value for name, value in headers.items()}
    for name in lowered:
        if not _KEY.fullmatch(name):  # grpc's own answer would be a ValueError
            raise ClientError(f"gRPC cannot carry the header {name!r}: a-z, 0-9, - _ . only")
    return tuple(
        (name, value.encode() if name.endswith("-bin") else value)
        for name, value in lowered.items()
    )


def fault(call: Call, error: Any, *, closed: bool) -> ClientError:
    """Make the error for a call that grpc ended."""
    code = error.code()
    if code == grpc.StatusCode.CANCELLED:
        if closed:
            return faults.closed(call)
        if isinstance(error, grpc.Future) and error.cancelled():
            return faults.cancelled(call)
    return status.refusal(call, code.name, error.details() or "")
