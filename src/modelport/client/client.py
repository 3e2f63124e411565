"""The client: one set of methods over HTTP and gRPC."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from modelport.client import faults, metadata, tensors, transport
from modelport.client.exchange import Answer, Exchange, Inference, SequenceStep
from modelport.client.faults import Call
from modelport.client.metadata import ModelMetadata
from modelport.client.options import Options
from modelport.client.tensors import Array, Value
from modelport.client.url import parse
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    ProtocolError,
    ServerRefusedError,
    UnauthorizedError,
)

logger = logging.getLogger(__name__)


class Client:
    """Calls the models of one server; safe to share between threads.

    A client opens connections when it needs them and keeps them; make one and reuse it. After a
    fork, make a new one in the child (grpc cannot be carried over).

    Args:
        url: ``http://``, ``https://``, ``grpc://`` or ``grpcs://`` with host and port; a bare
            ``host:port`` means HTTP.
        timeout_s: seconds that a call may take in all, unless it says otherwise.
        headers: sent with every request (as metadata over gRPC), for example a token.

    Raises:
        ClientError: the URL or a header is malformed. Nothing is sent yet.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> None:
        self._endpoint = str(parse(url))
        self._timeout_s = _checked_timeout(timeout_s)
        self._transport = transport.connect(parse(url), Options(headers=headers or {}))
        self._wire = self._transport.wire
        self._known: dict[tuple[str, str], ModelMetadata] = {}

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] | None = None,
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
        sequence_id: int = 0,
        sequence_start: bool = False,
        sequence_end: bool = False,
    ) -> dict[str, Array]:
        """Run a model once.

        Inputs are numpy arrays, Python numbers, lists of them, ``str`` or ``bytes``; see
        :mod:`modelport.client.tensors` for what is converted and what is refused. They are
        checked against the model before a byte of them leaves.

        Args:
            model: its name.
            inputs: values by tensor name; optional ones may be left out.
            outputs: which to answer with; all of them by default.
            version: the server chooses when it is empty.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for all of it, the reading of the model's metadata included. The
                server is told, so that it need not work for a caller who has gone.
            sequence_id: of a stateful model, whose requests belong together; 0 for none.
                :meth:`sequence` chooses one by itself.
            sequence_start: this is the sequence's first request.
            sequence_end: this is its last; the server forgets the state.

        Returns:
            Arrays by output name, read-only, with the batch dimension where the model has one;
            BYTES as object arrays of ``bytes``.

        Raises:
            InvalidInputError: the model does not take these inputs or lacks such an output.
            ModelNotFoundError, NotReadyError, OverloadedError, DeadlineExceededError,
            ServerFaultError, UnauthorizedError: the server's answer.
            ServerRefusedError, ResolveError, ServerUnreachableError, ConnectionLostError,
            ProtocolError: there was none.
        """
        call = self._call(model, version, request_id, timeout_s)
        wanted = None if outputs is None else list(outputs)
        step = SequenceStep(sequence_id, sequence_start, sequence_end) if sequence_id else None
        cached = self._known.get((call.model, call.version))
        try:
            return self._send(call, cached or self._learn(call), inputs, wanted, step)
        except InvalidInputError:
            # The model may have been replaced since its metadata was read.
            changed = self._relearn(call, cached) if cached else None
            if changed is None:
                raise
            return self._send(call, changed, inputs, wanted, step)

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] | None = None,
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[dict[str, Array]]:
        """Run a model that answers with a stream, and give its responses as they come (gRPC).

        Closing the iterator early, or leaving a ``for`` loop over it, cancels the request on
        the server.

        Args:
            model: its name.
            inputs: as for :meth:`infer`.
            outputs: which to answer with; all of them by default.
            version: the server chooses when it is empty.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for the whole stream.

        Yields:
            One response: arrays by output name.

        Raises:
            ProtocolError: the client speaks HTTP, which has no streams of tensors.
            ClientError: as for :meth:`infer`.
        """
        call = self._call(model, version, request_id, timeout_s)
        known = self._known.get((call.model, call.version)) or self._learn(call)
        ready = tensors.prepare(known, inputs)
        wanted = tensors.check_outputs(known, list(outputs) if outputs is not None else ())
        try:
            exchange = self._wire.stream(call, Inference(ready, wanted, model=known))
            for reply in self._transport.stream(call, exchange):
                yield reply.outputs
        except ModelNotFoundError as error:
            self._known.pop((call.model, call.version), None)
            raise self._explained(call, error) from error

    def sequence(self, model: str, *, version: str | int = "", id: int = 0) -> Sequence:  # noqa: A002
        """Begin a sequence of requests to a stateful model.

        ::

            with client.sequence("activity") as sequence:
                for frame in frames:
                    answer = sequence.send({"frame": frame})

        Args:
            model: its name.
            version: the server chooses when it is empty.
            id: 1 to 2⁶⁴ - 1, different from that of every other sequence; drawn by default.
        """
        return Sequence(self, model, str(version), id or secrets.randbits(63) | 1)

    def metadata(self, model: str, version: str | int = "") -> ModelMetadata:
        """Ask what tensors a model has, which versions serve, and how large a batch it takes.

        Raises:
            ModelNotFoundError, NotReadyError: the model does not serve.
            ClientError: as for :meth:`infer`.
        """
        return self._learn(self._call(model, version))

    def config(self, model: str, version: str | int = "") -> dict[str, Any]:
        """Ask for Triton's model configuration, with the field names of config.pbtxt.

        Raises:
            ModelNotFoundError, NotReadyError: the model does not serve.
            ProtocolError: the server is not Triton and has no such thing.
            ClientError: as for :meth:`infer`.
        """
        call = self._call(model, version)
        try:
            return self._ask(call, self._wire.config)
        except ModelNotFoundError as error:
            raise self._explained(call, error) from error

    def ready(self, model: str | None = None, version: str | int = "") -> bool:
        """Whether the server, or one model of it, answers inferences now.

        A server that cannot be connected to is not ready. An error is raised only for what
        waiting does not mend.

        Raises:
            ResolveError, ProtocolError, UnauthorizedError, DeadlineExceededError: as for
                :meth:`infer`.
        """
        call = self._call(model or "", version)
        try:
            return self._ask(call, self._wire.ready)
        except (ServerRefusedError, ConnectionLostError, NotReadyError, ModelNotFoundError):
            return False

    def close(self) -> None:
        """Close the connections; doing so twice is harmless."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._endpoint!r})"

    # --- the parts of a call ---------------------------------------------------

    def _ask(self, call: Call, operation: Callable[[Call], Exchange[Answer]]) -> Answer:
        return self._transport.ask(call, operation(call))

    def _call(
        self,
        model: str,
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> Call:
        seconds = self._timeout_s if timeout_s is None else _checked_timeout(timeout_s)
        return Call(
            endpoint=self._endpoint,
            timeout_s=seconds,
            expires_s=time.monotonic() + seconds,
            model=model,
            version=str(version),
            request_id=request_id,
        )

    def _send(
        self,
        call: Call,
        model: ModelMetadata,
        inputs: Mapping[str, Value],
        outputs: list[str] | None,
        step: SequenceStep | None,
    ) -> dict[str, Array]:
        ready = tensors.prepare(model, inputs)
        wanted = tensors.check_outputs(model, outputs or ())
        try:
            reply = self._transport.ask(
                call, self._wire.infer(call, Inference(ready, wanted, step))
            )
        except ModelNotFoundError as error:
            self._known.pop((call.model, call.version), None)
            raise self._explained(call, error) from error
        if reply.version and model.versions and reply.version not in model.versions:
            self._known.pop((call.model, call.version), None)
        return reply.outputs

    def _learn(self, call: Call) -> ModelMetadata:
        """Read a model's metadata from the server and keep it."""
        try:
            document = self._ask(call, self._wire.metadata)
        except ModelNotFoundError as error:
            raise self._explained(call, error) from error
        try:
            model = metadata.read(document, self._config_if_any(call))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise faults.protocol(call, f"the metadata cannot be read ({error!r})") from error
        self._known[call.model, call.version] = model
        logger.debug("learnt %s: versions %s", call.about(), ", ".join(model.versions))
        return model

    def _relearn(self, call: Call, cached: ModelMetadata) -> ModelMetadata | None:
        """Read the metadata again; ``None`` when it is as it was, or cannot be read."""
        try:
            model = self._learn(call)
        except ClientError:
            return None  # the caller's own error says more
        return None if model == cached else model

    def _config_if_any(self, call: Call) -> dict[str, Any] | None:
        """The configuration is Triton's extension of the protocol, and may be restricted."""
        try:
            return self._ask(call, self._wire.config)
        except (ProtocolError, UnauthorizedError, ModelNotFoundError) as error:
            logger.debug("no configuration of %s: %s", call.about(), error.what)
            return None

    # --- explaining that a model is not there ----------------------------------

    def _explained(self, call: Call, error: ModelNotFoundError) -> ClientError:
        """Say which models and versions there are, or why this one does not serve."""
        explained = self._explain(call, str(error.objects["server_message"]))
        explained.objects["status"] = error.objects.get("status")
        return explained

    def _explain(self, call: Call, message: str) -> ClientError:
        try:
            index = self._ask(call, self._wire.index)
        except ClientError:  # restricted, or another server than Triton
            return faults.not_found(call, message, versions=self._versions(call))
        entries = [entry for entry in index if entry.name == call.model]
        serving = [entry.version for entry in entries if entry.state == "READY"]
        if entries and not serving:
            reason = entries[0].reason or "it is in the repository, and not loaded"
            return faults.not_ready(call, reason)
        return faults.not_found(call, message, {entry.name for entry in index}, serving)

    def _versions(self, call: Call) -> tuple[str, ...]:
        if not call.version:
            return ()
        try:
            document = self._ask(replace(call, version=""), self._wire.metadata)
        except ClientError:
            return ()
        return tuple(document.get("versions", ()))


