"""Which error of :mod:`modelport.errors` stands for what went wrong on the way.

No I/O here: transports report what they saw, and each function makes one error
that carries the endpoint, model, version and request id of the call. Causes are
kept apart, because each asks for a different action of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from modelport import errors
from modelport.errors import ClientError

if TYPE_CHECKING:
    from modelport.client.call import Call

_Error = TypeVar("_Error", bound=ClientError)


def near(name: str, names: Iterable[str]) -> str | None:
    """Ask whether a name like ``name`` was meant; ``None`` when nothing is near."""
    folded = {known.casefold(): known for known in names}
    matches = [folded[m] for m in get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    return f"did you mean {' or '.join(map(repr, matches))}?" if matches else None


# --- no connection, or a broken one ------------------------------------------


def refused(call: Call) -> ClientError:
    """Nothing listens on that port."""
    return _error(
        errors.ServerRefusedError,
        call,
        f"no server listens at {call.endpoint}: connection refused",
        cause="the server is not running, still starts, or has another port",
        next_step="start one with `modelport serve`, which prints its endpoints",
    )


def unresolved(call: Call, detail: str) -> ClientError:
    """The host name has no address."""
    return _error(
        errors.ResolveError,
        call,
        f"the host of {call.endpoint} has no address: {detail}",
        cause="a typo in the host name, or no name service",
    )


def unreachable(call: Call, detail: str) -> ClientError:
    """No connection, for a reason that is not a refusal: there is no route."""
    return _error(
        errors.ServerUnreachableError, call, f"no connection to {call.endpoint}: {detail}"
    )


def hung_up(call: Call, detail: str) -> ClientError:
    """Somebody took the connection, and was gone before the first word."""
    return _error(
        errors.ServerUnreachableError,
        call,
        f"no connection to {call.endpoint}, which hangs up: {detail}",
        cause="the server was killed at this moment, or what listens there breaks connections off",
    )


# What OpenSSL and BoringSSL say, and what is to be done. The first that fits counts.
_TLS_TEXTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("has expired", "CERTIFICATE_EXPIRED", "not yet valid"),
        "the certificate is out of date, or a clock is wrong",
        "renew the certificate, and compare `date` on both machines",
    ),
    (
        ("ostname mismatch", "IP address mismatch", "not valid for", "Hostname Verification"),
        "the certificate is of another name than the URL's",
        "use the certificate's name in the URL, or TLS(server_name=…)",
    ),
    (
        ("WRONG_VERSION_NUMBER", "wrong version number", "record layer failure", "HTTP_REQUEST"),
        "the port does not speak TLS",
        "use http:// or grpc://, or the port that is encrypted",
    ),
    (
        ("CERTIFICATE_REQUIRED", "certificate required", "ANDSHAKE_FAILURE", "handshake failure"),
        "the server wants the client's own certificate",
        "give TLS(certificate=…, key=…)",
    ),
    (
        ("alert unknown ca", "ALERT_UNKNOWN_CA", "alert bad certificate", "BAD_CERTIFICATE"),
        "the server does not trust the client's certificate",
        "give the one that its authority signed: TLS(certificate=…, key=…)",
    ),
    (
        ("TSI_DATA_CORRUPTED",),  # all that grpc says of an alert after the handshake
        "the server wants the client's own certificate, or does not trust the one it got",
        "give one that its authority signed: TLS(certificate=…, key=…)",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "unable to get local issuer"),
        "the certificate is signed by an authority that is not trusted here",
        "give its file: TLS(ca='ca.pem')",
    ),
)


def tls(call: Call, detail: str) -> ClientError:
    """The peers do not agree on an encrypted connection."""
    cause, next_step = "the server's certificate or its settings", "see the server's log"
    for texts, why, action in _TLS_TEXTS:
        if any(text in detail for text in texts):
            cause, next_step = why, action
            break
    return _error(
        errors.TLSError,
        call,
        f"no encrypted connection to {call.endpoint}: {detail}",
        cause=cause,
        next_step=next_step,
    )


def cancelled(call: Call) -> ClientError:
    """The caller itself ended the call."""
    return _error(
        errors.CallCancelledError,
        call,
        f"the call of {call.about()} was cancelled",
        cause="the program ended it; the request may have been executed",
    )


def lost(call: Call, detail: str) -> ClientError:
    """The connection broke when the request was on its way or had arrived."""
    return _error(
        errors.ConnectionLostError,
        call,
        f"the connection broke during the call of {call.about()}: {detail}",
        cause="the server ended or was killed; the request may have been executed",
        next_step="see whether the server runs; repeat the call if it is safe to run it twice",
    )


def protocol(call: Call, detail: str) -> ClientError:
    """What came back is not the V2 protocol."""
    other = "grpc://" if call.endpoint.startswith("http") else "http://"
    return _error(
        errors.ProtocolError,
        call,
        f"{call.endpoint} does not speak the Open Inference Protocol: {detail}",
        cause=f"another program listens there, or this port wants {other}",
        next_step="Triton listens on 8000 for http:// and on 8001 for grpc:// by default",
    )


def deadline(call: Call, detail: str = "no answer") -> ClientError:
    """The caller's time is over."""
    return _error(
        errors.DeadlineExceededError,
        call,
        f"{detail} from {call.about()} within {call.timeout_s:g} s",
        cause="the model is slow or waits in a queue, or the server hangs",
        next_step="allow more with timeout_s, or look at the queue time in the server's statistics",
        timeout_s=call.timeout_s,
    )


