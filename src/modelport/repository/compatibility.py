"""Whether those who call a model as it was can call it as it is now.

An input may come to accept more, and an output may come to promise more; the other way round
somebody breaks::

    what                          breaks callers                      does not
    model                         gone; other way to answer           new
    batches                       none any more, new, or smaller      larger
    input                         gone, or new and required           new and optional
    output                        gone                                new
    datatype, rank                another                             –
    size of an input              fixed, or another                   any size now
    size of an output             any size now, or another            fixed
    optional input                required now                        –
    required input                –                                   optional now
    range, values of an input     narrower                            wider, or said now
    range, values of an output    wider                               narrower
    labels                        gone, more, renamed or reordered    where there were none
    unit, content                 another                             where nothing was said
    name of the model             another                             –
    words                         –                                   always

What tensors mean is compared where both sides say it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from modelport.repository.interface import Interface, TensorInterface, number

Side = Literal["input", "output"]
_ANY_SIZE = -1
_TOLD = 8
_UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was.

    Attributes:
        model: that it concerns.
        where: the tensor, such as ``input 'text'``; empty for the model as a whole.
        what: what changed, in words.
        breaking: whether callers of the old one fail, or misread what they get.
    """

    model: str
    where: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{self.model}: {f'{self.where} ' if self.where else ''}{self.what}"


def between(old: Interface, new: Interface) -> list[Change]:
    """Compare two interfaces, usually of two versions of a model."""
    found = [*_as_a_whole(old, new)]
    found += _tensors(old, new, "input", old.inputs, new.inputs)
    found += _tensors(old, new, "output", old.outputs, new.outputs)
    return found


def between_all(old: Iterable[Interface], new: Iterable[Interface]) -> list[Change]:
    """Compare the interfaces of two repositories, model by model."""
    before = {one.model: one for one in old}
    after = {one.model: one for one in new}
    found: list[Change] = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(Change(name, "", "is gone", breaking=True))
        elif name not in before:
            found.append(Change(name, "", "is new", breaking=False))
        else:
            found += between(before[name], after[name])
    return found


def _as_a_whole(old: Interface, new: Interface) -> Iterator[Change]:
    def change(what: str, *, breaking: bool) -> Change:
        return Change(new.model, "", what, breaking)

    if old.model != new.model:
        yield change(f"is another model than {old.model!r}", breaking=True)
    if old.decoupled != new.decoupled:
        kinds = ("one answer", "a stream")
        what = f"answers with {kinds[new.decoupled]}, no longer with {kinds[old.decoupled]}"
        yield change(what, breaking=True)
    if old.stateful != new.stateful:
        what = "keeps sequences now" if new.stateful else "keeps no sequences any more"
        yield change(what, breaking=True)
    if old.batching != new.batching:
        what = "takes batches now" if new.batching else "takes no batches any more"
        yield change(f"{what}: tensors have other shapes", breaking=True)
    elif new.max_batch_size != old.max_batch_size:
        what = f"takes batches of {new.max_batch_size}, it took {old.max_batch_size}"
        yield change(what, breaking=new.max_batch_size < old.max_batch_size)
    if (old.doc, old.limits) != (new.doc, new.limits) and old.described and new.described:
        yield change("is described in other words", breaking=False)


def _tensors(
    old: Interface,
    new: Interface,
    side: Side,
    before: Sequence[TensorInterface],
    after: Sequence[TensorInterface],
) -> Iterator[Change]:
    was = {tensor.name: tensor for tensor in before}
    now = {tensor.name: tensor for tensor in after}
    for name, tensor in was.items():
        where = f"{side} {name!r}"
        if name not in now:
            renamed = [one for n, one in now.items() if n not in was and _alike(one, tensor)]
            hint = f"; {renamed[0].name!r} is alike: renamed?" if renamed else ""
            yield Change(new.model, where, f"is gone{hint}", breaking=True)
            continue
        found = [*_shape(side, tensor, now[name])]
        if side == "input":
            found += _optional(tensor, now[name])
        else:
            found += _labels(tensor, now[name])
        if old.described and new.described:
            found += _meaning(side, tensor, now[name])
        yield from (Change(new.model, where, what, breaking) for what, breaking in found)
    for name, tensor in now.items():
        if name not in was:
            required = side == "input" and not tensor.optional
            what = "is new and required" if required else "is new"
            yield Change(new.model, f"{side} {name!r}", what, breaking=required)


