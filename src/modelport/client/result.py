"""What a model answered: arrays by name, with what is known of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from modelport.client.faults import near
from modelport.client.tensors import DTYPES, Array
from modelport.errors import ClientError

_SHOWN_OUTPUTS = 20
_SHOWN_VALUES = 4
_SHOWN_CHARACTERS = 60
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Result(dict[str, Array]):
    """The outputs of one answer: a dictionary of arrays, which are attributes as well.

    ::

        result = client.infer("sentiment", {"text": ["lovely", "awful"]})
        result.positive           # float32[2, 1], the same as result["positive"]
        result.strings("label")   # BYTES as an array of str
        result.model_version      # which version answered

    An output with the name of a method of ``dict``, such as ``values``, is reached by
    ``result["values"]`` alone. Results are equal when their arrays are: dtypes, shapes and
    values, NaN being equal to NaN.

    Args:
        outputs: arrays by tensor name.
        model_version: the version that answered; empty when the server does not say.
        request_id: the caller's id of the request; empty when there was none.
    """

    __slots__ = ("model_version", "request_id")
    __hash__ = None

    model_version: str
    request_id: str

    def __init__(
        self,
        outputs: Mapping[str, Array] | Iterable[tuple[str, Array]] = (),
        model_version: str = "",
        request_id: str = "",
    ) -> None:
        self.update(outputs)
        self.model_version = model_version
        self.request_id = request_id

    def text(self, name: str) -> str:
        """Give the text of a BYTES output that has exactly one element.

        Raises:
            ClientError: the output has more elements or none, is not BYTES, or is not UTF-8.
            KeyError: there is no such output.
        """
        array = self._bytes(name)
        if array.size != 1:
            raise ClientError(
                f"output {name!r} holds {array.size} texts: its shape is {list(array.shape)}",
                next_step=f"result.strings({name!r}) gives all of them",
                tensor=name,
            )
        return self._decoded(name, array.item())

    def strings(self, name: str) -> npt.NDArray[np.object_]:
        """Give a BYTES output as ``str``, decoded as UTF-8, in an array of the same shape.

        Raises:
            ClientError: the output is not BYTES, or not UTF-8.
            KeyError: there is no such output.
        """
        array = self._bytes(name)
        decoded = np.empty(array.size, np.object_)
        decoded[:] = [self._decoded(name, item) for item in array.flat]
        return decoded.reshape(array.shape)

    def _bytes(self, name: str) -> Array:
        array = self[name]
        if array.dtype != np.object_:
            raise ClientError(
                f"output {name!r} is {_datatype(array)} and not BYTES",
                next_step=f"result[{name!r}] is its array",
                tensor=name,
            )
        return array

    @staticmethod
    def _decoded(name: str, item: bytes) -> str:
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise ClientError(
                f"output {name!r} is no text in UTF-8: {error.reason} at byte {error.start}",
                next_step=f"result[{name!r}] has the bytes",
                tensor=name,
            ) from error

    # --- names ---------------------------------------------------------------

    def __getattr__(self, name: str) -> Array:
        # Python asks here for what no attribute and no method is called.
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0], name=name, obj=self) from None

    def __missing__(self, name: str) -> Array:
        hint = near(name, self) if isinstance(name, str) else None
        names = ", ".join(map(repr, self)) or "none"
        raise KeyError(
            f"no output {name!r}; the answer has {names}" + (f"; {hint}" if hint else "")
        )

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self if name.isidentifier())})

    # --- comparing and showing -----------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(
            _same(array, other[name]) for name, array in self.items()
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        version = f" of version {self.model_version}" if self.model_version else ""
        request = f" to request {self.request_id!r}" if self.request_id else ""
        shown = list(self.items())[:_SHOWN_OUTPUTS]
        lines = [f"  {name}: {_brief(array)}" for name, array in shown]
        if len(self) > len(shown):
            lines.append(f"  … {len(self) - len(shown)} more")
        return "\n".join([f"Result{version}{request}:", *(lines or ["  no outputs"])])


def _same(one: Array, other: object) -> bool:
    if one is other:
        return True
    array = np.asarray(other)
    if one.dtype != array.dtype or one.shape != array.shape:
        return False
    equal = one == array
    if one.dtype.kind not in "biuO":
        equal |= (one != one) & (array != array)  # NaN alone differs from itself
    return bool(np.all(equal))


def _datatype(array: Array) -> str:
    return _NAMES.get(array.dtype, str(array.dtype))


def _brief(array: Array) -> str:
    """Give datatype, shape and the first values, in one line of bounded length."""
    values = [_short(value) for value in array.flat[:_SHOWN_VALUES]]
    more = ["…"] if array.size > len(values) else []
    return f"{_datatype(array)} {list(array.shape)} {', '.join(values + more)}".rstrip()


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        text = repr(value[:_SHOWN_CHARACTERS])
        return text if len(value) <= _SHOWN_CHARACTERS else f"{text}… ({len(value)} bytes)"
    text = f"{value:.6g}" if isinstance(value, np.floating) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
