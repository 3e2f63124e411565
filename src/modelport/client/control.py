"""What callers ask of servers besides inferences: what they say of themselves, and control."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.catalogue import Catalogue
from modelport.client.dispatch import Dispatcher
from modelport.client.endpoints import Target
from modelport.client.exchange import IndexEntry
from modelport.client.steps import Sleep, Steps
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    ModelNotFoundError,
    NotReadyError,
    ResolveError,
    ServerUnreachableError,
    TLSError,
)

Answer = TypeVar("Answer")

# What waiting may mend.
_PASSING = (ServerUnreachableError, ConnectionLostError, NotReadyError, ModelNotFoundError)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 0.5


class Control:
    """The steps of questions and commands.

    Args:
        dispatcher: sends them.
        catalogue: what is known of models.
    """

    def __init__(self, dispatcher: Dispatcher, catalogue: Catalogue) -> None:
        self._dispatcher, self._catalogue = dispatcher, catalogue

    def config(self, call: Call) -> Steps[dict[str, Any]]:
        """Read Triton's model configuration."""
        try:
            return (yield from self._dispatcher.read(call, lambda wire, c: wire.config(c)))
        except ModelNotFoundError as error:
            raise (yield from self._catalogue.explained(call, error)) from error

    def server(self, call: Call) -> Steps[dict[str, Any]]:
        """Read the server's metadata."""
        return (yield from self._dispatcher.read(call, lambda wire, c: wire.server(c)))

    def index(self, call: Call) -> Steps[list[IndexEntry]]:
        """Read the repository index."""
        return (yield from self._dispatcher.read(call, lambda wire, c: wire.index(c)))

    def statistics(self, call: Call) -> Steps[list[dict[str, Any]]]:
        """Read the statistics of a model, or of all, from every endpoint."""
        try:
            answers = yield from self._dispatcher.everywhere(
                call, lambda wire, c: wire.statistics(c)
            )
        except ModelNotFoundError as error:
            raise (yield from self._catalogue.explained(call, error)) from error
        return [
            {**document, "endpoint": url}
            for url, documents in answers.items()
            for document in documents
        ]

    # --- readiness -------------------------------------------------------------

    def ready(self, call: Call) -> Steps[bool]:
        """Whether any endpoint, or the call's model on it, answers inferences now."""
        return (yield from self._obstacle(call)) is None

    def wait_ready(self, call: Call) -> Steps[None]:
        """Wait until the server, or the call's model, is ready."""
        pause_s = _FIRST_WAIT_S
        while obstacle := (yield from self._obstacle(call)):
            if call.expires_s - time.monotonic() <= pause_s:
                raise faults.never_ready(call, obstacle)
            yield Sleep(pause_s)
            pause_s = min(_LONGEST_WAIT_S, pause_s * 1.5)

    def _obstacle(self, call: Call) -> Steps[ClientError | None]:
        """Say why no endpoint is ready; ``None`` when one is."""
        yield from self._dispatcher.look_up(call)
        obstacle: ClientError | None = None
        targets = list(self._dispatcher.endpoints.targets)
        for left, target in zip(range(len(targets), 0, -1), targets, strict=True):
            # One that hangs leaves time for the others.
            share_s = call.remaining_s() / left
            probe = replace(call, expires_s=time.monotonic() + share_s)
            obstacle = yield from self._not_ready(probe, target, hangs=left > 1)
            if obstacle is None:
                return None
        return obstacle

    def _not_ready(self, call: Call, target: Target, *, hangs: bool) -> Steps[ClientError | None]:
        try:
            ready = yield from self._dispatcher.probe(call, target, lambda w, c: w.ready(c))
        except (ResolveError, TLSError):
            raise
        except _PASSING as error:
            return error
        except DeadlineExceededError as error:
            if hangs:
                return error
            raise
        return None if ready else faults.not_ready(call, "it says so itself")

    # --- control ---------------------------------------------------------------

    def load(self, call: Call, config: Mapping[str, Any] | None) -> Steps[None]:
        """Load a model on every endpoint."""
        text = json.dumps(config) if config else ""
        yield from self._dispatcher.everywhere(call, lambda wire, c: wire.load(c, text))
        self._catalogue.forget(call.model)

    def unload(self, call: Call, *, dependents: bool) -> Steps[None]:
        """Unload a model on every endpoint."""
        yield from self._dispatcher.everywhere(
            call, lambda wire, c: wire.unload(c, dependents=dependents)
        )
        self._catalogue.forget(call.model)
