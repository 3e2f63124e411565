"""The fake server: where it listens, which models it has, what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from modelport.client.testing import documents
from modelport.client.testing.core import Core
from modelport.client.testing.models import Answer, FakeModel, Interface
from modelport.client.testing.over_grpc import GrpcSide
from modelport.client.testing.over_http import HttpSide
from modelport.client.testing.requests import Request


class FakeServer:
    """Speaks the V2 protocol over HTTP and gRPC on free ports of this machine, without Triton.

    It serves from the beginning, in threads of this process. As a context manager it stops at
    the end of the block.

    Args:
        headers: every request must have them, or it is refused with 401 or UNAUTHENTICATED, as
            by a gateway that wants a token.
        control_headers: the model repository and shared memory want them, as Triton's
            restricted APIs do.
        http_port: where to listen; 0 for a free port.
        grpc_port: where to listen; 0 for a free port.

    Raises:
        PortInUseError: another process listens there.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        control_headers: Mapping[str, str] | None = None,
        http_port: int = 0,
        grpc_port: int = 0,
    ) -> None:
        self._core = Core(headers or {}, control_headers or {})
        self._ports = (http_port, grpc_port)
        self._sides: tuple[HttpSide, GrpcSide] | None = None
        self.start()

    @property
    def http_url(self) -> str:
        """Where it speaks HTTP; the same after a restart."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def grpc_url(self) -> str:
        """Where it speaks gRPC; the same after a restart."""
        return f"grpc://127.0.0.1:{self._ports[1]}"

    # --- models ------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        answer: Answer,
        inputs: Interface | None = None,
        outputs: Interface | None = None,
        max_batch_size: int = 0,
        optional: Sequence[str] = (),
        versions: Sequence[str | int] = ("1",),
        decoupled: bool | None = None,
        sequence: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Serve a model; one of the same name is replaced.

        ::

            def count(inputs):                # a generator function: the model is decoupled
                for number in range(inputs["to"].item()):
                    yield {"number": [number]}

            def remember(inputs, request):    # with a second parameter: the whole request
                ...
                return {"total": totals[request.sequence.id]}

        Args:
            name: the model's name.
            answer: gives the outputs by name for the inputs by name, which are arrays with the
                batch dimension, BYTES as objects of ``bytes``. It may take the :class:`Request`
                as a second argument, be a generator function, raise :class:`Refusal`, or any
                other exception, which the client sees as a fault of the model. What it gives is
                converted as a client's inputs are: lists and text will do.
            inputs: datatype and shape by name, as the model's metadata has them: -1 for any
                size, the batch in front if ``max_batch_size`` is not 0.
            outputs: in the same way.
            max_batch_size: largest batch; 0 when the model does not batch.
            optional: names of inputs that may be left out.
            versions: which serve; the last of them by default.
            decoupled: whether a request is answered by a stream; by default when ``answer`` is a
                generator function.
            sequence: whether requests must belong to sequences.
            config: a model configuration as :meth:`modelport.client.Client.config` gives it;
                instead of the interface above.

        Raises:
            ValueError: a datatype or shape is impossible.
        """
        if config is not None:
            inputs, outputs = (documents.interface(config, kind) for kind in ("input", "output"))
            max_batch_size = int(config.get("max_batch_size", 0))
            optional = [
                tensor["name"] for tensor in config.get("input", ()) if tensor.get("optional")
            ]
            sequence = sequence or bool(config.get("sequence_batching"))
            policy = config.get("model_transaction_policy") or {}
            decoupled = bool(policy.get("decoupled")) if decoupled is None else decoupled
        self._core.models[name] = FakeModel(
            name,
            inputs or {},
            outputs or {},
            answer,
            max_batch_size=max_batch_size,
            optional=optional,
            versions=[str(version) for version in versions],
            decoupled=decoupled,
            sequence=sequence,
        )

    def remove(self, name: str) -> None:
        """Serve a model no more, as if it had never been."""
        self._core.models.pop(name, None)

    @property
    def ready(self) -> bool:
        """Whether the server says that it is ready; may be set."""
        return self._core.ready

    @ready.setter
    def ready(self, value: bool) -> None:
        self._core.ready = value

    # --- what arrived, and what goes wrong ---------------------------------------

    @property
    def requests(self) -> list[Request]:
        """The requests for inferences, in the order in which they came; may be cleared."""
        return self._core.requests

    def fail(
        self,
        model: str | None = None,
        *,
        with_: str = "fault",
        times: int | None = 1,
        after: int = 0,
    ) -> None:
        """Let the next inferences fail.

        Args:
            model: of which; ``None`` for every model.
            with_: one of :data:`FAILURES`: ``overloaded``, ``unavailable``, ``unloaded``,
                ``invalid``, ``fault``, ``dead``, ``queue_timeout``, ``unauthenticated``,
                ``lost`` (the connection breaks), ``hang`` (no answer comes), ``garbage``.
            times: how many; ``None`` for all until :meth:`heal`.
            after: of a stream, how many responses come before.

        Raises:
            ValueError: there is no such way to fail.
        """
        self._core.failures.plan(model, with_, times, after)

    def delay(self, model: str | None = None, *, seconds: float) -> None:
        """Let the answers of a model, or of every model, come later; 0 ends that."""
        self._core.failures.delay(model, seconds)

    def heal(self) -> None:
        """Forget the failures and delays that are planned."""
        self._core.failures.clear()

    # --- start and stop ----------------------------------------------------------

    def stop(self) -> None:
        """Break every connection and listen no more; doing so twice is harmless.

        As when a server ends, shared memory that clients registered is forgotten.
        """
        if self._sides is None:
            return
        sides, self._sides = self._sides, None
        self._core.end()
        for side in sides:
            side.stop()
        self._core.memory.unregister()

    def start(self) -> None:
        """Listen again, on the same ports, with the same models.

        Raises:
            PortInUseError: another process listens there meanwhile.
        """
        if self._sides is not None:
            return
        http = HttpSide(self._core, self._ports[0])
        try:
            grpc = GrpcSide(self._core, self._ports[1])
        except BaseException:
            http.stop()
            raise
        self._sides = (http, grpc)
        self._ports = (http.port, grpc.port)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "" if self._sides else ", stopped"
        return f"FakeServer({self.http_url}, {self.grpc_url}{state})"
