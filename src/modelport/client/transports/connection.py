"""HTTP connections that threads may share, with one deadline over a whole exchange.

tritonclient's own HTTP client is bound to the thread that made it, because its sockets belong to
that thread's gevent loop, and it knows a timeout per socket operation but none per call.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from errno import ECONNREFUSED, ETIMEDOUT
from typing import NamedTuple

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.options import Options
from modelport.client.transports import tls
from modelport.client.url import Endpoint
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HttpError, ResponseReader

_JOINED_BYTES = 65536
_MOST_PIECES = 512  # IOV_MAX is 1024
_PROBES, _PROBE_PAUSE_S = 3, 10

# What gets no connection in this time hangs; another server may do better with what is left.
CONNECT_S = 10.0


class Connection:
    """One socket, and what is being read from it.

    Attributes:
        reader: of the responses.
        opened: whether requests can be sent.
        ended: the caller has shut it down while it was used, or opened.
    """

    def __init__(self) -> None:
        self._socket: socket.socket
        self._poll = select.poll()  # select() fails beyond 1024 open files
        self._lock = threading.Lock()  # around what another thread may shut down
        self.reader = ResponseReader()
        self.opened = self.ended = False

    def open(self, call: Call, route: Route) -> None:
        """Connect; :meth:`end` ends that, too.

        Raises:
            OSError, UnicodeError: no connection; with ETIMEDOUT after ``CONNECT_S`` seconds, as
                when the kernel gives up, and without when the call's time is over.
        """
        left = call.remaining_s()
        until = time.monotonic() + patience_s(left)
        try:
            self._dial(route, until)
            if route.tls:
                self._encrypt(route.tls, route.name, until)
        except TimeoutError as error:
            raise (gave_up(left) if is_deadline(error) else error) from error
        self._poll.register(self._socket, select.POLLIN)
        self.opened = True

    def _dial(self, route: Route, until: float) -> None:
        found = socket.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found, 1):
            self._own(socket.socket(family, kind, protocol))
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_alive(self._socket, route.keepalive_s)
                # One address that hangs leaves time for the others.
                self._socket.settimeout(_share(until, len(found) - number + 1))
                self._socket.connect(address)
            except OSError:
                self.close()
                if self.ended or number == len(found):
                    raise
            else:
                return

    def _encrypt(self, context: ssl.SSLContext, name: str, until: float) -> None:
        wrapped = context.wrap_socket(
            self._socket, server_hostname=name, do_handshake_on_connect=False
        )
        self._own(wrapped)
        wrapped.settimeout(_share(until))
        wrapped.do_handshake()

    def _own(self, made: socket.socket) -> None:
        """Have a socket; nothing is done with it when the caller has ended this meanwhile."""
        with self._lock:
            self._socket = made
            if self.ended:
                raise ConnectionAbortedError("ended by the caller")

    def quiet(self) -> bool:
        """Whether an idle connection is usable: the server closed one that can be read."""
        return not self._poll.poll(0)

    def send(self, call: Call, head: bytes, parts: Sequence[Buffer], size: int) -> None:
        """Send a request; large pieces are not copied."""
        self._socket.settimeout(call.remaining_s())
        if size <= _JOINED_BYTES:  # one system call, and no second small packet
            self._socket.sendall(b"".join((head, *parts)))
        elif isinstance(self._socket, ssl.SSLSocket):
            for piece in (head, *parts):
                self._socket.settimeout(call.remaining_s())
                self._socket.sendall(piece)
        else:
            self._send_pieces(call, [memoryview(piece) for piece in (head, *parts)])

    def _send_pieces(self, call: Call, pieces: list[memoryview]) -> None:
        first = 0
        while first < len(pieces):
            self._socket.settimeout(call.remaining_s())
            sent = self._socket.sendmsg(pieces[first : first + _MOST_PIECES])
            while first < len(pieces) and sent >= len(pieces[first]):
                sent -= len(pieces[first])
                first += 1
            if sent:
                pieces[first] = pieces[first][sent:]

    def receive(self, call: Call) -> bool:
        """Receive once; tells whether the response is complete."""
        self._socket.settimeout(call.remaining_s())
        count = self._socket.recv_into(self.reader.buffer())
        if count:
            return self.reader.received(count)
        self.reader.ended()
        return True

    def end(self) -> None:
        """Shut it down, from another thread: whoever waits for it is woken."""
        with self._lock:
            self.ended = True
            with suppress(OSError, AttributeError):  # there may be no socket yet
                # Not that of an encrypted socket, which goes on in clear text.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with self._lock, suppress(AttributeError):
            self._socket.close()


class Route(NamedTuple):
    """Where connections lead, and how they are made.

    Attributes:
        host: name or IP address to connect to.
        port: number of the port.
        name: what an encrypted server calls itself.
        keepalive_s: seconds of silence before the kernel probes a connection; 0 for never.
        tls: settings of encrypted connections.
    """

    host: str
    port: int
    name: str
    keepalive_s: float
    tls: ssl.SSLContext | None


def _share(until: float, count: int = 1) -> float:
    left = (until - time.monotonic()) / count
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class ConnectionPool:
    """Keep-alive connections to one endpoint; each is used by one thread at a time."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.route = Route(
            endpoint.address or endpoint.host,
            endpoint.port,
            (options.tls.server_name if options.tls else None) or endpoint.host,
            options.keepalive_s,
            tls.context(options.tls) if endpoint.secure else None,
        )
        self._idle: deque[Connection] = deque()
        self._pid = os.getpid()
        self.closed = False

    def take_idle(self, call: Call) -> Connection | None:
        """Give a connection that was used before, if there is one.

        Raises:
            ClientError: the pool is closed.
        """
        if self.closed:
            raise faults.closed(call)
        self.owned()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if connection.quiet():
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for later, if its last response allows that."""
        if self.closed or not connection.reader.reusable:
            connection.close()
        else:
            connection.reader.begin()
            self._idle.append(connection)

    def owned(self) -> bool:
        """Whether this process is the one that opened the connections; a child forgets them."""
        if self._pid == os.getpid():
            return True
        self._idle, self._pid = deque(), os.getpid()
        return False

    def close(self) -> None:
        """Close the idle connections, and the others when they are given back."""
        self.closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def keep_alive(opened: socket.socket, seconds: float) -> None:
    """Let the kernel probe a connection that is silent, where it can."""
    if not seconds:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        idle = max(1, min(int(seconds), 32767))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, min(idle, _PROBE_PAUSE_S))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def patience_s(left: float) -> float:
    """Give the seconds to wait for a connection when the call has ``left`` ones."""
    return min(left, CONNECT_S)


def gave_up(left: float) -> OSError:
    """Give the error for a connection that did not come about in :func:`patience_s`."""
    if left > CONNECT_S:
        return OSError(ETIMEDOUT, f"none within {CONNECT_S:g} s")
    return TimeoutError()


def is_deadline(error: Exception) -> bool:
    """Whether the caller's time is over; the kernel's own timeouts have a number."""
    return isinstance(error, TimeoutError) and error.errno is None


def unconnected(call: Call, error: Exception) -> Exception:
    """Make the error for a connection that did not come about."""
    # asyncio tells of several addresses in words only.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {ECONNREFUSED}]" in str(error):
        return faults.refused(call)
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return faults.unresolved(call, str(error))
    if is_deadline(error):
        return faults.deadline(call, "no connection")
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return faults.tls(call, str(error))
    if isinstance(error, ConnectionError):  # reset in the middle of a handshake
        return faults.lost(call, error.strerror or str(error))
    if isinstance(error, TimeoutError):
        return faults.unreachable(call, error.strerror or str(error))
    return faults.unreachable(call, str(error))


def broken(call: Call, error: Exception) -> Exception:
    """Make the error for a connection that broke during an exchange."""
    if is_deadline(error):
        return faults.deadline(call)
    if isinstance(error, HttpError):
        return faults.protocol(call, f"the answer is not HTTP ({error})")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return faults.tls(call, str(error))
    if isinstance(error, OSError):
        return faults.lost(call, error.strerror or str(error))
    return error
