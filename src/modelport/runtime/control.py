"""The model control API of one running server."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from modelport.repository import pbtxt
from modelport.spec.config import ModelConfig

KEY_HEADER = "modelport-control"
RESTRICTED = ("model-repository", "shared-memory", "trace", "logging")


class Refused(Exception):
    """The server answered a control call with an error, whose reason this is."""


@dataclass(frozen=True)
class ModelState:
    """One version of a model, as the repository index has it.

    Attributes:
        state: ``READY``, ``LOADING``, ``UNLOADING``, ``UNAVAILABLE``, or empty
            when it was never loaded.
    """

    name: str
    version: str
    state: str
    reason: str


class Control:
    """Control calls over HTTP; they run side by side, one connection each.

    While a server serves, models are loaded over gRPC instead: a load over HTTP
    holds up inference (the HTTP threads do both).

    Args:
        host: name or address.
        port: of the HTTP endpoint.
        key: value of the header that opens the restricted API.
    """

    def __init__(self, host: str, port: int, key: str) -> None:
        self.host = host
        self.port = port
        self._headers = {KEY_HEADER: key}

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)

    def call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 5.0,
    ) -> Any:
        """POST to a control path and give the decoded answer.

        Raises:
            Refused: the server answered with an error.
            OSError, http.client.HTTPException: no answer.
        """
        with contextlib.closing(self._connect(timeout_s)) as link:
            link.request("POST", path, json.dumps(body or {}), self._headers)
            answer = link.getresponse()
            data = answer.read()
        if answer.status != http.client.OK:
            raise Refused(_reason(data, answer.status))
        return json.loads(data) if data else None

    def live(self, timeout_s: float = 1.0) -> bool:
        """Say whether the server answers; False also when nobody listens."""
        try:
            with contextlib.closing(self._connect(timeout_s)) as link:
                link.request("GET", "/v2/health/live")
                return link.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def load(self, model: str, *, timeout_s: float, config: ModelConfig | None = None) -> None:
        """Load a model and wait for it; raises as :meth:`call`.

        Args:
            model: its name.
            timeout_s: how long it may take.
            config: taken instead of config.pbtxt.
        """
        body = {"parameters": {"config": pbtxt.to_json(config)}} if config else None
        self.call(f"/v2/repository/models/{quote(model)}/load", body, timeout_s=timeout_s)

    def unload(self, model: str) -> None:
        """Begin to unload a model; requests in flight are still answered."""
        self.call(f"/v2/repository/models/{quote(model)}/unload")

    def index(self) -> list[ModelState]:
        """List every version of every model that the server knows of."""
        rows = self.call("/v2/repository/index")
        return [
            ModelState(
                row["name"], row.get("version", ""), row.get("state", ""), row.get("reason", "")
            )
            for row in rows
        ]


def _reason(data: bytes, status: int) -> str:
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip() or f"HTTP status {status}"
