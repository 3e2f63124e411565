"""Where a server is: scheme, host and port, read from a URL."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from modelport.errors import ClientError

SCHEMES = ("http", "https", "grpc", "grpcs")
DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "MODELPORT_URL"

# grpc:// has no port of its own, so it must be named.
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpcs": 443}


@dataclass(frozen=True)
class Endpoint:
    """One address of one server.

    Attributes:
        scheme: ``http``, ``https``, ``grpc`` or ``grpcs``.
        host: name or address, without brackets.
        port: TCP port.
        base_path: what a proxy put in front of ``/v2`` (HTTP only), without a slash at the end.
        address: an IP address to connect to instead of looking up ``host``, whose name stays
            that of the Host header, the gRPC authority and the certificate.
    """

    scheme: str
    host: str
    port: int
    base_path: str = ""
    address: str = ""

    @property
    def protocol(self) -> str:
        """``http`` or ``grpc``: the transport that the scheme asks for."""
        return self.scheme.removesuffix("s")

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("s")

    @property
    def authority(self) -> str:
        """``host:port``, with brackets round an IPv6 address."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def target(self) -> str:
        """``host:port`` to connect to: the address where there is one."""
        return f"{_bracketed(self.address or self.host)}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine, as far as its name tells."""
        try:
            return ipaddress.ip_address(self.address or self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.base_path}"


def parse(url: str) -> Endpoint:
    """Read an endpoint from ``grpc://h:p``, ``grpcs://``, ``http://``, ``https://`` or ``h:p``.

    A bare ``host:port`` means HTTP. Without a port, ``http`` means 80 and
    ``https`` and ``grpcs`` mean 443, as on the web.

    Raises:
        ClientError: for anything else.
    """
    bare = "://" not in url
    try:
        parts = urlsplit(f"http://{url}" if bare else url)
        port = parts.port
    except ValueError as error:
        raise _malformed(url, str(error)) from error
    _check(url, parts)
    if port is None and not bare:
        port = _DEFAULT_PORTS.get(parts.scheme)
    if not port:
        raise _malformed(url, "it names no port; Triton listens on 8000 (HTTP) and 8001 (gRPC)")
    return Endpoint(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"))


def default_url() -> str:
    """Give the URL in ``MODELPORT_URL``, else Triton's usual HTTP endpoint on this machine."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check(url: str, parts: SplitResult) -> None:
    if parts.scheme not in SCHEMES:
        raise _malformed(url, f"unknown scheme {parts.scheme!r}; expected one of {_listed()}")
    if not parts.hostname or any(character.isspace() for character in url):
        raise _malformed(url, "it names no host")
    if parts.query or parts.fragment or parts.username is not None:
        raise _malformed(url, "credentials, query and fragment have no place in it; use headers=")
    if parts.scheme.startswith("grpc") and parts.path.rstrip("/"):
        raise _malformed(url, "a gRPC endpoint has no path")


def _malformed(url: str, why: str) -> ClientError:
    return ClientError(
        f"{url!r} is not the URL of a server: {why}",
        next_step="use for example http://127.0.0.1:8000 or grpc://127.0.0.1:8001",
        url=url,
    )


def _listed() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)
