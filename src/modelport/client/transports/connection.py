"""HTTP connections that threads may share, with one deadline over a whole exchange.

tritonclient's own HTTP client is bound to the thread that made it, because its sockets belong to
that thread's gevent loop, and it knows a timeout per socket operation but none per call.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from errno import ECONNREFUSED

from modelport.client import faults
from modelport.client.faults import Call
from modelport.client.options import Options
from modelport.client.transports import tls
from modelport.client.url import Endpoint
from modelport.client.wire.content import Buffer
from modelport.client.wire.http1 import HttpError, ResponseReader

_JOINED_BYTES = 65536
_MOST_PIECES = 512  # IOV_MAX is 1024
_PROBES, _PROBE_PAUSE_S = 3, 10


class Connection:
    """One socket, and what is being read from it.

    Attributes:
        reader: of the responses.
        ended: the caller has shut it down while it was used.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._poll = select.poll()  # select() fails beyond 1024 open files
        self._poll.register(opened, select.POLLIN)
        self.reader = ResponseReader()
        self.ended = False

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
        self.ended = True
        with suppress(OSError):
            # Not that of an encrypted socket, which goes on in clear text.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class ConnectionPool:
    """Keep-alive connections to one endpoint; each is used by one thread at a time."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self._endpoint, self._keepalive_s = endpoint, options.keepalive_s
        self._tls = tls.context(options.tls) if endpoint.secure else None
        self._name = (options.tls.server_name if options.tls else None) or endpoint.host
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

    def open(self, call: Call) -> Connection:
        """Make a new connection.

        Raises:
            ClientError: the leaf for what is in the way.
        """
        return Connection(self._connect(call))

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

    def _connect(self, call: Call) -> socket.socket:
        where = (self._endpoint.address or self._endpoint.host, self._endpoint.port)
        try:
            opened = socket.create_connection(where, call.remaining_s())
            try:
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_alive(opened, self._keepalive_s)
                return self._encrypted(call, opened)
            except BaseException:
                opened.close()
                raise
        except (OSError, UnicodeError) as error:
            raise unconnected(call, error) from error

    def _encrypted(self, call: Call, opened: socket.socket) -> socket.socket:
        if self._tls is None:
            return opened
        opened.settimeout(call.remaining_s())
        return self._tls.wrap_socket(opened, server_hostname=self._name)


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


def unconnected(call: Call, error: Exception) -> Exception:
    """Make the error for a connection that did not come about."""
    # asyncio tells of several addresses in words only.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {ECONNREFUSED}]" in str(error):
        return faults.refused(call)
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return faults.unresolved(call, str(error))
    if isinstance(error, TimeoutError):
        return faults.deadline(call, "no connection")
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return faults.tls(call, str(error))
    if isinstance(error, ConnectionError):  # reset in the middle of a handshake
        return faults.lost(call, error.strerror or str(error))
    return faults.unreachable(call, str(error))


def broken(call: Call, error: Exception) -> Exception:
    """Make the error for a connection that broke during an exchange."""
    if isinstance(error, TimeoutError):
        return faults.deadline(call)
    if isinstance(error, HttpError):
        return faults.protocol(call, f"the answer is not HTTP ({error})")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return faults.tls(call, str(error))
    if isinstance(error, OSError):
        return faults.lost(call, error.strerror or str(error))
    return error
