"""One call of a server: what it is about, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelport.client import faults


# Not frozen: that costs 2 µs for each one made, and one is made for every call.
@dataclass(slots=True)
class Call:
    """One call: what it is about, and when it must be done.

    Attributes:
        endpoint: URL of the server.
        timeout_s: seconds that the caller allowed for all of it.
        expires_s: the end of them on the monotonic clock.
        model: empty for calls about the server.
        version: empty when the server chooses.
        request_id: empty when the caller gave none.
        headers: sent with this call besides those of the client.
        attempts: how often it has been sent, this time included.
        leavable: whether a transport's ``leave`` must be able to end the waiting for it (closing
            the transport always does); over blocking gRPC that costs some 50 µs.
    """

    endpoint: str
    timeout_s: float
    expires_s: float
    model: str = ""
    version: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    leavable: bool = False

    def remaining_s(self) -> float:
        """Give the seconds that are left.

        Raises:
            DeadlineExceededError: none are.
        """
        left = self.expires_s - time.monotonic()
        if left <= 0:
            raise faults.deadline(self)
        return left

    def about(self) -> str:
        """Name the model, version and request, as far as there are any."""
        version = f" version {self.version}" if self.version else ""
        request = f" (request {self.request_id!r})" if self.request_id else ""
        return (
            f"{self.model!r}{version} at {self.endpoint}{request}"
            if self.model
            else (f"{self.endpoint}{request}")
        )
