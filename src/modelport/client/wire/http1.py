"""Requests and responses of HTTP/1.1 without I/O: https://www.rfc-editor.org/rfc/rfc9112.

A body of known length is received into memory of its own, once, and aligned so that tensors can
be used where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from modelport import __version__
from modelport.client.url import Endpoint
from modelport.client.wire.content import Buffer

_SCRATCH_BYTES = 65536
_MOST_HEAD_BYTES = 65536
_ALIGNMENT = 16
_MOST_DIGITS = 18  # below 2^63, in base 16 or less
HEADER_SIZE = "inference-header-content-length"


class HttpError(ValueError):
    """What arrived is not HTTP/1.1."""


class HttpRequest(NamedTuple):
    """A request but for what depends on the connection and the caller.

    Attributes:
        method: ``GET`` or ``POST``.
        path: what follows the endpoint's base path, with its slash.
        headers: further header lines, each with its end.
        parts: the body, in pieces.
        size: bytes of it.
    """

    method: str
    path: str
    headers: str = ""
    parts: Sequence[Buffer] = ()
    size: int = 0


class Response(NamedTuple):
    """One answer: its status, headers by their lower-case names, and the body."""

    status: int
    headers: Mapping[str, str]
    body: Buffer


class HeadWriter:
    """Writes the head of each request.

    Args:
        endpoint: whose host and base path are named.
        headers: of every request that does not bring its own.
    """

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._base = endpoint.base_path
        self._own = {"Host": endpoint.authority, "User-Agent": f"modelport/{__version__}"}
        self._lines = self._to_lines(headers)

    def write(self, request: HttpRequest, headers: Mapping[str, str] | None = None) -> bytes:
        """Give the head of a request; ``headers`` take the place of the usual ones."""
        lines = self._lines if headers is None else self._to_lines(headers)
        return (
            f"{request.method} {self._base}{request.path} HTTP/1.1\r\n{lines}"
            f"{request.headers}Content-Length: {request.size}\r\n\r\n"
        ).encode("latin-1")

    def _to_lines(self, headers: Mapping[str, str]) -> str:
        given = {name.lower() for name in headers}
        own = {name: value for name, value in self._own.items() if name.lower() not in given}
        return "".join(f"{name}: {value}\r\n" for name, value in {**own, **headers}.items())


class ResponseReader:
    """Reads the responses of one connection, one after the other.

    Put what arrives into :meth:`buffer` and say how much it was with :meth:`received`, which
    tells whether the response is complete.
    """

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.begin()

    def begin(self) -> None:
        """Be ready for the next response."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.begun = False
        self._keep = True
        self._step: Callable[[int], bool] = self._on_head
        self._pending = b""  # of a head, or of chunks
        self._body: bytearray | memoryview = bytearray()
        self._filled = self._taken = 0
        self._left = 0  # bytes of the current chunk that are still to come

    def buffer(self) -> memoryview:
        """Give the memory that the next bytes belong into, which is never empty.

        asyncio reads on after a complete body, and takes nothing read from TLS for its end.
        """
        if isinstance(self._body, memoryview) and self._filled < len(self._body):
            return self._body[self._filled :]
        return self._scratch

    def received(self, count: int) -> bool:
        """Take the bytes that were put into the buffer; tells whether the response is complete.

        Raises:
            HttpError: this is not HTTP.
        """
        return self._step(count)

    def ended(self) -> None:
        """The peer ended the stream: so ends a body without a length.

        Raises:
            ConnectionResetError: the response is not complete.
        """
        self._keep = False
        if self._step != self._on_rest:
            where = "in the middle of" if self.begun else "without"
            raise ConnectionResetError(f"the server closed it {where} an answer")

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request after this complete response."""
        return self._keep

    def spoil(self) -> None:
        """Note that the connection may not carry another request."""
        self._keep = False

    def response(self) -> Response:
        """Give the complete response."""
        return Response(self.status, self.headers, self._body)

    @property
    def waiting(self) -> int:
        """How many bytes of a body without a length have arrived and not been taken."""
        return 0 if isinstance(self._body, memoryview) else len(self._body)

    def take(self) -> bytes:
        """Give what has arrived of the body since the last time."""
        end = self._filled if isinstance(self._body, memoryview) else len(self._body)
        piece = bytes(self._body[self._taken : end])
        self._taken = end
        if isinstance(self._body, bytearray):
            self._body, self._taken = bytearray(), 0
        return piece

    # --- the parts of a response -------------------------------------------------

    def _on_head(self, count: int) -> bool:
        self.begun = True
        data = self._pending + bytes(self._scratch[:count])
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._pending = data
                _check_begin(data)
                return False
            self.status, self.headers, recent = _read_head(data[:end])
            data = data[end + 4 :]
            if self.status >= 200:
                break
        self._pending = b""
        tokens = self.headers.get("connection", "").lower()
        self._keep = "close" not in tokens and (recent or "keep-alive" in tokens)
        return self._begin_body(data)

    def _begin_body(self, data: bytes) -> bool:
        coding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            return self._complete(data, 0)
        if coding:
            if coding != "chunked":
                raise HttpError(f"the transfer encoding {coding!r} is not known here")
            self._step = self._on_chunks
            return self._chunks(data)
        if length is None:
            self._step = self._on_rest
            self._body = bytearray(data)
            return False
        size = _read_length(length)
        if len(data) >= size:
            return self._complete(data, size)
        self._body = _memory(size, self.headers)
        self._body[: len(data)] = data
        self._filled = len(data)
        self._step = self._on_body
        return False

    def _complete(self, data: bytes, size: int) -> bool:
        if len(data) > size:  # an answer to nothing
            self._keep = False
        self._body = memoryview(data)[:size]
        self._filled = size
        return True

    def _on_body(self, count: int) -> bool:
        self._filled += count
        return self._filled == len(self._body)

    def _on_rest(self, count: int) -> bool:
        self._body += self._scratch[:count]  # type: ignore[operator]
        return False

    def _on_chunks(self, count: int) -> bool:
        return self._chunks(bytes(self._scratch[:count]))

    def _chunks(self, data: bytes) -> bool:
        """Read chunks: each a line with its size, the data, and an empty line."""
        data, position = self._pending + data, 0
        while True:
            if self._left > 2:  # of the data; the two others are the line end
                piece = data[position : position + self._left - 2]
                self._body += piece  # type: ignore[operator]
                position += len(piece)
                self._left -= len(piece)
            if 0 < self._left <= 2 and len(data) - position >= self._left:
                if data[position : position + 2] != b"\r\n":
                    raise HttpError("a chunk is longer than it says")
                position += 2
                self._left = 0
            end = data.find(b"\r\n", position)
            if self._left > 0 or end < 0:
                self._pending = data[position:]
                if self._left <= 0 and len(self._pending) > _MOST_HEAD_BYTES:
                    raise HttpError("a line without an end")
                return False
            line, position = data[position:end], end + 2
            if self._left < 0:  # after the last chunk: trailers, up to an empty line
                if not line:
                    self._keep = self._keep and position == len(data)
                    return True
                continue
            size = _read_chunk_size(line)
            self._left = size + 2 if size else -1


def _check_begin(data: bytes) -> None:
    if not data[:5].startswith(b"HTTP/"[: len(data)]):
        raise HttpError(f"it begins with {data[:20]!r}")
    if len(data) > _MOST_HEAD_BYTES:
        raise HttpError("a head without an end")


def _read_head(data: bytes) -> tuple[int, dict[str, str], bool]:
    """Give status, headers, and whether the version is one that keeps connections."""
    lines = data.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit()):
        raise HttpError(f"it begins with {lines[0][:40]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name[-1] in " \t" or name[0] in " \t":
            raise HttpError(f"not a header: {line[:40]!r}")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name == "content-length" and headers[name] != value:
                raise HttpError("two different lengths")
            value = value if name == "content-length" else f"{headers[name]}, {value}"
        headers[name] = value
    return int(code), headers, version == "HTTP/1.1"


def _read_length(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise HttpError(f"the length {text[:40]!r} is not a number of bytes")
    return int(text)


def _read_chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    known = 0 < len(digits) < _MOST_DIGITS
    if not known or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        raise HttpError(f"not the size of a chunk: {line[:40]!r}")
    return int(digits, 16)


def _memory(size: int, headers: Mapping[str, str]) -> memoryview:
    """Give memory in which what follows the JSON part is aligned."""
    head = headers.get(HEADER_SIZE, "0")
    skip = -_read_length(head) % _ALIGNMENT
    try:
        # Unlike bytearray, numpy does not fill it with zeros first.
        return np.empty(size + skip, np.uint8).data[skip:]
    except (MemoryError, ValueError) as error:
        raise HttpError(f"no memory for an answer of {size} bytes") from error