def _alike(one: TensorInterface, other: TensorInterface) -> bool:
    return (one.datatype, one.dims) == (other.datatype, other.dims)


# --- one tensor; each gives what changed, and whether that breaks callers -----------

_Found = Iterator[tuple[str, bool]]


def _shape(side: Side, old: TensorInterface, new: TensorInterface) -> _Found:
    if old.datatype != new.datatype:
        yield f"is {new.datatype}, it was {old.datatype}", True
    if old.dims == new.dims:
        return
    what = f"has the shape {list(new.dims)}, it had {list(old.dims)}"
    same_rank = len(old.dims) == len(new.dims)
    # The side that takes the tensor must take all sizes that the other may give.
    taken, given = (new.dims, old.dims) if side == "input" else (old.dims, new.dims)
    fits = same_rank and all(t in (_ANY_SIZE, g) for t, g in zip(taken, given, strict=True))
    yield what, not fits


def _optional(old: TensorInterface, new: TensorInterface) -> _Found:
    if old.optional != new.optional:
        yield "is optional now" if new.optional else "is required now", not new.optional


def _labels(old: TensorInterface, new: TensorInterface) -> _Found:
    if old.labels == new.labels:
        return
    if not new.labels:
        yield "has no labels any more", True
    elif not old.labels:
        yield "has labels now", False
    elif sorted(old.labels) == sorted(new.labels):
        yield f"has its labels in another order: {_listed(new.labels)}", True
    else:
        # More of them break too: an answer may be one that callers have no name for.
        yield f"has the labels {_listed(new.labels)}, it had {_listed(old.labels)}", True


def _meaning(side: Side, old: TensorInterface, new: TensorInterface) -> _Found:
    yield from _range(side, old, new)
    yield from _values(side, old, new)
    for name in ("unit", "content"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            said = f"has the {name} {now!r}" if now else f"has no {name} any more"
            yield f"{said}, it had {was!r}" if was else said, bool(was and now)
    if old.instead_of != new.instead_of:
        what = f"stands in for {new.instead_of!r}" if new.instead_of else "stands in for nothing"
        yield f"{what} now", bool(new.instead_of)
    if old.doc != new.doc:
        yield "is described in other words", False


def _range(side: Side, old: TensorInterface, new: TensorInterface) -> _Found:
    was, now = _bounds(old), _bounds(new)
    if was == now:
        return
    if was == _UNBOUNDED:  # nobody said so before: to write it down changes no model
        yield f"is said to be {_shown(now)}", False
        return
    narrower = now[0] > was[0] or now[1] < was[1]
    wider = now[0] < was[0] or now[1] > was[1]
    what = f"is {_shown(now)}, it was {_shown(was)}"
    yield what, narrower if side == "input" else wider


def _values(side: Side, old: TensorInterface, new: TensorInterface) -> _Found:
    was, now = set(old.values), set(new.values)
    if was == now:
        return
    if not was:  # as with a range
        yield f"is said to be one of {_listed(new.values)}", False
        return
    narrower = bool(now) and bool(was - now)  # without any, every text may come
    wider = not now or bool(now - was)
    what = f"is one of {_listed(new.values)}" if now else "is any text"
    yield f"{what}, it was one of {_listed(old.values)}", narrower if side == "input" else wider


def _bounds(tensor: TensorInterface) -> tuple[float, float]:
    low = -math.inf if tensor.minimum is None else tensor.minimum
    return low, math.inf if tensor.maximum is None else tensor.maximum


def _shown(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if bounds == _UNBOUNDED:
        return "of any size"
    if math.isinf(high):
        return f"{number(low)} or more"
    if math.isinf(low):
        return f"{number(high)} or less"
    return f"from {number(low)} to {number(high)}"


def _listed(texts: Sequence[str]) -> str:
    more = f", … ({len(texts)})" if len(texts) > _TOLD else ""
    return ", ".join(map(repr, texts[:_TOLD])) + more
