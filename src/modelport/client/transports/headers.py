"""The headers that are sent with each request: the client's and the call's."""

from __future__ import annotations

from collections.abc import Mapping

from modelport.client.call import Call
from modelport.client.options import HeaderSource
from modelport.errors import ClientError


class Headers:
    """The client's headers, which stay as they are or are asked for before each request.

    Raises:
        ClientError: a header holds characters that no header may have.
    """

    def __init__(self, source: HeaderSource) -> None:
        self._source = source
        self.fixed: Mapping[str, str] | None = None
        if not callable(source):
            self.fixed = check(source)

    def of(self, call: Call) -> Mapping[str, str]:
        """Give the headers of one request; those of the call count more."""
        own = self.fixed if self.fixed is not None else check(self._source())  # type: ignore[operator]
        if not call.headers:
            return own
        extra = check(call.headers)
        names = {name.lower() for name in extra}
        return {name: value for name, value in own.items() if name.lower() not in names} | extra


def check(headers: Mapping[str, str]) -> dict[str, str]:
    """Refuse what could be read as another header, or as the end of them.

    Raises:
        ClientError: a header holds characters that no header may have, or is the client's own.
    """
    for name, value in headers.items():
        text = f"{name}{value}"
        if (
            not isinstance(value, str)
            or not name
            or not text.isascii()
            or not text.isprintable()
            or any(character in name for character in _NOT_IN_NAMES)
        ):
            raise ClientError(f"the header {name!r} holds characters that no header may have")
        if name.lower() in _OWN:
            raise ClientError(
                f"the header {name!r} is the client's own",
                cause="it says how a request is carried, and two of it would break the connection",
                next_step="leave it out; compression is an option of the Client",
            )
    return dict(headers)


_NOT_IN_NAMES = ' "(),/:;<=>?@[\\]{}'

# Host may be given: it is what a server behind a proxy is told apart by.
_OWN = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "inference-header-content-length",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