def never_ready(call: Call, obstacle: ClientError) -> ClientError:
    """The caller's time is over, and the server or model was not ready in it."""
    return _error(
        errors.DeadlineExceededError,
        call,
        f"{call.about()} was not ready within {call.timeout_s:g} s; last: {obstacle.what}",
        cause=obstacle.cause,
        next_step=obstacle.next_step,
        timeout_s=call.timeout_s,
    )


def closed(call: Call) -> ClientError:
    """The client was closed, before the call or during it."""
    return _error(ClientError, call, "this client is closed", next_step="make a new Client")


def forked(call: Call) -> ClientError:
    """The process is a child of the one that made the client; grpc cannot be carried over."""
    return _error(
        ClientError,
        call,
        "this client was made before a fork and cannot be used in the child",
        next_step="make a new Client in each process",
    )


def no_stream(call: Call, why: str, tensor: str = "") -> ClientError:
    """Triton's JSON events over HTTP cannot carry a tensor."""
    what = f"{tensor!r} of {call.model!r}" if tensor else f"the request for {call.model!r}"
    return _error(
        errors.InvalidInputError,
        call,
        f"{what} cannot go on a stream over HTTP: {why}",
        cause="Triton's /generate_stream takes single values and flat lists, as JSON",
        next_step="connect to the server's grpc:// endpoint, which carries every tensor",
        tensor=tensor or None,
    )


def not_in_json(call: Call, tensor: str, why: str) -> ClientError:
    """A server without binary tensors cannot be sent one of these."""
    return _error(
        errors.InvalidInputError,
        call,
        f"{tensor!r} of {call.model!r} cannot be sent as JSON: {why}",
        cause="the server does not take binary tensors over HTTP",
        next_step="connect to its grpc:// endpoint, or send text (base64, say)",
        tensor=tensor,
    )


def grpc_only(call: Call, what: str) -> ClientError:
    """What is not done over HTTP, because inferences would wait meanwhile."""
    return _error(
        errors.ProtocolError,
        call,
        f"{what} {call.about()}: models are loaded and unloaded over gRPC only",
        cause="over HTTP, Triton answers no inference while it loads a model",
        next_step="connect to the server's grpc:// endpoint",
    )


def left_alone(call: Call, last: ClientError, seconds: float, failures: int) -> ClientError:
    """The endpoint failed too often to be asked now; the class is that of its last failure."""
    return _error(
        type(last),
        call,
        f"{call.about()} was not asked: it failed {failures} times in a row and is left alone for"
        f" another {seconds:.1f} s; last: {last.what}",
        cause=last.cause,
        next_step=last.next_step,
        **{**last.objects, "circuit_open_s": seconds},
    )


# --- what the server said ----------------------------------------------------


def not_found(
    call: Call, message: str, names: Iterable[str] = (), versions: Iterable[str] = ()
) -> ClientError:
    """No such model, or no such version of it."""
    versions = list(versions)
    next_step = near(call.model, names)
    if versions:
        next_step = f"versions that serve: {', '.join(versions)}"
    return _error(
        errors.ModelNotFoundError,
        call,
        f"no model {call.about()}",
        cause=None if versions or next_step else "it is not loaded, or has another name",
        next_step=next_step or "`modelport models` lists what a repository has",
        server_message=message,
        versions=versions,
    )


def not_ready(call: Call, message: str) -> ClientError:
    """The server or the model is known, and not ready."""
    return _error(
        errors.NotReadyError,
        call,
        f"{call.about()} is not ready: {_line(message)}",
        cause="it still loads, failed to load, or is being stopped",
        next_step="wait until Client.ready() is true; the server's log has the reason otherwise",
        server_message=message,
    )


def overloaded(call: Call, message: str) -> ClientError:
    """The queue is full."""
    return _error(
        errors.OverloadedError,
        call,
        f"{call.about()} refused the request: {_line(message)}",
        cause="more requests arrive than the model answers, and its queue is full",
        next_step="try again later, send less at once, or raise instance_group or max_queue_size",
        server_message=message,
    )


def invalid(call: Call, message: str) -> ClientError:
    """The server or the model refused the content of the request."""
    return _error(
        errors.InvalidInputError,
        call,
        f"{call.about()} refused the input: {_line(message)}",
        server_message=message,
    )


def server_fault(call: Call, message: str) -> ClientError:
    """The model failed on a request that the server accepted."""
    dead = "is not healthy" in message
    return _error(
        errors.ServerFaultError,
        call,
        f"{call.about()} failed: {_line(message)}",
        cause="the process of the Python backend died; Triton does not start it again"
        if dead
        else None,
        next_step="unload and load the model" if dead else "see the server's log",
        server_message=message,
    )


