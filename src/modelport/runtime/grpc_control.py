"""Control calls to a server that serves: over gRPC, where they do not hold up inference."""

from __future__ import annotations

from types import TracebackType

from modelport.repository import pbtxt
from modelport.runtime.control import KEY_HEADER, Refused
from modelport.spec.config import ModelConfig


class GrpcControl:
    """Load and unload models of a serving server.

    Args:
        address: ``host:port`` of the gRPC endpoint.
        key: opens its control API.
    """

    def __init__(self, address: str, key: str) -> None:
        # Imported late: grpc takes a quarter of a second that a plain start can do without.
        from tritonclient import grpc

        self._client = grpc.InferenceServerClient(address)
        self._error = grpc.InferenceServerException
        self._headers = {f"triton-grpc-protocol-{KEY_HEADER}": key}

    def __enter__(self) -> GrpcControl:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def load(self, model: str, *, timeout_s: float, config: ModelConfig | None = None) -> None:
        """Load a model, or load it anew, and wait for it.

        Args:
            model: its name.
            timeout_s: how long it may take.
            config: taken instead of config.pbtxt. Triton keeps it for later loads that bring
                none, so that who gives one once gives one always.

        Raises:
            Refused: it did not load in time; the message is the server's.
        """
        text = pbtxt.to_json(config) if config else None
        try:
            self._client.load_model(
                model, headers=self._headers, config=text, client_timeout=timeout_s
            )
        except self._error as error:
            raise Refused(error.message()) from error

    def unload(self, model: str, *, timeout_s: float) -> None:
        """Begin to unload a model; raises as :meth:`load`."""
        try:
            self._client.unload_model(model, headers=self._headers, client_timeout=timeout_s)
        except self._error as error:
            raise Refused(error.message()) from error
