"""HTTP/1.1 on one connection, as little of it as a load needs."""

import re
import socket

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_MOST = 1 << 18


class Connection:
    """Sends whole requests, one at a time, and gives the bodies of the answers."""

    def __init__(self, plug: socket.socket, path: str) -> None:
        del path  # it is in the requests
        self._plug = plug
        self._data = b""

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._plug.sendall(request)

    def receive(self) -> bytes | None:
        """Take what has come; the body when it is complete, else None.

        Raises:
            ValueError: the status is not 200.
            ConnectionError: the server closed the connection.
        """
        more = self._plug.recv(_MOST)
        if not more:
            raise ConnectionError("the server closed the connection")
        data = self._data = self._data + more if self._data else more
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        if data[9:12] != b"200":
            raise ValueError(f"status {data[9:12].decode()}: {data[end + 4 : end + 304]!r}")
        if found := _LENGTH.search(data, 0, end):
            return self._given(end + 4, int(found[1]))
        if _CHUNKED.search(data, 0, end):
            return self._chunks(end + 4)
        raise ValueError("an answer with no Content-Length")

    def _given(self, begin: int, length: int) -> bytes | None:
        if len(self._data) < begin + length:
            return None
        body, self._data = self._data[begin : begin + length], b""
        return body

    def _chunks(self, begin: int) -> bytes | None:
        data = self._data
        if not data.endswith(_LAST_CHUNK):
            return None
        found = []
        while True:
            end = data.find(b"\r\n", begin)
            size = int(data[begin:end], 16) if end > 0 else -1
            if size < 0 or end + 4 + size > len(data):
                return None  # the last five bytes were those of a chunk
            if not size:
                self._data = b""
                return b"".join(found)
            found.append(data[end + 2 : end + 2 + size])
            begin = end + 4 + size

    def close(self) -> None:
        """Close the connection."""
        self._plug.close()
