"""What both clients do, without doing any of it: the steps of every operation."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from modelport.client import batches, binding, placement, telemetry, tensors
from modelport.client.call import Call
from modelport.client.catalogue import Catalogue
from modelport.client.control import Control
from modelport.client.dispatch import Dispatcher, Streaming
from modelport.client.endpoints import Breaker, Endpoints, Target
from modelport.client.exchange import Inference, Parameter, Reply, SequenceStep
from modelport.client.hedge import Hedge
from modelport.client.metadata import ModelMetadata
from modelport.client.options import Options
from modelport.client.result import Result
from modelport.client.retry import Retry
from modelport.client.steps import Ask, Close, Steps, Together
from modelport.client.tensors import Value
from modelport.client.url import Endpoint, parse
from modelport.errors import (
    ClientError,
    InvalidInputError,
    ModelNotFoundError,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """What a caller wants of one inference, besides the model and its inputs.

    Attributes:
        outputs: names of the outputs to answer with; ``None`` for all.
        step: the request's place in a sequence.
        idempotent: running it twice does no harm; ``None`` for what the model says.
        priority: of a model with priority levels; 0 is the model's default.
        parameters: further ones, which a model reads by name.
    """

    outputs: Sequence[str] | None = None
    step: SequenceStep | None = None
    idempotent: bool | None = None
    priority: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


PLAIN = Asked()


def asked_for(
    outputs: Iterable[str] | None = None,
    *,
    step: SequenceStep | None = None,
    idempotent: bool | None = None,
    priority: int = 0,
    parameters: Mapping[str, Parameter] | None = None,
) -> Asked:
    """Say what a caller wants, as the methods of the clients take it."""
    if outputs is None and step is None and idempotent is None and not (priority or parameters):
        return PLAIN  # as nearly always
    names = None if outputs is None else list(outputs)
    return Asked(names, step, idempotent, priority, parameters or {})


# Parameters that the protocols use themselves.
_RESERVED = frozenset(
    ("timeout", "priority", "sequence_id", "sequence_start", "sequence_end", "binary_data_output")
)

# What a server may take to give back shared memory when a client ends.
_CLOSE_S = 2.0


class Given(NamedTuple):
    """Inputs as the arguments of a model that is called like a function."""

    positional: tuple[Any, ...]
    named: Mapping[str, Value]


Inputs: TypeAlias = Mapping[str, Value] | Given


class Session:
    """The state of a client and the steps of its operations; safe to share between threads.

    Args:
        urls: one server or several.
        connect: makes the transport of an endpoint.
        options: of its connections.
        timeout_s: seconds that a call may take in all, unless it says otherwise.
        retry: when a call is repeated.
        hedge: when it is sent twice.
        breaker: when an endpoint is left alone.
        parallelism: parts of a split batch that are on their way at once.
        shared_memory: ``auto`` or ``off``.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        connect: Callable[[Endpoint, Options], Any],
        options: Options,
        *,
        timeout_s: float,
        retry: Retry | None,
        hedge: Hedge | None,
        breaker: Breaker | None,
        parallelism: int,
        shared_memory: Literal["auto", "off"],
    ) -> None:
        if shared_memory not in ("auto", "off"):
            raise ClientError(f"shared_memory must be 'auto' or 'off', got {shared_memory!r}")
        self.endpoints = _parsed(urls)
        self._timeout_s = _checked_timeout(timeout_s)
        self._parallelism = _checked_parallelism(parallelism)
        self._endpoint = str(self.endpoints[0])
        local = any(endpoint.loopback for endpoint in self.endpoints)
        self._shares_memory = shared_memory == "auto" and local
        endpoints = Endpoints(
            self.endpoints, lambda endpoint: connect(endpoint, options), breaker or Breaker()
        )
        self.dispatcher = Dispatcher(endpoints, retry or Retry(), hedge)
        self.catalogue = Catalogue(self.dispatcher)
        self.control = Control(self.dispatcher, self.catalogue)

    @property
    def shown(self) -> str:
        """The URLs, as a client takes them."""
        return ",".join(map(str, self.endpoints))

    def call(
        self,
        model: str = "",
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Begin a call: from here on its time runs."""
        seconds = self._timeout_s if timeout_s is None else _checked_timeout(timeout_s)
        trace = telemetry.trace_headers()
        return Call(
            endpoint=self._endpoint,
            timeout_s=seconds,
            expires_s=time.monotonic() + seconds,
            model=model,
            version=str(version),
            request_id=request_id,
            headers={**trace, **headers} if headers else trace,
        )

    # --- inference -------------------------------------------------------------

    def infer(self, call: Call, inputs: Inputs, asked: Asked = PLAIN) -> Steps[Result]:
        """Run a model once, in parts where the batch is larger than the model's largest."""
        cached = self.catalogue.known(call)
        try:
            return (yield from self._infer(call, cached, inputs, asked))
        except InvalidInputError:
            # The model may have been replaced since its metadata was read.
            changed = (yield from self.catalogue.relearn(call, cached)) if cached else None
            if changed is None:
                raise
        return (yield from self._infer(call, changed, inputs, asked))

    def _infer(
        self, call: Call, known: ModelMetadata | None, inputs: Inputs, asked: Asked
    ) -> Steps[Result]:
        model = known or (yield from self.catalogue.learn(call))
        inference = _checked(model, inputs, asked, whole=asked.step is not None)
        parts = batches.split(model, inference.tensors)
        if parts is not None:
            reply = yield from self._in_parts(call, model, inference, asked, parts)
        else:
            layout = placement.plan(model, inference) if self._shares_memory else None
            only = None if layout else self.dispatcher.only
            if only is None:
                reply = yield from self._send(call, model, inference, asked, layout)
            else:  # as nearly all calls of nearly all programs
                try:
                    exchange = only.transport.wire.infer(call, inference)
                    reply = yield Ask(only.transport, call, exchange)
                except ClientError as error:
                    failed = (only, error)
                    reply = yield from self._send(call, model, inference, asked, None, failed)
                else:
                    self.dispatcher.answered()
        if reply.version and model.versions and reply.version not in model.versions:
            self.catalogue.forget(call.model)
        return self.result(call, reply)

    def _in_parts(
        self,
        call: Call,
        model: ModelMetadata,
        inference: Inference,
        asked: Asked,
        parts: Sequence[batches.Slice],
    ) -> Steps[Reply]:
        logger.debug("%s: a batch in %d parts", call.about(), len(parts))
        sending = []  # each a call of its own, with the deadline of all
        for part in parts:
            one = replace(inference, tensors=part.tensors)
            layout = placement.plan(model, one) if self._shares_memory else None
            sending.append(self._send(replace(call), model, one, asked, layout))
        outcomes = yield Together(sending, self._parallelism)
        return batches.join(call, parts, outcomes)

    def _send(
        self,
        call: Call,
        model: ModelMetadata,
        inference: Inference,
        asked: Asked,
        layout: placement.Layout | None,
        failed: tuple[Target, ClientError] | None = None,
    ) -> Steps[Reply]:
        idempotent = asked.idempotent
        if idempotent is None:
            idempotent = not (asked.step or model.stateful)

        def attempt(target: Target, call: Call) -> Steps[Reply]:
            if layout is not None and target.memory.usable:
                return (yield from target.memory.infer(target.transport, call, inference, layout))
            exchange = target.transport.wire.infer(call, inference)
            reply: Reply = yield Ask(target.transport, call, exchange)
            return reply

        try:
            return (
                yield from self.dispatcher.send(
                    call,
                    attempt,
                    idempotent=idempotent,
                    served=True,
                    step=asked.step,
                    failed=failed,
                )
            )
        except ModelNotFoundError as error:
            self.catalogue.forget(call.model)
            raise (yield from self.catalogue.explained(call, error)) from error

    def result(self, call: Call, reply: Reply) -> Result:
        """Give a reply as callers see it."""
        return Result(reply.outputs, reply.version, call.request_id)

    def close(self) -> Steps[None]:
        """Give back shared memory and close every connection, whatever happens meanwhile."""
        failure: BaseException | None = None
        for target in self.dispatcher.endpoints.take_all():
            try:
                call = replace(self.call(timeout_s=_CLOSE_S), endpoint=target.name)
                yield from target.memory.close(target.transport, call)
            except BaseException as error:  # noqa: BLE001 - raised below
                failure = error
            yield Close(target.transport)
        if failure:
            raise failure

    # --- streams ---------------------------------------------------------------

    def prepare(self, call: Call, inputs: Inputs, asked: Asked = PLAIN) -> Steps[Inference]:
        """Check what is to be sent in one request: on a stream, or with others' rows."""
        cached = self.catalogue.known(call)
        try:
            model = cached or (yield from self.catalogue.learn(call))
            return _checked(model, inputs, asked, whole=True)
        except InvalidInputError:
            changed = (yield from self.catalogue.relearn(call, cached)) if cached else None
            if changed is None:
                raise
        return _checked(changed, inputs, asked, whole=True)

    def open(self, call: Call, inference: Inference) -> Steps[Streaming]:
        """Send the request of a stream and wait for the first reply."""
        try:
            return (
                yield from self.dispatcher.open(
                    call,
                    lambda wire, attempt: wire.stream(attempt, inference),
                    idempotent=not (inference.model and inference.model.stateful),
                )
            )
        except ModelNotFoundError as error:
            self.catalogue.forget(call.model)
            raise (yield from self.catalogue.explained(call, error)) from error


def _checked(model: ModelMetadata, inputs: Inputs, asked: Asked, *, whole: bool) -> Inference:
    """Check a request against the model before anything of it is sent."""
    if asked.parameters or asked.priority:
        _check_parameters(model, asked)
    if isinstance(inputs, Given):
        inputs = binding.bind(model, inputs.positional, inputs.named)
    return Inference(
        tensors.prepare(model, inputs, whole=whole),
        tensors.check_outputs(model, asked.outputs) if asked.outputs else (),
        asked.step,
        asked.priority,
        asked.parameters,
        model=model,
        binary=model.binary,
    )


def _check_parameters(model: ModelMetadata, asked: Asked) -> None:
    if not (type(asked.priority) is int and 0 <= asked.priority < 2**64):
        raise ClientError(
            f"priority must be a whole number from 0 on, got {asked.priority!r}", model=model.name
        )
    for name, value in asked.parameters.items():
        if name in _RESERVED:
            raise ClientError(
                f"the parameter {name!r} is written by the client itself",
                next_step="use timeout_s=, priority= or sequence()",
                model=model.name,
            )
        fits = type(value) is not int or -(2**63) <= value < 2**63
        if type(value) not in (str, int, float, bool) or not fits:
            raise ClientError(
                f"the parameter {name!r} of {model.name!r} must be a text, a number or a truth"
                f" value, got {value!r}",
                model=model.name,
            )


def step_of(id: int, start: bool, end: bool) -> SequenceStep | None:  # noqa: A002
    """Give a request's place in a sequence, if it has one.

    Raises:
        ClientError: it is the first or the last of no sequence.
    """
    if id:
        return SequenceStep(id, start, end)
    if start or end:
        raise ClientError("sequence_start and sequence_end need a sequence_id of 1 or more")
    return None


def _parsed(urls: str | Iterable[str]) -> list[Endpoint]:
    listed = urls.split(",") if isinstance(urls, str) else list(urls)
    endpoints = list(dict.fromkeys(parse(url.strip()) for url in listed))
    if not endpoints:
        raise ClientError("a client needs the URL of a server", next_step="Client('http://…')")
    schemes = {endpoint.protocol for endpoint in endpoints}
    if len(schemes) > 1:
        raise ClientError(
            "all endpoints of a client speak the same protocol,"
            f" got {', '.join(map(str, endpoints))}",
            next_step="give all of them as http(s):// or all as grpc(s)://",
        )
    return endpoints


def _checked_timeout(timeout_s: float) -> float:
    if not (0 < timeout_s < math.inf):
        raise ClientError(f"timeout_s must be a positive number of seconds, got {timeout_s!r}")
    return float(timeout_s)


def _checked_parallelism(parallelism: int) -> int:
    if parallelism < 1:
        raise ClientError(f"parallelism must be 1 or more, got {parallelism!r}")
    return parallelism
