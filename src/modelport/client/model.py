"""A model that is called like a function, and sequences of calls that belong together."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelport.client.exchange import SequenceStep
from modelport.client.metadata import ModelMetadata
from modelport.client.result import Result
from modelport.client.session import Given, Inputs, asked_for
from modelport.client.tensors import Value

if TYPE_CHECKING:
    from modelport.client.client import Client


def given(values: tuple[Any, ...], named: Mapping[str, Value]) -> Inputs:
    """Tell a mapping of all inputs from a value for the only one."""
    if len(values) == 1 and not named and isinstance(values[0], Mapping):
        mapping: Mapping[str, Value] = values[0]
        return mapping
    return Given(values, named)


class Model:
    """One model of a client's servers; safe to share between threads.

    ::

        sentiment = client.model("sentiment")
        sentiment("lovely dress").text("label")         # the only input needs no name
        sentiment(text=["lovely dress", "fell apart"])  # any number of rows

    Args:
        client: that sends the requests, and stays the caller's to close.
        name: the model's name.
        version: the server chooses when it is empty.
    """

    def __init__(self, client: Client, name: str, version: str = "") -> None:
        self._client, self.name, self.version = client, name, version

    def __call__(
        self,
        *values: Any,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> Result:
        """Run the model once.

        Args:
            *values: the value of the model's only input, or one mapping or data frame with all
                inputs (also the way for an input that is called like one of the arguments
                below).
            outputs: which to answer with; all of them by default.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for all of it.
            **named: values by tensor name.

        Returns:
            As :meth:`Client.infer`.

        Raises:
            ClientError: as for :meth:`Client.infer`.
        """
        call = self._client.begin(self.name, self.version, request_id, timeout_s)
        return self._client.ask(call, given(values, named), asked_for(outputs))

    def stream(
        self,
        *values: Any,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> Iterator[Result]:
        """Run a model that answers with a stream, and give its responses as they come.

        Args:
            *values: as when the model is called.
            outputs: which to answer with; all of them by default.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for the whole stream.
            **named: values by tensor name.

        Yields:
            One response.

        Raises:
            ClientError: as for :meth:`Client.stream`.
        """
        call = self._client.begin(self.name, self.version, request_id, timeout_s)
        return self._client.listen(call, given(values, named), asked_for(outputs))

    def sequence(self, *, id: int = 0) -> Sequence:  # noqa: A002
        """Begin a sequence of requests; see :meth:`Client.sequence`."""
        return Sequence(self._client, self.name, self.version, id)

    def metadata(self) -> ModelMetadata:
        """Ask for the model's tensors, versions and largest batch.

        Raises:
            ClientError: as for :meth:`Client.metadata`.
        """
        return self._client.metadata(self.name, self.version)

    def ready(self) -> bool:
        """Whether the model answers inferences now; see :meth:`Client.ready`."""
        return self._client.ready(self.name, self.version)

    def __repr__(self) -> str:
        return f"Model({described(self.name, self.version)} of {self._client!r})"


class Sequence:
    """Requests that belong together, to a model that remembers what came before.

    One thread at a time. A sequence that is never ended is forgotten by the server after
    the model's own idle time. No request of it is repeated after a lost connection: the server
    may have counted it already.

    Args:
        client: that sends the requests.
        model: its name.
        version: the server chooses when it is empty.
        id: the correlation id; drawn when it is 0.
    """

    def __init__(self, client: Client, model: str, version: str = "", id: int = 0) -> None:  # noqa: A002
        self._client, self._model, self._version = client, model, version
        self.id = id or drawn_id()
        self._open = False

    def send(
        self,
        *values: Any,
        end: bool = False,
        outputs: Iterable[str] | None = None,
        request_id: str = "",
        timeout_s: float | None = None,
        **named: Value,
    ) -> Result:
        """Send the next request; the first one begins the sequence.

        Args:
            *values: as when a :class:`Model` is called.
            end: this is the last one; the one after it begins the sequence anew.
            outputs: which to answer with; all of them by default.
            request_id: shows up in the server's log and in errors.
            timeout_s: seconds for this request.
            **named: values by tensor name.

        Returns:
            Arrays by output name.

        Raises:
            ClientError: as for :meth:`Client.infer`.
        """
        call = self._client.begin(self._model, self._version, request_id, timeout_s)
        asked = asked_for(outputs, step=SequenceStep(self.id, not self._open, end))
        answer = self._client.ask(call, given(values, named), asked)
        self._open = not end
        return answer

    def __enter__(self) -> Sequence:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is sent: only a request that carries a frame can end a sequence."""


def drawn_id() -> int:
    """Draw a correlation id that no other sequence has."""
    return secrets.randbits(63) | 1


def described(name: str, version: str) -> str:
    """Name a model and the version that is asked for, if any."""
    return f"{name!r} version {version}" if version else repr(name)