class Sequence:
    """Requests that belong together, to a model that remembers what came before.

    One thread at a time. A sequence that is never ended is forgotten by the server after
    the model's own idle time.

    Args:
        client: that sends the requests.
        model: its name.
        version: the server chooses when it is empty.
        id: the correlation id.
    """

    def __init__(self, client: Client, model: str, version: str, id: int) -> None:  # noqa: A002
        self._client, self._model, self._version = client, model, version
        self.id = id
        self._open = False

    def send(
        self,
        inputs: Mapping[str, Value],
        *,
        end: bool = False,
        outputs: Iterable[str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Array]:
        """Send the next request; the first one begins the sequence.

        Args:
            inputs: as for :meth:`Client.infer`.
            end: this is the last one; the one after it begins the sequence anew.
            outputs: which to answer with; all of them by default.
            timeout_s: seconds for this request.

        Returns:
            Arrays by output name.

        Raises:
            ClientError: as for :meth:`Client.infer`.
        """
        answer = self._client.infer(
            self._model,
            inputs,
            outputs=outputs,
            version=self._version,
            timeout_s=timeout_s,
            sequence_id=self.id,
            sequence_start=not self._open,
            sequence_end=end,
        )
        self._open = not end
        return answer

    def __enter__(self) -> Sequence:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is sent: only a request that carries a frame can end a sequence."""


def _checked_timeout(timeout_s: float) -> float:
    if not (0 < timeout_s < math.inf):
        raise ClientError(f"timeout_s must be a positive number of seconds, got {timeout_s!r}")
    return float(timeout_s)
