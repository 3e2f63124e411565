"""The client that blocks: one set of methods over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal

from modelport.client import transport
from modelport.client.call import Call
from modelport.client.driver import Driver
from modelport.client.endpoints import Breaker
from modelport.client.exchange import IndexEntry, Inference, Parameter
from modelport.client.hedge import Hedge
from modelport.client.metadata import ModelMetadata
from modelport.client.model import Model, Sequence
from modelport.client.options import TLS, HeaderSource, Options
from modelport.client.result import Result
from modelport.client.retry import Retry
from modelport.client.session import Asked, Inputs, Session, asked_for, step_of
from modelport.client.tensors import Value
from modelport.errors import ClientError


class Client:
    """Calls the models of a server, or of several alike; safe to share between threads.

    A client opens connections when it needs them and keeps them; make one and reuse it. After a
    fork, make a new one in the child (grpc cannot be carried over).

    Args:
        urls: ``http://``, ``https://``, ``grpc://`` or ``grpcs://`` with host and port; a bare
            ``host:port`` means HTTP. Several servers are given as a list, or with commas; all
            of them speak the same protocol and serve the same models. A host name with several
            addresses is several servers.
        timeout_s: seconds that a call may take in all, repeats included, unless it says
            otherwise.
        headers: sent with every request (as metadata over gRPC), for example a token; or a
            function that gives them, which is asked before each request.
        tls: what encrypted connections trust and show.
        compression: ``gzip`` or ``deflate`` for what is sent.
        keepalive_s: seconds of silence after which a connection is probed; 0 for never.
        retry: when a call is repeated; ``Retry(attempts=1)`` for never.
        hedge: when a call is sent to a second server because the first is slow; by default
            never.
        breaker: when a server that fails is left alone for a while.
        parallelism: parts of a split batch that are on their way at once.
        shared_memory: ``auto`` lets large tensors go through system shared memory where the
            server is on this machine and can; ``off`` sends them.

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
            transport.connect,
            Options(headers or {}, tls, compression, keepalive_s),
            timeout_s=timeout_s,
            retry=retry,
            hedge=hedge,
            breaker=breaker,
            parallelism=parallelism,
            shared_memory=shared_memory,
        )
        self._run = (driver := Driver()).run
        self._driver = driver

    # --- inference -------------------------------------------------------------

    def infer(
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
        """Run a model once.

        Inputs are numpy arrays, tensors of other libraries, Python numbers, lists of them,
        ``str`` or ``bytes``; see :mod:`modelport.client.tensors` for what is converted and what
        is refused. They are checked against the model before a byte of them leaves. A batch
        over the model's ``max_batch_size`` is sent in parts, side by side.

        Args:
            model: its name.
            inputs: values by tensor name; optional ones may be left out.
            outputs: which to answer with; all of them by default.
            version: the server chooses when it is empty.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for all of it, the reading of the model's metadata and repeats
                included. The server is told, so that it need not work for a caller who has
                gone.
            idempotent: whether running it twice does no harm, so that it may be repeated after
                a lost connection; by default that is so for models without state.
            priority: of a model with priority levels; 0 is the model's default.
            parameters: further ones, which a model reads by name.
            headers: sent with this request besides those of the client.
            sequence_id: of a stateful model, whose requests belong together; 0 for none.
                :meth:`sequence` chooses one by itself.
            sequence_start: this is the sequence's first request.
            sequence_end: this is its last; the server forgets the state.

        Returns:
            Arrays by output name, read-only, with the batch dimension where the model has one;
            BYTES as object arrays of ``bytes``.

        Raises:
            InvalidInputError: the model does not take these inputs or lacks such an output.
            PartialBatchError: some rows of a batch in parts have no answer.
            ModelNotFoundError, NotReadyError, OverloadedError, DeadlineExceededError,
            ServerFaultError, UnauthorizedError: the server's answer.
            ServerRefusedError, ResolveError, TLSError, ServerUnreachableError,
            ConnectionLostError, ProtocolError: there was none.
        """
        call = self._session.call(model, version, request_id, timeout_s, headers)
        asked = asked_for(
            outputs,
            step=step_of(sequence_id, sequence_start, sequence_end),
            idempotent=idempotent,
            priority=priority,
            parameters=parameters,
        )
        return self.ask(call, inputs, asked)

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
    ) -> Iterator[Result]:
        """Run a model that answers with a stream, and give its responses as they come.

        Closing the iterator early, or leaving a ``for`` loop over it, cancels the request on
        the server (over HTTP, Triton may go on computing). Over HTTP the tensors travel as
        JSON, which has place for text, numbers and flat lists of them.

        Args:
            model: its name.
            inputs: as for :meth:`infer`; checked before this returns.
            outputs: which to answer with; all of them by default.
            version: the server chooses when it is empty.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for the whole stream.
            priority: as for :meth:`infer`.
            parameters: as for :meth:`infer`.
            headers: as for :meth:`infer`.

        Yields:
            One response: arrays by output name.

        Raises:
            ClientError: as for :meth:`infer`.
        """
        call = self._session.call(model, version, request_id, timeout_s, headers)
        asked = asked_for(outputs, priority=priority, parameters=parameters)
        return self.listen(call, inputs, asked)

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
        return Sequence(self, model, str(version), id)

    def model(self, name: str, *, version: str | int = "") -> Model:
        """Give a model that can be called like a function; nothing is sent yet.

        Args:
            name: its name.
            version: the server chooses when it is empty.
        """
        return Model(self, name, str(version))

    # --- what a server says ----------------------------------------------------

    def metadata(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> ModelMetadata:
        """Ask what tensors a model has, which versions serve, and how large a batch it takes.

        Args:
            model: its name.
            version: the server chooses when it is empty.
            timeout_s: seconds for the call; the client's own by default.

        Raises:
            ModelNotFoundError, NotReadyError: the model does not serve.
            ClientError: as for :meth:`infer`.
        """
        call = self._session.call(model, version, timeout_s=timeout_s)
        return self._run(self._session.catalogue.learn(call))

    def config(self, model: str, version: str | int = "") -> dict[str, Any]:
        """Ask for Triton's model configuration, with the field names of config.pbtxt.

        Raises:
            ModelNotFoundError, NotReadyError: the model does not serve.
            ProtocolError: the server is not Triton and has no such thing.
            ClientError: as for :meth:`infer`.
        """
        return self._run(self._session.control.config(self._session.call(model, version)))

    def server(self) -> dict[str, Any]:
        """Ask for the server's name, version and extensions.

        Raises:
            ClientError: as for :meth:`infer`.
        """
        return self._run(self._session.control.server(self._session.call()))

    def index(self) -> list[IndexEntry]:
        """Ask for the repository index: each version of each model, with its state.

        Raises:
            UnauthorizedError: the server restricts it.
            ProtocolError: the server is not Triton and has no such thing.
            ClientError: as for :meth:`infer`.
        """
        return self._run(self._session.control.index(self._session.call()))

    def statistics(self, model: str = "", version: str | int = "") -> list[dict[str, Any]]:
        """Ask for Triton's statistics of one model or of all.

        Returns:
            One document for each version on each endpoint (``endpoint`` has its URL), with
            counts and nanoseconds as Triton's statistics extension names them.

        Raises:
            ClientError: as for :meth:`config`.
        """
        return self._run(self._session.control.statistics(self._session.call(model, version)))

    def ready(self, model: str | None = None, version: str | int = "") -> bool:
        """Whether a server, or one model of it, answers inferences now.

        A server that cannot be connected to is not ready. An error is raised only for what
        waiting does not mend.

        Raises:
            ResolveError, TLSError, ProtocolError, UnauthorizedError, DeadlineExceededError: as
                for :meth:`infer`.
        """
        return self._run(self._session.control.ready(self._session.call(model or "", version)))

    def wait_ready(
        self, model: str | None = None, version: str | int = "", *, timeout_s: float = 60.0
    ) -> None:
        """Wait until :meth:`ready` is true, for example while a server starts.

        Raises:
            DeadlineExceededError: it is not ready after ``timeout_s``.
            ClientError: as for :meth:`ready`.
        """
        call = self._session.call(model or "", version, timeout_s=timeout_s)
        self._run(self._session.control.wait_ready(call))

    # --- control ---------------------------------------------------------------

    def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Load a model, or load it again, on every endpoint (gRPC, and explicit model control).

        Args:
            model: its name.
            config: a configuration to use instead of the one in the repository, as
                :meth:`config` gives it.
            timeout_s: seconds for all endpoints.

        Raises:
            ProtocolError: over HTTP, where loading makes Triton's inferences wait.
            ServerFaultError: it does not load; the message has Triton's reason.
            ClientError: as for :meth:`infer`.
        """
        self._run(
            self._session.control.load(self._session.call(model, timeout_s=timeout_s), config)
        )

    def unload(
        self, model: str, *, dependents: bool = False, timeout_s: float | None = None
    ) -> None:
        """Unload a model on every endpoint (gRPC, and explicit model control).

        Args:
            model: its name.
            dependents: unload the models that it runs too, where nothing else runs them.
            timeout_s: seconds for all endpoints.

        Raises:
            ClientError: as for :meth:`load`.
        """
        call = self._session.call(model, timeout_s=timeout_s)
        self._run(self._session.control.unload(call, dependents=dependents))

    # --- the client's end ------------------------------------------------------

    def close(self) -> None:
        """Close the connections; doing so twice is harmless."""
        self._run(self._session.close())
        self._driver.close()

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
        return f"Client({self._session.shown!r})"

    # --- for Model and Sequence ------------------------------------------------

    def begin(self, model: str, version: str, request_id: str, timeout_s: float | None) -> Call:
        """Begin a call, whose time runs from here on."""
        return self._session.call(model, version, request_id, timeout_s)

    def ask(self, call: Call, inputs: Inputs, asked: Asked) -> Result:
        """Carry out an inference that has begun."""
        return self._run(self._session.infer(call, inputs, asked))

    def listen(self, call: Call, inputs: Inputs, asked: Asked) -> Iterator[Result]:
        """Carry out a stream that has begun, its inputs checked at once."""
        return self._responses(call, self._run(self._session.prepare(call, inputs, asked)))

    def _responses(self, call: Call, inference: Inference) -> Iterator[Result]:
        dispatcher = self._session.dispatcher
        stream = self._run(self._session.open(call, inference))
        failure: ClientError | None = None
        try:
            if stream.first is not None:
                yield self._session.result(call, stream.first)
            for reply in stream.rest:
                yield self._session.result(call, reply)
        except ClientError as error:
            failure = error
            raise
        finally:
            stream.rest.close()
            dispatcher.ended(stream, failure)
