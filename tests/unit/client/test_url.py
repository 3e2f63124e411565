from __future__ import annotations

import pytest

from modelport.client.url import DEFAULT_URL, Endpoint, default_url, parse
from modelport.errors import ClientError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8000", Endpoint("http", "127.0.0.1", 8000)),
        ("localhost:8000", Endpoint("http", "localhost", 8000)),
        ("http://h:8000", Endpoint("http", "h", 8000)),
        ("http://h:8000/", Endpoint("http", "h", 8000)),
        ("http://h/models/", Endpoint("http", "h", 80, "/models")),
        ("https://h", Endpoint("https", "h", 443)),
        ("grpc://h:8001", Endpoint("grpc", "h", 8001)),
        ("grpcs://h", Endpoint("grpcs", "h", 443)),
        ("GRPC://H:8001", Endpoint("grpc", "h", 8001)),
        ("http://[::1]:8000", Endpoint("http", "::1", 8000)),
        ("[::1]:8000", Endpoint("http", "::1", 8000)),
    ],
)
def test_reads(url: str, expected: Endpoint) -> None:
    assert parse(url) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://h:1", "unknown scheme 'ftp'"),
        ("", "names no host"),
        ("http://", "names no host"),
        ("localhost", "names no port"),
        ("grpc://h", "names no port"),
        ("http://h:0", "names no port"),
        ("http://h:99999", "Port out of range"),
        ("http://h:eight", "Port could not be cast"),
        ("http://user:secret@h:1", "headers="),
        ("http://h:1?x=1", "no place"),
        ("grpc://h:1/v2", "no path"),
        ("http://a b:1", "names no host"),
    ],
)
def test_refuses(url: str, why: str) -> None:
    with pytest.raises(ClientError, match=why.replace("(", r"\(")) as caught:
        parse(url)
    assert caught.value.next_step
    assert caught.value.objects["url"] == url


def test_protocol_and_encryption_follow_the_scheme() -> None:
    assert [
        (parse(f"{s}://h:1").protocol, parse(f"{s}://h:1").secure)
        for s in ("http", "https", "grpc", "grpcs")
    ] == [("http", False), ("http", True), ("grpc", False), ("grpc", True)]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_knows_this_machine(host: str, loopback: bool) -> None:
    assert parse(f"http://{host}:1").loopback is loopback


def test_default_url_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELPORT_URL", raising=False)
    assert default_url() == DEFAULT_URL
    monkeypatch.setenv("MODELPORT_URL", "grpc://h:1")
    assert default_url() == "grpc://h:1"
