"""What gRPC's statuses and words mean."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.client import faults
from modelport.client.faults import Call
from modelport.errors import ClientError

# grpcio gives causes in words only (tried: 1.85). Order matters: a peer that is not a
# gRPC server makes a connection that "failed", too.
_RESOLVE = ("resolving", "DNS resolution", "name resolution", "hostname lookup", "getaddrinfo")
_REFUSED = ("Connection refused",)
_TLS = ("handshake", "SSL", "certificate", "erification check failed", "TSI_DATA_CORRUPTED")
_UNREACHABLE = ("No route to host", "Network is unreachable")
_FOREIGN = ("failed to connect to all addresses", "http2 header", "content-type", "settings frame")
_LOST = (
    "Socket closed",
    "onnection reset",
    "Broken pipe",
    "GOAWAY",
    "RST_STREAM",
    "recvmsg",
    "Stream removed",
    "transport is closing",
    "keepalive",
)


def refusal(call: Call, code: str, message: str) -> ClientError:
    """Make the error for a call that ended with this status.

    Args:
        call: the call that ended.
        code: name of the status.
        message: its details: the server's words, or those of gRPC itself.
    """
    fault = _from_channel(call, message) if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL") else None
    fault = fault or faults.from_server(call, code, message)
    fault.objects["status"] = code
    return fault


def _from_channel(call: Call, message: str) -> ClientError | None:
    """Tell what happened to the connection; ``None`` when the words are the server's."""
    if _has(message, _RESOLVE):
        return faults.unresolved(call, message)
    if _has(message, _REFUSED):
        return faults.refused(call)
    if _has(message, _TLS):
        return faults.tls(call, message)
    if _has(message, _UNREACHABLE):
        return faults.unreachable(call, message)
    if _has(message, _FOREIGN):
        return faults.protocol(call, message)
    if _has(message, _LOST):
        return faults.lost(call, message)
    return None


def _has(message: str, texts: Sequence[str]) -> bool:
    return any(text in message for text in texts)
