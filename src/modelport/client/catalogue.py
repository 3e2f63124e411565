"""What is known of the models that servers have, and why one of them is not there."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, TypeVar

from modelport.client import faults, metadata
from modelport.client.call import Call
from modelport.client.dispatch import Dispatcher
from modelport.client.metadata import ModelMetadata
from modelport.client.steps import Steps
from modelport.errors import (
    ClientError,
    ModelNotFoundError,
    ProtocolError,
    UnauthorizedError,
)

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Catalogue:
    """Metadata of models, read once and kept until something contradicts it.

    Args:
        dispatcher: sends the questions.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._known: dict[tuple[str, str], ModelMetadata] = {}

    def known(self, call: Call) -> ModelMetadata | None:
        """Give what was read before of the call's model."""
        return self._known.get((call.model, call.version))

    def forget(self, model: str) -> None:
        """Let the next call of the model read its metadata again."""
        for key in [key for key in list(self._known) if key[0] == model]:
            self._known.pop(key, None)

    def learn(self, call: Call) -> Steps[ModelMetadata]:
        """Read a model's metadata from the server and keep it."""
        try:
            document = yield from self._dispatcher.read(call, lambda wire, c: wire.metadata(c))
            config = yield from self._config_if_any(call)
            # A server without that extension may be another than Triton, and lack more.
            server = (yield from self._server_if_any(call)) if config is None else None
        except ModelNotFoundError as error:
            raise (yield from self.explained(call, error)) from error
        try:
            model = metadata.read(document, config, server)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise faults.protocol(call, f"the metadata cannot be read ({error!r})") from error
        self._known[call.model, call.version] = model
        logger.debug("learnt %s: versions %s", call.about(), ", ".join(model.versions))
        return model

    def relearn(self, call: Call, cached: ModelMetadata) -> Steps[ModelMetadata | None]:
        """Read the metadata again; ``None`` when it is as it was, or cannot be read."""
        try:
            model = yield from self.learn(call)
        except ClientError:
            return None  # the caller's own error says more
        return None if model == cached else model

    def _config_if_any(self, call: Call) -> Steps[dict[str, Any] | None]:
        """The configuration is Triton's extension of the protocol, and may be restricted."""
        try:
            return (yield from self._dispatcher.read(call, lambda wire, c: wire.config(c)))
        except (ProtocolError, UnauthorizedError, ModelNotFoundError) as error:
            logger.debug("no configuration of %s: %s", call.about(), error.what)
            return None

    def _server_if_any(self, call: Call) -> Steps[dict[str, Any] | None]:
        try:
            return (yield from self._dispatcher.read(call, lambda wire, c: wire.server(c)))
        except (ProtocolError, UnauthorizedError, ModelNotFoundError) as error:
            logger.debug("%s does not say what it is: %s", call.endpoint, error.what)
            return None

    # --- explaining that a model is not there ----------------------------------

    def explained(self, call: Call, error: ModelNotFoundError) -> Steps[ClientError]:
        """Say which models and versions there are, or why this one does not serve."""
        explained = yield from self._explain(call, str(error.objects.get("server_message", "")))
        explained.objects["status"] = error.objects.get("status")
        explained.objects["attempts"] = error.objects.get("attempts", 1)
        return explained

    def _explain(self, call: Call, message: str) -> Steps[ClientError]:
        try:
            index = yield from self._dispatcher.read(call, lambda wire, c: wire.index(c))
        except ClientError:  # restricted, or another server than Triton
            versions = yield from self._versions(call)
            return faults.not_found(call, message, versions=versions)
        entries = [entry for entry in index if entry.name == call.model]
        serving = [entry.version for entry in entries if entry.state == "READY"]
        if entries and not serving:
            reason = entries[0].reason or "it is in the repository, and not loaded"
            return faults.not_ready(call, reason)
        return faults.not_found(call, message, {entry.name for entry in index}, serving)

    def _versions(self, call: Call) -> Steps[tuple[str, ...]]:
        if not call.version:
            return ()
        try:
            document = yield from self._dispatcher.read(
                replace(call, version=""), lambda wire, c: wire.metadata(c)
            )
        except ClientError:
            return ()
        return tuple(document.get("versions") or ())
