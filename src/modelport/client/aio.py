"""The client for asyncio: the methods of :class:`~modelport.client.Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar
from weakref import WeakSet

from modelport.client import aio_driver, transport
from modelport.client.call import Call
from modelport.client.endpoints import Breaker
from modelport.client.exchange import IndexEntry, Inference, Parameter, SequenceStep
from modelport.client.hedge import Hedge
from modelport.client.metadata import ModelMetadata
from modelport.client.microbatch import Collector, MicroBatch
from modelport.client.model import described, drawn_id, given
from modelport.client.options import TLS, HeaderSource, Options
from modelport.client.result import Result
from modelport.client.retry import Retry
from modelport.client.session import Asked, Inputs, Session, asked_for, step_of
from modelport.client.steps import Steps
from modelport.client.tensors import Value
from modelport.errors import ClientError, InvalidInputError

Answer = TypeVar("Answer")


class AsyncClient:
    """Calls the models of a server, or of several alike, from one event loop.

    Cancelling a task that waits for an answer cancels its request, over gRPC on the server too.

    Args:
        urls: as for :class:`~modelport.client.Client`, and so are all other arguments.
        timeout_s: seconds that a call may take in all.
        headers: sent with every request.
        tls: what encrypted connections trust and show.
        compression: of what is sent.
        keepalive_s: seconds of silence after which a connection is probed.
        retry: when a call is repeated.
        hedge: when a call is sent twice.
        breaker: when a server is left alone.
        parallelism: parts of a split batch that are on their way at once.
        shared_memory: whether large tensors may go through shared memory.

    Raises:
        ClientError: a URL, a header or a setting is malformed. Nothing is sent yet.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        timeout_s: float = 30.0,
        headers: HeaderSource | None = None,
        tls: TLS | None = None,
        compression: Literal["gzip", "deflate"] | None = None,
        keepalive_s: float = 60.0,
        retry: Retry | None = None,
        hedge: Hedge | None = None,
        breaker: Breaker | None = None,
        parallelism: int = 4,
        shared_memory: Literal["auto", "off"] = "auto",
    ) -> None:
        self._session = Session(
            urls,
            transport.connect_async,
            Options(headers or {}, tls, compression, keepalive_s),
            timeout_s=timeout_s,
            retry=retry,
            hedge=hedge,
            breaker=breaker,
            parallelism=parallelism,
            shared_memory=shared_memory,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._collectors: WeakSet[Collector] = WeakSet()

    # --- inference -------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] | None = None,
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
        idempotent: bool | None = None,
        priority: int = 0,
        parameters: Mapping[str, Parameter] | None = None,
        headers: Mapping[str, str] | None = None,
        sequence_id: int = 0,
        sequence_start: bool = False,
        sequence_end: bool = False,
    ) -> Result:
        """Run a model once; as :meth:`Client.infer <modelport.client.Client.infer>`."""
        call = self._session.call(model, version, request_id, timeout_s, headers)
        asked = asked_for(
            outputs,
            step=step_of(sequence_id, sequence_start, sequence_end),
            idempotent=idempotent,
            priority=priority,
            parameters=parameters,
        )
        return await self._run(self._session.infer(call, inputs, asked))

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] | None = None,
        version: str | int = "",
        request_id: str = "",
        timeout_s: float | None = None,
        priority: int = 0,
        parameters: Mapping[str, Parameter] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Give the responses of a stream as they come.

        As :meth:`Client.stream <modelport.client.Client.stream>`; the inputs are checked when the
        first response is asked for. A loop that is left early is best wrapped in
        :func:`contextlib.aclosing`, which cancels the request at once.
        """
        call = self._session.call(model, version, request_id, timeout_s, headers)
        asked = asked_for(outputs, priority=priority, parameters=parameters)
        return self.listen(call, inputs, asked)

    def sequence(self, model: str, *, version: str | int = "", id: int = 0) -> AsyncSequence:  # noqa: A002
        """Begin a sequence of requests to a stateful model."""
        return AsyncSequence(self, model, str(version), id)

    def model(
        self, name: str, *, version: str | int = "", micro_batch: MicroBatch | None = None
    ) -> AsyncModel:
        """Give a model that can be called like a function; nothing is sent yet.

        Args:
            name: its name.
            version: the server chooses when it is empty.
            micro_batch: collect the requests of tasks that run side by side, and send them
                together.
        """
        collector = Collector(micro_batch, self.ask) if micro_batch else None
        if collector:
            self._collectors.add(collector)
        return AsyncModel(self, name, str(version), collector)

    # --- what a server says ----------------------------------------------------

    async def metadata(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> ModelMetadata:
        """Ask what tensors a model has, which versions serve, and how large a batch it takes."""
        call = self._session.call(model, version, timeout_s=timeout_s)
        return await self._run(self._session.catalogue.learn(call))

    async def config(self, model: str, version: str | int = "") -> dict[str, Any]:
        """Ask for Triton's model configuration, with the field names of config.pbtxt."""
        return await self._run(self._session.control.config(self._session.call(model, version)))

    async def server(self) -> dict[str, Any]:
        """Ask for the server's name, version and extensions."""
        return await self._run(self._session.control.server(self._session.call()))

    async def index(self) -> list[IndexEntry]:
        """Ask for the repository index: each version of each model, with its state."""
        return await self._run(self._session.control.index(self._session.call()))

    async def statistics(self, model: str = "", version: str | int = "") -> list[dict[str, Any]]:
        """Ask for Triton's statistics of one model or of all, from every endpoint."""
        return await self._run(self._session.control.statistics(self._session.call(model, version)))

    async def ready(self, model: str | None = None, version: str | int = "") -> bool:
        """Whether a server, or one model of it, answers inferences now."""
        return await self._run(
            self._session.control.ready(self._session.call(model or "", version))
        )

    async def wait_ready(
        self, model: str | None = None, version: str | int = "", *, timeout_s: float = 60.0
    ) -> None:
        """Wait until :meth:`ready` is true, for example while a server starts."""
        call = self._session.call(model or "", version, timeout_s=timeout_s)
        await self._run(self._session.control.wait_ready(call))

    # --- control ---------------------------------------------------------------

    async def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Load a model, or load it again, on every endpoint (gRPC only)."""
        await self._run(
            self._session.control.load(self._session.call(model, timeout_s=timeout_s), config)
        )

    async def unload(
        self, model: str, *, dependents: bool = False, timeout_s: float | None = None
    ) -> None:
        """Unload a model on every endpoint (gRPC only)."""
        call = self._session.call(model, timeout_s=timeout_s)
        await self._run(self._session.control.unload(call, dependents=dependents))

    # --- the client's end ------------------------------------------------------

    async def close(self) -> None:
        """Close the connections; doing so twice is harmless."""
        for collector in list(self._collectors):
            await collector.close()
        await self._run(self._session.close())

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._session.shown!r})"

    # --- for AsyncModel and AsyncSequence --------------------------------------

    def begin(self, model: str, version: str, request_id: str, timeout_s: float | None) -> Call:
        """Begin a call, whose time runs from here on."""
        return self._session.call(model, version, request_id, timeout_s)

    async def ask(self, call: Call, inputs: Inputs, asked: Asked) -> Result:
        """Carry out an inference that has begun."""
        return await self._run(self._session.infer(call, inputs, asked))

    async def prepare(self, call: Call, inputs: Inputs, asked: Asked) -> Inference:
        """Check what an inference sends."""
        return await self._run(self._session.prepare(call, inputs, asked))

    async def listen(
        self, call: Call, inputs: Inputs, asked: Asked
    ) -> AsyncGenerator[Result, None]:
        """Carry out a stream that has begun."""
        inference = await self.prepare(call, inputs, asked)
        stream = await self._run(self._session.open(call, inference))
        failure: ClientError | None = None
        try:
            if stream.first is not None:
                yield self._session.result(call, stream.first)
            async for reply in stream.rest:
                yield self._session.result(call, reply)
        except ClientError as error:
            failure = error
            raise
        finally:
            self._session.dispatcher.ended(stream, failure)
            await stream.rest.aclose()

    def _run(self, steps: Steps[Answer]) -> Coroutine[Any, Any, Answer]:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise ClientError(
                    "this AsyncClient belongs to another event loop",
                    cause="its connections were opened there, and cannot be used from here",
                    next_step="make one AsyncClient in each loop: inside the function that"
                    " asyncio.run() runs",
                )
            self._loop = loop
        return aio_driver.run(steps)


class AsyncModel:
    """One model of an :class:`AsyncClient`'s servers, called like a function and awaited.

    Args:
        client: that sends the requests, and stays the caller's to close.
        name: the model's name.
        version: the server chooses when it is empty.
        collector: what sends the requests of several callers together.
    """

    def __init__(
        self, client: AsyncClient, name: str, version: str = "", collector: Collector | None = None
    ) -> None:
        self._client, self.name, self.version = client, name, version
        self._collector = collector

    async def __call__(
        self,
        *values: Any,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> Result:
        """Run the model once; as :meth:`Model.__call__ <modelport.client.Model.__call__>`."""
        call = self._client.begin(self.name, self.version, request_id, timeout_s)
        inputs, asked = given(values, named), asked_for(outputs)
        if self._collector is None:
            return await self._client.ask(call, inputs, asked)
        try:
            inference = await self._client.prepare(call, inputs, asked)
        except InvalidInputError:  # it may be a batch that is to be split
            return await self._client.ask(call, inputs, asked)
        most = inference.model.max_batch_size if inference.model else 0
        if not (most and inference.tensors):
            return await self._client.ask(call, inputs, asked)
        return await self._collector.ask(call, inference, most)

    def stream(
        self,
        *values: Any,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> AsyncGenerator[Result, None]:
        """Give the responses of a stream as they come."""
        call = self._client.begin(self.name, self.version, request_id, timeout_s)
        return self._client.listen(call, given(values, named), asked_for(outputs))

    def sequence(self, *, id: int = 0) -> AsyncSequence:  # noqa: A002
        """Begin a sequence of requests."""
        return AsyncSequence(self._client, self.name, self.version, id)

    async def metadata(self) -> ModelMetadata:
        """Ask for the model's tensors, versions and largest batch."""
        return await self._client.metadata(self.name, self.version)

    async def ready(self) -> bool:
        """Whether the model answers inferences now."""
        return await self._client.ready(self.name, self.version)

    def __repr__(self) -> str:
        return f"AsyncModel({described(self.name, self.version)} of {self._client!r})"


class AsyncSequence:
    """Requests that belong together, sent one after the other.

    Args:
        client: that sends the requests.
        model: its name.
        version: the server chooses when it is empty.
        id: the correlation id; drawn when it is 0.
    """

    def __init__(self, client: AsyncClient, model: str, version: str = "", id: int = 0) -> None:  # noqa: A002
        self._client, self._model, self._version = client, model, version
        self.id = id or drawn_id()
        self._open = False

    async def send(
        self,
        *values: Any,
        end: bool = False,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> Result:
        """Send the next request; the first one begins the sequence, ``end`` ends it."""
        call = self._client.begin(self._model, self._version, request_id, timeout_s)
        asked = asked_for(outputs, step=SequenceStep(self.id, not self._open, end))
        answer = await self._client.ask(call, given(values, named), asked)
        self._open = not end
        return answer

    async def __aenter__(self) -> AsyncSequence:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is sent: only a request that carries a frame can end a sequence."""
