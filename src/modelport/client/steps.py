"""What a call waits for, as values: the client's logic is written once for both its faces.

The logic of a call (which endpoint, another attempt, the parts of a batch) is a generator that
yields an effect wherever it must wait, and is given what came of it, or thrown the error.
:class:`~modelport.client.driver.Driver` carries effects out by blocking and
:func:`modelport.client.aio_driver.run` by awaiting; neither decides anything. A generator costs
less than a microsecond, an event loop in a thread of its own fifty.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from modelport.client.call import Call
from modelport.client.exchange import Exchange, StreamExchange
from modelport.client.url import Endpoint

Answer = TypeVar("Answer")
Steps: TypeAlias = Generator[Any, Any, Answer]


class Ask(NamedTuple):
    """Send one request to one endpoint and read its answer."""

    transport: Any
    call: Call
    exchange: Exchange[Any]


class Sleep(NamedTuple):
    """Let some seconds pass."""

    seconds: float


class Together(NamedTuple):
    """Carry out several generators side by side, at most ``limit`` at once.

    The answer is a list with the result or the :class:`~modelport.errors.ClientError` of each.
    """

    steps: Sequence[Steps[Any]]
    limit: int


class Race(NamedTuple):
    """Carry out ``first``; after ``delay_s`` without its end ``second`` too, if it gives any.

    The answer is the first result; the other is left alone. An error counts when both have one.
    """

    first: Steps[Any]
    delay_s: float
    second: Callable[[], Steps[Any] | None]


class Open(NamedTuple):
    """Open a stream and wait for its first reply.

    The answer is that reply, or ``None`` when there is none, and the iterator over the others.
    """

    transport: Any
    call: Call
    exchange: StreamExchange


class Resolve(NamedTuple):
    """Look up the host of an endpoint: the answer is its IP addresses as text, or the error."""

    call: Call
    endpoint: Endpoint


class Close(NamedTuple):
    """Close a transport that is not needed any more."""

    transport: Any
