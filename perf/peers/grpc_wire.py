"""Unary gRPC on one connection: HTTP/2 (RFC 9113), as little of it as a load needs.

Headers are sent as literals that were encoded once (RFC 7541, 6.2.2) and those of the answers are
not decoded: an answer without a message is a failure, whatever its status says, and the message
itself is compared with what is right. Frames, flow control and pings are complete.
"""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW, _MAX_FRAME = 4, 5
_HUGE = (1 << 31) - 1
_MOST = 1 << 18


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """Encode a header without indexing and without Huffman; lengths below 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _headers(path: str) -> bytes:
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    return b"".join(_literal(*field) for field in fields.items())


class Connection:
    """Sends messages, one at a time, and gives the messages of the answers."""

    def __init__(self, plug: socket.socket, path: str) -> None:
        self._plug = plug
        self._head = _headers(path)
        self._stream = -1
        self._data = b""
        self._answer = b""
        self._unsent = b""
        self._frame_bytes = 16_384
        self._first_window = self._stream_window = self._window = 65_535
        self._received = 0
        settings = struct.pack(">HI", _INITIAL_WINDOW, _HUGE)
        window = struct.pack(">I", _HUGE - 65_535)
        plug.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, window))

    def send(self, request: bytes) -> None:
        """Send a message on a new stream, as far as the server's windows allow."""
        self._stream += 2
        self._stream_window = self._first_window
        self._unsent = b"\x00" + struct.pack(">I", len(request)) + request
        self._answer = b""
        self._push(_frame(_HEADERS, _END_HEADERS, self._stream, self._head))

    def _push(self, out: bytes = b"") -> None:
        while self._unsent:
            size = min(len(self._unsent), self._frame_bytes, self._window, self._stream_window)
            if size <= 0:
                break
            part, self._unsent = self._unsent[:size], self._unsent[size:]
            self._window -= size
            self._stream_window -= size
            out += _frame(_DATA, 0 if self._unsent else _END_STREAM, self._stream, part)
        if out:
            self._plug.sendall(out)

    def receive(self) -> bytes | None:
        """Take what has come; the message when its stream has ended, else None.

        Raises:
            ValueError: the stream ended without a message, or was reset.
            ConnectionError: the server closed the connection.
        """
        more = self._plug.recv(_MOST)
        if not more:
            raise ConnectionError("the server closed the connection")
        data, at, ended = self._data + more, 0, False
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            ended |= self._take(data[at + 3], data[at + 4], stream, data[at + 9 : end])
            at = end
        self._data = data[at:]
        if not ended:
            return None
        if len(self._answer) < 5:
            raise ValueError("the call failed: an answer without a message")
        return self._answer[5:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Take one frame; true when it ends the stream."""
        if kind == _DATA:
            self._answer += payload
            self._return_window(len(payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == _WINDOW:
            self._widen(stream, payload)
        elif kind == _PING and not flags & _ACK:
            self._plug.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind in {_RESET, _GOAWAY}:
            raise ValueError(f"the server ended the {'stream' if kind == _RESET else 'connection'}")
        return kind in {_DATA, _HEADERS} and bool(flags & _END_STREAM)

    def _return_window(self, size: int) -> None:
        self._received += size
        if self._received > 1 << 28:
            window = struct.pack(">I", self._received)
            self._plug.sendall(_frame(_WINDOW, 0, 0, window))
            self._received = 0

    def _settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            key, value = struct.unpack_from(">HI", payload, at)
            if key == _INITIAL_WINDOW:
                self._stream_window += value - self._first_window
                self._first_window = value
            elif key == _MAX_FRAME:
                self._frame_bytes = value
        self._plug.sendall(_frame(_SETTINGS, _ACK, 0))
        self._push()

    def _widen(self, stream: int, payload: bytes) -> None:
        size = int.from_bytes(payload, "big")
        if not stream:
            self._window += size
        elif stream == self._stream:
            self._stream_window += size
        self._push()

    def close(self) -> None:
        """Close the connection."""
        self._plug.close()
