"""What can be made to go wrong in a fake server."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from modelport.client.testing.requests import Refusal


@dataclass(frozen=True)
class Failure:
    """One way to fail.

    Attributes:
        code: name of the gRPC status; empty when it is no answer at all.
        message: the server's text; ``{model}`` stands for the model's name.
        meaning: what a client sees, for the documentation.
    """

    code: str
    message: str
    meaning: str


# The texts are those of Triton 2.51, and of grpc where the connection breaks.
FAILURES: Mapping[str, Failure] = {
    "overloaded": Failure(
        "UNAVAILABLE",
        "[request id: <id_unknown>] Exceeds maximum queue size",
        "the queue is full: `OverloadedError`",
    ),
    "unavailable": Failure(
        "UNAVAILABLE",
        "Server is stopping, scheduler for model has stopped accepting new inference requests",
        "the server is about to end: `NotReadyError`",
    ),
    "unloaded": Failure(
        "NOT_FOUND",
        "Request for unknown model: '{model}' has no available versions",
        "the model was unloaded: `NotReadyError` or `ModelNotFoundError`",
    ),
    "invalid": Failure(
        "INVALID_ARGUMENT",
        "not what the model takes",
        "the model refuses the input: `InvalidInputError`",
    ),
    "fault": Failure(
        "INTERNAL",
        "Failed to process the request(s) for model '{model}_0_0', message: RuntimeError: tripped",
        "the model raised an exception: `ServerFaultError`",
    ),
    "dead": Failure(
        "INTERNAL",
        "Stub process '{model}_0_0' is not healthy.",
        "the model's process died: `ServerFaultError`",
    ),
    "queue_timeout": Failure(
        "UNAVAILABLE",
        "[request id: <id_unknown>] Request timeout expired",
        "no place in the queue in time: `DeadlineExceededError`",
    ),
    "unauthenticated": Failure(
        "UNAUTHENTICATED",
        "the token has expired",
        "the token is no longer valid: `UnauthorizedError`",
    ),
    "lost": Failure("", "", "the connection breaks: `ConnectionLostError`"),
    "hang": Failure("", "", "no answer comes until the client gives up: `DeadlineExceededError`"),
    "garbage": Failure("", "", "the answer is in no protocol: `ProtocolError`"),
}


class Lost(Exception):
    """The connection is to break now."""


class Hang(Exception):
    """No answer is to come."""


class Garbage(Exception):
    """The answer is to be rubbish."""


_WITHOUT_ANSWER = {"lost": Lost, "hang": Hang, "garbage": Garbage}


@dataclass
class _Planned:
    with_: str
    times: int | None
    after: int


class Failures:
    """The failures and delays that are planned, by model; ``None`` stands for every model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[tuple[str | None, _Planned]] = []
        self._delays: dict[str | None, float] = {}

    def plan(self, model: str | None, with_: str, times: int | None, after: int) -> None:
        """Let the next requests fail; see :meth:`FakeServer.fail`."""
        if with_ not in FAILURES:
            raise ValueError(f"with_={with_!r} is none of {', '.join(FAILURES)}")
        with self._lock:
            self._planned.append((model, _Planned(with_, times, after)))

    def delay(self, model: str | None, seconds: float) -> None:
        """Let answers come later; 0 ends that."""
        self._delays[model] = seconds

    def clear(self) -> None:
        """Forget what is planned."""
        with self._lock:
            self._planned.clear()
            self._delays.clear()

    def delay_s(self, model: str) -> float:
        """Give how long a request to a model waits before it is answered."""
        return self._delays.get(model, self._delays.get(None, 0.0))

    def take(self, model: str) -> tuple[str, int] | None:
        """Give the failure of the next request, and after how many responses it comes."""
        with self._lock:
            for entry in self._planned:
                name, planned = entry
                if name in (model, None):
                    if planned.times is not None:
                        planned.times -= 1
                        if not planned.times:
                            self._planned.remove(entry)
                    return planned.with_, planned.after
        return None


def raise_for(with_: str, model: str) -> None:
    """Fail in the way of that name.

    Raises:
        Refusal: one that the server puts into words.
        Lost, Hang, Garbage: one that it does not.
    """
    silent = _WITHOUT_ANSWER.get(with_)
    if silent is not None:
        raise silent
    failure = FAILURES[with_]
    raise Refusal(failure.message.format(model=model), failure.code)
