"""HTTP/1.1 without sockets: any cut of the bytes gives the same response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.client.url import parse
from modelport.client.wire.http1 import HeadWriter, HttpError, HttpRequest, ResponseReader

LONG = bytes(range(256)) * 300
RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\nConnection: close\r\n\r\n{}", 200, b"{}", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 503, b"", True),
    (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\n{\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        200, b"{0123456789", True,
    ),
    (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LONG), LONG), 200, LONG, True),
    (
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 5\r\nContent-Length: %d\r\n\r\n%b"
        % (len(LONG), LONG), 200, LONG, True,
    ),
]  # fmt: skip


def feed(reader: ResponseReader, data: bytes) -> bool:
    """Put bytes in as a socket would; tells whether the response was complete at the end."""
    complete = False
    while data:
        assert not complete
        buffer = reader.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        complete = reader.received(count)
        data = data[count:]
    return complete


@given(st.sampled_from(RESPONSES), st.lists(st.integers(1, 80_000), max_size=6), st.booleans())
def test_every_cut_gives_the_same_response(
    case: tuple[bytes, int, bytes, bool], cuts: list[int], drip: bool
) -> None:
    data, status, body, reusable = case
    reader = ResponseReader()
    for _ in range(2 if reusable else 1):
        places = sorted({0, *(cut % len(data) for cut in cuts), *(range(60) if drip else ())})
        places = [place for place in places if place < len(data)]
        pieces = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
        done = [feed(reader, piece) for piece in pieces]
        assert done == [False] * (len(pieces) - 1) + [True]
        response = reader.response()
        assert (response.status, bytes(response.body)) == (status, body)
        assert reader.reusable == reusable
        reader.begin()


def test_a_body_without_a_length_ends_with_the_stream() -> None:
    reader = ResponseReader()
    assert not feed(reader, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
    assert not feed(reader, b"cd")
    assert reader.take() == b"abcd"
    assert not feed(reader, b"ef")
    reader.ended()
    assert bytes(reader.response().body) == b"ef"
    assert not reader.reusable


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 2", RESPONSES[0][0][:-1], RESPONSES[7][0][:-3]])
def test_a_response_that_is_cut_off(data: bytes) -> None:
    reader = ResponseReader()
    feed(reader, data)
    with pytest.raises(ConnectionResetError, match="in the middle of" if data else "without"):
        reader.ended()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x18\x04\x00\x00\x00",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10**18 - 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 10**30,
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: "
        + b"1" * 5000
        + b"\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 70_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 140_000,
    ],
)
def test_what_is_not_http(data: bytes) -> None:
    with pytest.raises(HttpError):
        feed(ResponseReader(), data)


@given(st.binary(max_size=200), st.sampled_from([b"", *(case[0][:70] for case in RESPONSES)]))
def test_rubbish_is_an_error_or_not_complete(rubbish: bytes, head: bytes) -> None:
    reader = ResponseReader()
    try:
        for byte in head + rubbish:
            if feed(reader, bytes([byte])):
                break
    except HttpError:
        pass


def test_an_answer_to_nothing_spoils_the_connection() -> None:
    reader = ResponseReader()
    assert feed(reader, RESPONSES[0][0] + b"HTTP/1.1 200 OK")
    assert bytes(reader.response().body) == b"{}"
    assert not reader.reusable


def test_the_head_of_a_request() -> None:
    writer = HeadWriter(parse("http://h:8000/base"), {"host": "other", "A": "b"})
    head = writer.write(HttpRequest("POST", "/v2", "C: d\r\n", (b"xyz",), 3)).decode()
    lines = head.split("\r\n")
    assert lines[0] == "POST /base/v2 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host")] == ["host: other"]
    assert {"A: b", "C: d", "Content-Length: 3"} <= set(lines)
    assert lines[-2:] == ["", ""]
    assert "Host: h:8000" in writer.write(HttpRequest("GET", "/"), {}).decode()


@pytest.mark.parametrize("case", RESPONSES)
def test_there_is_always_room_for_what_comes_next(case: tuple[bytes, int, bytes, bool]) -> None:
    reader = ResponseReader()
    for byte in case[0]:
        assert len(reader.buffer()) > 0
        feed(reader, bytes([byte]))
    assert len(reader.buffer()) > 0
