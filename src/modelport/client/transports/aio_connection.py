"""One HTTP connection in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from modelport.client.call import Call
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HttpError, ResponseReader

_JOINED_BYTES = 65536
# What the kernel does not take at once, asyncio copies (up to Python 3.11).
_PIECE_BYTES = 262144
_MOST_WAITING_BYTES = 1 << 20


class Connection(asyncio.BufferedProtocol):
    """A socket and what is being read from it, for one exchange at a time.

    Attributes:
        reader: of the responses.
        usable: whether another exchange may begin.
    """

    def __init__(self) -> None:
        self.reader = ResponseReader()
        self.usable = True
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._active = self._complete = self._paused = self._held = False
        self._news = False  # what came while nobody waited

    # --- an exchange -------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Begin an exchange, which ends when the call's time does."""
        self._timer = self._loop.call_later(call.remaining_s(), self.fail, TimeoutError())
        self._active, self._complete, self._news = True, False, False

    async def send(self, head: bytes, parts: Sequence[Buffer], size: int) -> None:
        """Send a request; returns early when it is answered already."""
        if size <= _JOINED_BYTES:
            self._transport.write(b"".join((head, *parts)))
            return
        self._transport.write(head)
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), _PIECE_BYTES):
                self._transport.write(view[start : start + _PIECE_BYTES])
                while self._paused and not self._complete:
                    await self._wait()
                if self._complete:
                    self.reader.spoil()
                    return

    async def receive(self) -> bool:
        """Wait for more of the response; tells whether it is complete."""
        if not (self._complete or self._news):
            await self._wait()
        self._news = False
        if self._held and not self._complete:
            self._held = False
            self._transport.resume_reading()
        return self._complete

    def end(self) -> bool:
        """End an exchange that went well; tells whether the connection can be kept."""
        self._stop()
        if self.usable and self.reader.reusable:
            self.reader.begin()
            return True
        return False

    def fail(self, error: Exception) -> None:
        """Let the exchange fail."""
        if self._error is None:
            self._error = error
        self.usable = False
        self._wake()

    def abort(self) -> None:
        """Close the socket at once."""
        self._stop()
        self.usable = False
        self._transport.abort()

    def _stop(self) -> None:
        self._active = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self) -> None:
        if self._error is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None and not self._complete:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the loop tells -----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the memory that the next bytes belong into."""
        del sizehint
        return self.reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes."""
        if not self._active or self._complete:  # an answer to nothing
            self.abort()
            return
        try:
            self._complete = self.reader.received(nbytes)
        except HttpError as error:
            self.fail(error)
            return
        if self._complete or self.reader.waiting:
            self._news = True
            self._wake()
            if self.reader.waiting > _MOST_WAITING_BYTES and not self._complete:
                self._held = True
                self._transport.pause_reading()

    def eof_received(self) -> None:
        """Take the end of the stream."""
        self.usable = False
        if self._active and not self._complete:
            try:
                self.reader.ended()
                self._complete = True
                self._wake()
            except ConnectionResetError as error:
                self.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self.fail(exc or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The kernel takes more."""
        self._paused = False
        self._wake()
