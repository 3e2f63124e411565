"""Large tensors to and from a server on this machine, by system shared memory.

What is large is written to memory that the server has mapped, instead of being sent, and read
from there instead of being received. No I/O is done here: like all logic of the client, this is
generators over effects (:mod:`modelport.client.steps`). There is one :class:`SharedMemory` for
each address of a server; this is how a call uses it::

    layout = placement.plan(metadata, inference)  # once for a call; None: there is nothing large
    if layout is not None and memory.usable:
        reply = yield from memory.infer(transport, call, inference, layout)
    else:
        reply = yield Ask(transport, call, transport.wire.infer(call, inference))

    yield from memory.close(transport, call)

What holds:

- **A result is the caller's own.** It is copied out once, and the memory is used again.
- **Nobody reads what another call wrote.** Memory of a call that ended without the server's answer
  (deadline, cancelled, connection lost) is not used again: the server may still write to it. It is
  given back when the server says that it is done with it.
- **Nothing stays behind.** Files are unlinked as soon as they are mapped. What a crashed process
  left registered is found by its name and unregistered by the next client that comes.
- **It is never in the way.** A server that cannot map the memory (in another container, behind a
  tunnel), does not allow it, or has no such thing, is sent everything as usual, and is not asked
  again. One that was restarted has forgotten all regions: new ones are made, and the request is
  sent once more, which is safe because it was refused.
- **After a fork** the child makes regions of its own.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from modelport.client import placement, regions
from modelport.client.call import Call
from modelport.client.exchange import Inference, Reply
from modelport.client.placement import Layout
from modelport.client.regions import Region
from modelport.client.steps import Ask, Sleep, Steps
from modelport.client.url import Endpoint
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    ServerFaultError,
    ServerUnreachableError,
    UnauthorizedError,
)

logger = logging.getLogger(__name__)

LIMIT_BYTES = 256 * 1024 * 1024
_PAUSES_S = (0.01, 0.04, 0.16)  # before asking again to forget regions that are in use

# After these the server has done with a request for certain.
_ANSWERED = (
    InvalidInputError,
    ModelNotFoundError,
    OverloadedError,
    ServerFaultError,
    UnauthorizedError,
)
# These, of a request about regions, say that there is to be no shared memory with this server …
_REFUSALS = (
    InvalidInputError,
    ModelNotFoundError,
    ProtocolError,
    ServerFaultError,
    UnauthorizedError,
)
# … and these say nothing about it.
_PASSING = (
    ConnectionLostError,
    DeadlineExceededError,
    NotReadyError,
    OverloadedError,
    ServerUnreachableError,
)


# --- the memory --------------------------------------------------------------


class SharedMemory:
    """The regions that one client shares with one server; safe to share between threads.

    Args:
        endpoint: where the server is; another machine's is never asked.
        limit_bytes: what all regions may take together; what does not fit is sent.
    """

    def __init__(self, endpoint: Endpoint, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._misfits: set[str] = set()  # models that answer with more than they declare
        self.usable = endpoint.loopback and regions.free_bytes() > 0
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._swept = False
        self._total_bytes = 0
        self._free: list[Region] = []
        self._abandoned: list[Region] = []
        self._known: set[str] = set()  # names of the regions that the server has now

    def infer(
        self, transport: Any, call: Call, inference: Inference, layout: Layout
    ) -> Steps[Reply]:
        """Run the model once, its large tensors placed where that is possible.

        Raises:
            ClientError: as without shared memory.
        """
        if self._pid != os.getpid():  # the parent goes on with what there was before the fork
            self._lock = threading.Lock()
            self._begin()
        for _ in range(2):
            region = yield from self._take(transport, call, layout.size_bytes)
            if region is None:
                break
            if call.model in self._misfits:
                layout = layout._replace(outputs={})
            try:
                placed = placement.write(region, inference, layout)
                reply: Reply = yield Ask(transport, call, transport.wire.infer(call, placed))
                reply = placement.read(call, region, layout, reply)
            except BaseException as error:
                if not self._is_to_be_repeated(call, region, inference, error):
                    raise
            else:
                self._release(region, certain=True)
                return reply
        plain: Reply = yield Ask(transport, call, transport.wire.infer(call, inference))
        return plain

    def close(self, transport: Any, call: Call) -> Steps[None]:
        """Let the server forget every region; nothing is placed any more.

        An error of a model may arrive before Triton has put the request's memory down (2.51.0), so
        a region in use is asked for a few times. One that stays in use is left until another client
        finds that its owner is gone.
        """
        self.usable = False
        names = list(self._known) if self._pid == os.getpid() else []
        self._begin()
        for pause_s in (0.0, *_PAUSES_S):
            if pause_s and names:
                yield Sleep(pause_s)
            asked, names = names, []
            for name in asked:
                if not (yield from _unregistered(transport, call, name)):
                    names.append(name)

    def _is_to_be_repeated(
        self, call: Call, region: Region, inference: Inference, error: BaseException
    ) -> bool:
        """Draw the consequences of an error; say whether it is one of shared memory alone."""
        message = _server_message(error)
        if is_forgotten(error):
            with self._lock:
                if region.name in self._known:  # else another thread was quicker
                    self._begin()
                    self._swept = True
            return True
        self._release(region, certain=isinstance(error, _ANSWERED))
        if "shared memory size specified with the request" not in message:
            return False
        # The model answers with more than its configuration says.
        logger.info("%s: outputs are larger than declared: %s", call.about(), message)
        self._misfits.add(call.model)
        return inference.step is None  # it was executed

    # --- regions ---------------------------------------------------------------

    def _take(self, transport: Any, call: Call, size_bytes: int) -> Steps[Region | None]:
        """Give a region that nobody else uses; ``None`` where there is none to be had."""
        size_bytes = _rounded(size_bytes)
        with self._lock:
            region = self._fitting(size_bytes)
            sweep, self._swept = not self._swept, True
        if region is not None or not self.usable:
            return region
        try:
            if sweep:
                yield from _sweep(transport, call)
            yield from self._make_room(transport, call, size_bytes)
            return (yield from self._made(transport, call, size_bytes))
        except _PASSING:
            return None  # whatever it is, the request itself will meet it
        except _REFUSALS as error:
            self.usable = False
            logger.info("no shared memory with %s, tensors are sent: %s", call.endpoint, error.what)
            return None

    def _fitting(self, size_bytes: int) -> Region | None:
        """Take the smallest free region that is large enough, and not far too large."""
        fitting = [r for r in self._free if size_bytes <= r.size_bytes <= 4 * size_bytes]
        if not fitting:
            return None
        best = min(fitting, key=lambda region: region.size_bytes)
        self._free.remove(best)
        return best

    def _made(self, transport: Any, call: Call, size_bytes: int) -> Steps[Region | None]:
        with self._lock:
            if self._total_bytes + size_bytes > self._limit_bytes:
                return None
            self._total_bytes += size_bytes
        region = None
        try:
            if 2 * size_bytes <= regions.free_bytes():  # others want some, too
                region = Region(size_bytes)
                register = transport.wire.register(call, region.name, region.key, size_bytes)
                yield Ask(transport, call, register)
                self._known.add(region.name)
                return region
        except OSError as error:
            logger.debug("no shared memory of %d bytes: %s", size_bytes, error)
        except _REFUSALS:
            raise
        except BaseException:  # too late or cancelled: the server may have it all the same
            if region is not None:
                with self._lock:
                    self._known.add(region.name)
                    self._abandoned.append(region)
            raise
        finally:
            if region is not None:
                region.unlink()
            with self._lock:
                if region is None or region.name not in self._known:
                    self._total_bytes -= size_bytes
        return None

    def _make_room(self, transport: Any, call: Call, size_bytes: int) -> Steps[None]:
        """Give back what calls left behind, and, where the limit is near, what is not in use."""
        with self._lock:
            leaving, self._abandoned = self._abandoned, []
            excess = self._total_bytes + size_bytes - self._limit_bytes
            excess -= sum(region.size_bytes for region in leaving)
            while self._free and excess > 0:
                leaving.append(self._free.pop(0))
                excess -= leaving[-1].size_bytes
        try:
            while leaving:
                gone = yield from _unregistered(transport, call, leaving[-1].name)
                region = leaving.pop()
                with self._lock:
                    if gone and region.name in self._known:
                        self._known.remove(region.name)
                        self._total_bytes -= region.size_bytes
                    elif not gone:
                        self._abandoned.append(region)
        finally:
            with self._lock:
                self._abandoned += leaving  # the call was cancelled meanwhile

    def _release(self, region: Region, *, certain: bool) -> None:
        with self._lock:
            if region.name in self._known:  # else it is of before a restart, or of a closed client
                (self._free if certain else self._abandoned).append(region)


def _sweep(transport: Any, call: Call) -> Steps[None]:
    """Unregister what processes left that are no more."""
    regions.remove_orphans()
    names: list[str] = yield Ask(transport, call, transport.wire.regions(call))
    for name in filter(regions.is_orphan, names):
        logger.info("%s still has %s of a process that is gone", call.endpoint, name)
        yield from _unregistered(transport, call, name)


def _unregistered(transport: Any, call: Call, name: str) -> Steps[bool]:
    """Let the server forget a region; ``False`` when it does not.

    Triton counts the requests that use a region and refuses until there are none (2.51.0).
    """
    try:
        yield Ask(transport, call, transport.wire.unregister(call, name))
    except (*_REFUSALS, *_PASSING) as error:
        logger.debug("%s keeps %s: %s", call.endpoint, name, error.what)
        return False
    return True


def is_forgotten(error: BaseException) -> bool:
    """Whether the server refused a request because it does not have the region (tried: 2.51.0)."""
    message = _server_message(error)
    return "Unable to find" in message and "shared memory region" in message


def _server_message(error: BaseException) -> str:
    return str(error.objects.get("server_message", "")) if isinstance(error, ClientError) else ""


def _rounded(size_bytes: int) -> int:
    """Round up to one of four sizes per power of two, so that regions can be used again."""
    step = max(1 << (size_bytes.bit_length() - 3), 4096)
    return -(-size_bytes // step) * step
