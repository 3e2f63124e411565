"""gRPC's statuses: its own words are told from a server's, a proxy's and a model's."""

from __future__ import annotations

import time

import pytest

from modelport.client.call import Call
from modelport.client.wire.status import refusal
from modelport.errors import (
    ConnectionLostError,
    NotReadyError,
    ProtocolError,
    ResolveError,
    ServerFaultError,
    ServerRefusedError,
    ServerUnreachableError,
    TLSError,
)

CALL = Call("grpc://h:1", 60.0, time.monotonic() + 60, model="m")
NO_CONNECTION = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
BY_THE_MODEL = "Failed to process the request(s) for model instance 'm_0', message: "


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        # As grpcio says it, tried with 1.85 on real sockets.
        (
            "UNAVAILABLE",
            f"{NO_CONNECTION}Failed to connect to remote host: Connection refused",
            ServerRefusedError,
        ),
        ("UNAVAILABLE", f"{NO_CONNECTION}tcp handshaker shutdown", ServerUnreachableError),
        (
            "UNAVAILABLE",
            f"{NO_CONNECTION}connection attempt timed out before receiving SETTINGS frame",
            ServerUnreachableError,
        ),
        (
            "UNAVAILABLE",
            f"{NO_CONNECTION}Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)",
            ProtocolError,
        ),
        (
            "UNAVAILABLE",
            "errors resolving h.invalid:1: [field:hostname lookup error:address lookup failed]",
            ResolveError,
        ),
        (
            "UNAVAILABLE",
            "Stream removed (recvmsg:Connection reset by peer (104))",
            ConnectionLostError,
        ),
        ("UNAVAILABLE", "Stream removed (GOAWAY received; Error code: 2)", ConnectionLostError),
        ("UNAVAILABLE", "Stream removed (TSI_DATA_CORRUPTED)", TLSError),
        ("INTERNAL", "Stream removed (RST_STREAM (Received RST_STREAM))", ConnectionLostError),
        ("UNAVAILABLE", "Received http2 header with status: 502", ConnectionLostError),
        ("INTERNAL", "Received http2 header with status: 400", ProtocolError),
        ("UNKNOWN", "No status received", ProtocolError),
        # Others' words.
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped", NotReadyError),
        (
            "UNAVAILABLE",
            "upstream connect error or disconnect/reset before headers. reset reason: "
            "connection termination",
            ConnectionLostError,
        ),
        ("UNAVAILABLE", "the store says: Connection refused", NotReadyError),
        ("INTERNAL", f"{BY_THE_MODEL}[Errno 111] Connection refused", ServerFaultError),
        ("INTERNAL", f"{BY_THE_MODEL}certificate verify failed", ServerFaultError),
        ("INTERNAL", f"{BY_THE_MODEL}Connection reset by peer", ServerFaultError),
        ("UNKNOWN", "DNS resolution of the store failed", ServerFaultError),
    ],
)
def test_who_speaks(code: str, message: str, kind: type) -> None:
    error = refusal(CALL, code, message)
    assert type(error) is kind
    assert error.objects["status"] == code