def unauthenticated(call: Call, message: str) -> ClientError:
    """The endpoint does not know who asks."""
    return _error(
        errors.UnauthenticatedError,
        call,
        f"{call.about()} wants credentials: {_line(message)}",
        cause="the request has none, or they are no longer valid",
        next_step="give them: Client(url, headers={'authorization': …}); a function instead of the"
        " mapping is asked before each request and can renew them",
        server_message=message,
    )


def unauthorized(call: Call, message: str) -> ClientError:
    """The endpoint asks for a header that the request lacks, or does not allow this."""
    return _error(
        errors.UnauthorizedError,
        call,
        f"{call.about()} is restricted: {_line(message)}",
        next_step="give the header that it wants: Client(url, headers={…})",
        server_message=message,
    )


def lacking(call: Call) -> ClientError:
    """The server speaks the protocol and has no such call."""
    return _error(
        errors.ProtocolError,
        call,
        f"{call.endpoint} has no such call",
        cause="it is an extension of the Open Inference Protocol that Triton has, or this is"
        " no server of that protocol",
    )


def unsupported(call: Call, message: str) -> ClientError:
    """The server has no such call, or not for this model."""
    if "decoupled" not in message:
        return protocol(call, _line(message))
    return _error(
        ClientError,
        call,
        f"{call.about()} is decoupled: it answers as a stream, not once",
        next_step="client.stream(…) on its grpc:// endpoint, or over HTTP at /generate_stream",
        server_message=message,
    )


_BY_CODE: Mapping[str, Callable[[Call, str], ClientError]] = {
    "CANCELLED": lost,
    "DEADLINE_EXCEEDED": lambda call, _: deadline(call),
    "INVALID_ARGUMENT": invalid,
    "NOT_FOUND": not_found,
    "PERMISSION_DENIED": unauthorized,
    "RESOURCE_EXHAUSTED": overloaded,
    "UNAUTHENTICATED": unauthenticated,
    "NOT_READY": not_ready,  # none of gRPC's: HTTP 503 with the protocol's document
    "UNAVAILABLE": not_ready,
    "UNIMPLEMENTED": unsupported,
}

# Triton says more in its texts than in its codes (tried: 2.51.0).
_BY_TEXT: tuple[tuple[str, Callable[[Call, str], ClientError]], ...] = (
    ("is restricted", unauthorized),
    ("Exceeds maximum queue size", overloaded),
    ("Request timeout expired", lambda call, _: deadline(call, "no place in the queue")),
    # A proxy's words for a server that it lost: the request may have been handed on.
    ("upstream connect error", lost),
    ("upstream reset", lost),
    ("reset reason", lost),
    ("no available versions", not_ready),
    ("Server is stopping", not_ready),
    ("Server exiting", not_ready),
    ("Server not ready", not_ready),
    ("mlserver.errors.ModelNotFound", not_found),  # MLServer 1.7 over gRPC, as UNKNOWN
    ("Method not found", lambda call, _: lacking(call)),
)


def from_server(call: Call, code: str, message: str) -> ClientError:
    """Make the error for a refusal in the server's own words.

    Args:
        call: the call that was refused.
        code: a gRPC status code by name; HTTP statuses are translated by the transport.
        message: the server's text.
    """
    for text, fault in _BY_TEXT:
        if text in message:
            return fault(call, message)
    return _BY_CODE.get(code, server_fault)(call, message)


# What a stream's refusal says where it is not the sender's to mend (tried: 2.51.0).
_BY_STREAM_TEXT: tuple[tuple[str, str], ...] = (
    ("unknown model", "NOT_FOUND"),
    ("is not found", "NOT_FOUND"),
    ("is not ready", "UNAVAILABLE"),
    ("is not healthy", "INTERNAL"),
    ("in the model's code", "INTERNAL"),
    ("did not answer", "INTERNAL"),
    ("cannot be called", "INTERNAL"),
    ("Failed to process the request", "INTERNAL"),
    ("Traceback", "INTERNAL"),
)


def from_stream(call: Call, message: str) -> ClientError:
    """Make the error for a refusal inside a stream, which Triton gives without a code.

    What is no known fault is taken for the model's refusal of the input.
    """
    codes = (code for text, code in _BY_STREAM_TEXT if text in message)
    return from_server(call, next(codes, "INVALID_ARGUMENT"), message)


def _line(message: str) -> str:
    """Keep the first line: the rest is a traceback of the server's."""
    line = message.strip().partition("\n")[0]
    return line.removeprefix("[request id: <id_unknown>] ")


def _error(
    kind: type[_Error],
    call: Call,
    what: str,
    *,
    cause: str | None = None,
    next_step: str | None = None,
    **objects: object,
) -> _Error:
    about = {
        "endpoint": call.endpoint,
        "model": call.model,
        "version": call.version,
        "request_id": call.request_id,
        "attempts": call.attempts,
    }
    return kind(what, cause=cause, next_step=next_step, **{**objects, **about})
