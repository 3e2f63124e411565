"""What gRPC's statuses and words mean."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.client import faults
from modelport.client.call import Call
from modelport.errors import ClientError

# grpcio gives causes in words only (tried: 1.85), and a server's own words, which may be those
# of an exception in a model, come with the same codes. Its own begin so, where there is no
# connection yet and nothing was sent.
_UNCONNECTED = ("failed to connect to ", "errors resolving ", "DNS resolution failed", "C-ares ")
# Order matters: a peer that is not a gRPC server makes a connection that "failed", too.
_RESOLVE = ("resolving", "DNS resolution", "C-ares", "hostname lookup", "getaddrinfo")
_REFUSED = ("Connection refused",)
_TLS = ("handshake failed", "SSL", "certificate", "erification check failed", "TSI_DATA_CORRUPTED")
_UNREACHABLE = (
    "No route to host",
    "Network is unreachable",
    "timed out",
    "tcp handshaker shutdown",  # it took too long
)
# It was killed before its first word; a peer of another kind listens and then closes instead
# ("Socket closed").
_HUNG_UP = ("Connection reset", "Broken pipe")
# And so where a connection broke, or an answer makes no sense.
_LOST = (
    "Stream removed",
    "Socket closed",
    "Connection reset",
    "Broken pipe",
    "GOAWAY",
    "RST_STREAM",
    "Received RST_STREAM",
    "recvmsg",
    "transport is closing",
    "keepalive",
    "ping timeout",
)
_FOREIGN = ("Received http2 header with status", "No status received", "invalid content-type")


def refusal(call: Call, code: str, message: str) -> ClientError:
    """Make the error for a call that ended with this status.

    Args:
        call: the call that ended.
        code: name of the status.
        message: its details: the server's words, or those of gRPC itself.
    """
    fault = _from_channel(call, code, message) or faults.from_server(call, code, message)
    fault.objects["status"] = code
    return fault


def _from_channel(call: Call, code: str, message: str) -> ClientError | None:
    """Tell what happened to the connection; ``None`` when the words are the server's."""
    unavailable = code == "UNAVAILABLE"
    if not unavailable and code not in ("UNKNOWN", "INTERNAL"):
        return None
    if unavailable and message.startswith(_UNCONNECTED):
        return _unconnected(call, message)
    if message.startswith(_LOST):
        # An alert after the handshake is all that tells of a certificate that was refused.
        tls = unavailable and "TSI_DATA_CORRUPTED" in message
        return faults.tls(call, message) if tls else faults.lost(call, message)
    if message.startswith(_FOREIGN):
        # A proxy that says 502, 503 or 504 may have handed the request on.
        return (faults.lost if unavailable else faults.protocol)(call, message)
    return None


def _unconnected(call: Call, message: str) -> ClientError:
    if _has(message, _RESOLVE):
        return faults.unresolved(call, message)
    if _has(message, _REFUSED):
        return faults.refused(call)
    if _has(message, _TLS):
        return faults.tls(call, message)
    if _has(message, _UNREACHABLE):
        return faults.unreachable(call, message)
    if _has(message, _HUNG_UP):
        return faults.hung_up(call, message)
    return faults.protocol(call, message)


def _has(message: str, texts: Sequence[str]) -> bool:
    return any(text in message for text in texts)
