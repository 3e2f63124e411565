"""What a network does in Python when it is called: which functions, from which line, with what.

An exporter keeps the tensors' functions of one call. What Python decides between them is lost,
and only the call itself can show it.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name

# These turn values of a tensor into something of Python's.
_CONVERSIONS = {
    "__bool__": "bool", "__int__": "int", "__float__": "float", "__complex__": "complex",
    "__index__": "index", "item": "number", "tolist": "list", "numpy": "numpy.ndarray",
    "__array__": "numpy.ndarray", "__contains__": "bool", "equal": "bool", "allclose": "bool",
}  # fmt: skip
# What these give depends on the shape of a tensor, not on its values.
_OF_SHAPES = {
    "__get__", "size", "dim", "numel", "stride", "__len__", "is_floating_point", "element_size",
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_empty", "new_full",
}  # fmt: skip
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class Line:
    """A line of code that called torch."""

    file: str
    number: int

    @property
    def source(self) -> str:
        """What stands there; empty where the file cannot be read."""
        return linecache.getline(self.file, self.number).strip()

    @property
    def of_torch(self) -> bool:
        """Whether it is torch's own code."""
        return self.file.startswith(_TORCH)

    def __str__(self) -> str:
        try:
            shown = Path(self.file).relative_to(Path.cwd())
        except ValueError:
            shown = Path(self.file)
        return f"{shown}:{self.number} `{self.source}`" if self.source else f"{shown}:{self.number}"


@dataclass(frozen=True)
class Call:
    """A function of torch as it was called: its name, the line, the numbers among its arguments.

    ``answer`` is the content of what it gave, where that was asked for.
    """

    name: str
    line: Line
    numbers: tuple[Any, ...]
    answer: bytes = b""


@dataclass(frozen=True)
class Conversion:
    """Values of a tensor that come from the inputs, turned into something of Python's."""

    to: str
    line: Line


@dataclass
class Recording:
    """One call of a network."""

    outputs: tuple[torch.Tensor, ...] = ()
    calls: list[Call] = field(default_factory=list)
    conversions: list[Conversion] = field(default_factory=list)


def record(
    network: nn.Module, inputs: Sequence[torch.Tensor], *, answers: bool = False
) -> Recording:
    """Call a network, and note what it does.

    Args:
        network: in the mode that it is to be called in.
        inputs: of its forward.
        answers: keep the content of what each function gives, to compare two calls by.
    """
    made = Recording()
    with torch.no_grad(), _Recorder(made, inputs, answers):
        outputs = network(*inputs)
    made.outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    return made


class _Recorder(TorchFunctionMode):
    """Sees each function of torch that Python calls; follows which tensors the inputs reach."""

    def __init__(self, made: Recording, inputs: Sequence[torch.Tensor], answers: bool) -> None:
        super().__init__()
        self._made = made
        self._answers = answers
        # Kept alive, so that no other tensor gets the identity of one that is gone.
        self._reached = {id(tensor): tensor for tensor in inputs}

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "__get__":  # an attribute, such as a shape
            if any(id(t) in self._reached for t in _tensors(args)):
                self._reach(given)
            return given
        line = _line()
        reached = any(id(tensor) in self._reached for tensor in _tensors((args, kwargs)))
        if reached and name in _CONVERSIONS:
            self._made.conversions.append(Conversion(_CONVERSIONS[name], line))
        if reached and name not in _OF_SHAPES:
            self._reach(given)
        content = _content(given) if self._answers else b""
        called = resolve_name(func) or name
        self._made.calls.append(Call(called, line, tuple(_numbers((args, kwargs))), content))
        return given

    def _reach(self, given: Any) -> None:
        self._reached |= {id(tensor): tensor for tensor in _tensors(given)}


def _line() -> Line:
    """Find who called: the innermost line that is neither torch's nor of this file."""
    frame = sys._getframe(2)
    innermost = Line(frame.f_code.co_filename, frame.f_lineno)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == __file__:
            break
        if not file.startswith(_TORCH):
            return Line(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return innermost


def line_of(error: BaseException) -> Line | None:
    """Find where a network's own code raised: the innermost line that is not torch's."""
    found, trace = None, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith((_TORCH, "<")):
            found = Line(file, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, (bool, int, float, str)):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))


def _content(given: Any) -> bytes:
    return (
        b"".join(
            tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            for tensor in _tensors(given)
        )
        or repr(given if not any(True for _ in _tensors(given)) else "").encode()
    )
