"""What a fake server knows and answers, whatever the protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelport.client.dtypes import Array
from modelport.client.testing import documents
from modelport.client.testing.content import Sent
from modelport.client.testing.failures import Failures, Hang, raise_for
from modelport.client.testing.memory import Memory
from modelport.client.testing.models import FakeModel
from modelport.client.testing.requests import Refusal, Request

_GRPC_PREFIX = "triton-grpc-protocol-"


class Core:
    """Models, requests and failures of one fake server; safe to share between threads.

    Args:
        headers: wanted from every request, as a gateway in front of a server would.
        control_headers: wanted for the repository and shared memory, as Triton's restricted APIs.
    """

    def __init__(self, headers: Mapping[str, str], control_headers: Mapping[str, str]) -> None:
        self.models: dict[str, FakeModel] = {}
        self.requests: list[Request] = []
        self.failures = Failures()
        self.memory = Memory()
        self.ready = True
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._control = {name.lower(): value for name, value in control_headers.items()}
        self._lock = threading.Lock()
        self.running: set[int] = set()

    # --- who may ask ---------------------------------------------------------------

    def admit(self, headers: Mapping[str, str]) -> None:
        """Check the headers that every request must have.

        Raises:
            Refusal: one is missing or differs.
        """
        for name, value in self._headers.items():
            if headers.get(name) != value:
                raise Refusal(f"the request lacks a valid {name!r} header", "UNAUTHENTICATED")

    def admit_control(self, headers: Mapping[str, str], *, grpc: bool = False) -> None:
        """Check the headers of the restricted APIs, which Triton prefixes over gRPC.

        Raises:
            Refusal: one is missing or differs.
        """
        for plain, value in self._control.items():
            name = f"{_GRPC_PREFIX}{plain}" if grpc else plain
            if headers.get(name) != value:
                kind, code = ("protocol", "UNAVAILABLE") if grpc else ("API", "PERMISSION_DENIED")
                raise Refusal(f"This {kind} is restricted, expecting header '{name}'", code)

    # --- models ------------------------------------------------------------------

    def find(self, name: str, version: str = "") -> FakeModel:
        """Give a model that serves.

        Raises:
            Refusal: there is none of that name or version.
        """
        if version and not version.isdecimal():
            raise Refusal(
                f"failed to get model version from specified version string '{version}' (details:"
                " stol), version should be an integral value > 0"
            )
        model = self.models.get(name)
        if model is None:
            raise Refusal(f"Request for unknown model: '{name}' is not found", "NOT_FOUND")
        if not model.loaded:
            what = f"Request for unknown model: '{name}' has no available versions"
            raise Refusal(what, "NOT_FOUND")
        if version and version not in model.metadata.versions:
            what = f"Request for unknown model: '{name}' version {version} is not found"
            raise Refusal(what, "NOT_FOUND")
        return model

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers inferences.

        Raises:
            Refusal: the version is no number.
        """
        try:
            self.find(name, version)
        except Refusal as error:
            if error.code == "NOT_FOUND":
                return False
            raise
        return True

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """Give the statistics of one model, or of all.

        Raises:
            Refusal: there is no such model or version.
        """
        if name and not (name in self.models and self.models[name].loaded):
            raise Refusal(f"requested model '{name}' is not available")
        if version and not self.is_ready(name, version):
            raise Refusal(f"requested model version is not available for model '{name}'")
        models = [self.models[name]] if name else list(self.models.values())
        return [
            documents.statistics(model, number)
            for model in models
            for number in model.metadata.versions
            if model.loaded and version in ("", number)
        ]

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Give the repository index."""
        rows = []
        for name, model in sorted(self.models.items()):
            state = (
                {"state": "READY"}
                if model.loaded
                else {"state": "UNAVAILABLE", "reason": "unloaded"}
            )
            if model.loaded or not ready:
                rows += [{"name": name, "version": v, **state} for v in model.metadata.versions]
        return rows

    def load(self, name: str) -> None:
        """Let a model serve.

        Raises:
            Refusal: there is none of that name.
        """
        if name not in self.models:
            what = f"failed to load '{name}', failed to poll from model repository"
            raise Refusal(what, "INTERNAL")
        self.models[name].loaded = True

    def unload(self, name: str) -> None:
        """Let a model serve no more; an unknown one does not already."""
        if name in self.models:
            self.models[name].loaded = False

    # --- inferences --------------------------------------------------------------

    def infer(
        self, request: Request, sent: Sequence[Sent]
    ) -> Iterator[tuple[str, dict[str, Array]]]:
        """Give version and outputs of each response, as late and as broken as was planned.

        Raises:
            Refusal: instead of a response.
            Lost, Hang, Garbage: there is to be none.
        """
        model = self.find(request.model, request.version)
        with self._lock:
            self.requests.append(request)
            self.running.add(id(request))
        try:
            model.accept(request, sent)
            failure = self.failures.take(request.model)
            delay_s = self.failures.delay_s(request.model)
            if delay_s:
                request.watch()
                request.gone.wait(delay_s)
            yield from self._responses(model, request, failure)
        except Hang:
            request.watch()
            request.gone.wait()
            raise
        finally:
            self.running.discard(id(request))
            request.watch = _nothing

    def infer_once(self, request: Request, sent: Sequence[Sent]) -> tuple[str, dict[str, Array]]:
        """Give version and outputs of the only response.

        Raises:
            Refusal, Lost, Hang, Garbage: as :meth:`infer`.
        """
        responses = list(self.infer(request, sent))
        if len(responses) != 1:
            what = f"the answer has {len(responses)} responses, and the model is not decoupled"
            raise Refusal(what, "INTERNAL")
        return responses[0]

    def left(self, request: Request) -> None:
        """Note that the client no longer waits for a request, if it still runs."""
        if id(request) in self.running:
            request.gone.set()

    @staticmethod
    def _responses(
        model: FakeModel, request: Request, failure: tuple[str, int] | None
    ) -> Iterator[tuple[str, dict[str, Array]]]:
        version = request.version or model.metadata.versions[-1]
        if failure and not failure[1]:
            raise_for(failure[0], request.model)
        for number, outputs in enumerate(model.run(request), start=1):
            yield version, outputs
            if failure and number == failure[1]:
                raise_for(failure[0], request.model)

    def end(self) -> None:
        """Let everything that waits end."""
        with self._lock:
            for request in self.requests:
                if id(request) in self.running:
                    request.gone.set()


def _nothing() -> None:
    """A request that was answered needs no watching."""
