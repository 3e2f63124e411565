"""The face of a generated wrapper for asyncio, as far as it is the same for every model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from modelport.client.typed import items
from modelport.client.typed.items import Group, Item, Row
from modelport.client.typed.model import Model
from modelport.errors import ClientError

if TYPE_CHECKING:
    from modelport.client import AsyncClient
    from modelport.client.tensors import Array, Value

Result = TypeVar("Result")
Self = TypeVar("Self", bound="AsyncWrapper")
SelfSequence = TypeVar("SelfSequence", bound="AsyncSequenceWrapper")


class AsyncWrapper:
    """Calls one model over HTTP or gRPC from one event loop.

    The first call asks the server whether its model has the tensors that the wrapper was made
    for; later ones do not.

    Args:
        server: a URL (``http://``, ``https://``, ``grpc://``, ``grpcs://``), by default that in
            ``MODELPORT_URL`` or Triton's usual one on this machine; or a client, which stays the
            caller's to close.
        version: of the model; the server chooses when it is empty.
    """

    model: ClassVar[Model]

    def __init__(self, server: str | AsyncClient | None = None, *, version: str | int = "") -> None:
        from modelport.client import AsyncClient

        self._owned = not isinstance(server, AsyncClient)
        self._client = (
            server
            if isinstance(server, AsyncClient)
            else AsyncClient(server or self.model.default_url)
        )
        self._version = str(version)
        self._checked = False

    async def close(self) -> None:
        """Close the connections, unless the client was given."""
        if self._owned:
            await self._client.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r})"

    # --- what generated methods are made of --------------------------------------

    async def _check(self, timeout_s: float | None) -> float | None:
        """Compare the tensors, once; gives the seconds that this leaves for the call itself."""
        if self._checked:
            return timeout_s
        call = self._client.begin(self.model.name, self._version, "", timeout_s)
        served = await self._client.metadata(call.model, call.version, timeout_s=call.timeout_s)
        self.model.check(served, repr(self._client))
        self._checked = True
        return call.remaining_s()

    async def _ask(self, item: Item, timeout_s: float | None) -> Row:
        answer = await self._infer(items.single(self.model, item), timeout_s)
        return Row(self.model, answer, 0 if self.model.batching else None)

    async def _ask_all(self, many: Iterable[Item], timeout_s: float | None) -> list[Row]:
        found: dict[int, Row] = {}
        for group in items.grouped(self.model, many):
            answer = await self._infer_group(group, timeout_s)
            found |= {place: Row(self.model, answer, i) for i, place in enumerate(group.places)}
        return [found[place] for place in range(len(found))]

    async def _infer_group(self, group: Group, timeout_s: float | None) -> dict[str, Array]:
        try:
            return await self._infer(group.inputs, timeout_s)
        except ClientError as error:
            # Rows that it names are those of the request, which may hold some items only.
            error.objects["items"] = group.places
            raise

    async def _infer(self, inputs: dict[str, Value], timeout_s: float | None) -> dict[str, Array]:
        timeout_s = await self._check(timeout_s)
        answer: dict[str, Array] = await self._client.infer(
            self.model.name,
            inputs,
            outputs=self.model.output_names,
            version=self._version,
            timeout_s=timeout_s,
        )
        return answer

    async def _stream(
        self, item: Item, read: Callable[[Row], Result], timeout_s: float | None
    ) -> AsyncIterator[Result]:
        inputs = items.single(self.model, item)
        timeout_s = await self._check(timeout_s)
        index = 0 if self.model.batching else None
        answers: Any = self._client.stream(
            self.model.name, inputs, version=self._version, timeout_s=timeout_s
        )
        try:
            async for answer in answers:
                yield read(Row(self.model, answer, index))
        finally:  # leaving a loop over this closes it, but not what it loops over
            await answers.aclose()


class AsyncSequenceWrapper:
    """Requests that belong together, to a model that remembers what came before.

    One task at a time.

    Args:
        wrapper: that sends the requests.
    """

    def __init__(self, wrapper: AsyncWrapper) -> None:
        self._wrapper = wrapper
        self._sequence = wrapper._client.sequence(wrapper.model.name, version=wrapper._version)

    async def __aenter__(self: SelfSequence) -> SelfSequence:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is sent: only a request can end a sequence."""

    async def _send(self, item: Item, *, end: bool, timeout_s: float | None) -> Row:
        model = self._wrapper.model
        inputs = items.single(model, item)
        timeout_s = await self._wrapper._check(timeout_s)
        answer: dict[str, Any] = await self._sequence.send(
            inputs, end=end, outputs=model.output_names, timeout_s=timeout_s
        )
        return Row(model, answer, 0 if model.batching else None)
