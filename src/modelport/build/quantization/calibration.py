"""Calibration data: what a builder gives, checked, and some of its items chosen.

Ranges that are found on wrong data are silently wrong, so all that can be told from the data
is told here: other tensors than the network's, NaN, one picture again and again, and items of
the test split, on which the variant is measured afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from modelport.errors import DataError
from modelport.spec.parts import Tensor

# Named arrays, the item dimension first; or several such, where lengths vary.
Given = Mapping[str, np.ndarray] | Iterable[Mapping[str, np.ndarray]]
Item = dict[str, np.ndarray]

_NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "INT8": np.int8, "UINT16": np.uint16, "INT16": np.int16,
    "UINT32": np.uint32, "INT32": np.int32, "UINT64": np.uint64, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
# What is measured; other integers number words or mask them, and may well be all alike.
_MEASURED = {"UINT8", "FP16", "FP32", "FP64"}
_GIVE = "give items of the training split, as the server gives them to the network"


def of_split(inputs: Mapping[str, np.ndarray], tensors: Sequence[Tensor]) -> Item:
    """Take the model's tensors out of a split's inputs: the default of a declaration.

    Raises:
        DataError: the split lacks one of them.
    """
    names = [tensor.name for tensor in tensors]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise DataError(
            f"calibration: the training split has no {missing[0]!r}; it has {', '.join(inputs)}",
            cause="the data set has other inputs than the model that is served",
            next_step="declare `calibration`: a function of the training split that gives"
            f" {', '.join(names)}",
            tensor=missing[0],
        )
    return {name: np.asarray(inputs[name]) for name in names}


def items(
    given: Given,
    tensors: Sequence[Tensor],
    *,
    most: int,
    seed: int = 0,
    test: Given | None = None,
) -> list[Item]:
    """Check calibration data and choose some of it at random.

    Args:
        given: arrays by tensor name, the item dimension first; or an iterable of such
            batches, where lengths vary from one to the next.
        tensors: inputs of the model.
        most: items that are chosen; fewer where fewer are given.
        seed: of the choice.
        test: items that may not be among them, in the same form, by the names that both have.

    Returns:
        The chosen items in the order in which they were given, each as named arrays without
        the item dimension.

    Raises:
        DataError: there are none, a tensor is missing, unknown, of another type or shape,
            or holds NaN; all items or all values of a tensor are equal; or an item is one of
            the test split.
    """
    found = [item for batch in _batches(given) for item in _split(batch, tensors)]
    if not found:
        raise DataError(
            "calibration: expected some items, got none",
            cause="the training split is empty: a network that comes trained has none",
            next_step="declare `calibration`, or give the data set a training split",
        )
    _check_different(found, tensors)
    if test is not None:
        _check_apart(found, test, tensors)
    chosen = np.random.default_rng(seed).permutation(len(found))[:most]
    return [found[i] for i in sorted(chosen)]


def feeds(chosen: Iterable[Item], *, batched: bool = True) -> list[Item]:
    """Make of each item what ONNX Runtime takes: a batch of one, where the model batches."""
    return [{n: a[np.newaxis] if batched else a for n, a in item.items()} for item in chosen]


def digest(item: Mapping[str, np.ndarray], tensors: Sequence[Tensor]) -> str:
    """Give what tells an item from others, however much it is padded.

    Zeros at the end of dimensions that vary are padding, of which the same text has more in a
    batch with a longer one.
    """
    content = hashlib.sha256()
    for tensor in tensors:
        array = _unpadded(np.asarray(item[tensor.name]), tensor)
        content.update(f"{tensor.name} {array.dtype} {array.shape} ".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _batches(given: Given) -> Iterator[Mapping[str, np.ndarray]]:
    batches: Iterable[object] = [given] if isinstance(given, Mapping) else given
    if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
        raise _refused("", "named arrays {tensor: array}, or batches of them", given)
    for batch in batches:
        if not isinstance(batch, Mapping):
            raise _refused("", "named arrays {tensor: array}, or batches of them", batch)
        yield batch


def _refused(tensor: str, expected: str, got: object, *, next_step: str = _GIVE) -> DataError:
    where = f"calibration: tensor {tensor!r}" if tensor else "calibration"
    shown = got if isinstance(got, str) else type(got).__name__
    return DataError(
        f"{where}: expected {expected}, got {shown}", next_step=next_step, tensor=tensor
    )


def _split(batch: Mapping[str, np.ndarray], tensors: Sequence[Tensor]) -> Iterator[Item]:
    names = [tensor.name for tensor in tensors]
    if missing := [name for name in names if name not in batch]:
        raise _refused(missing[0], "an array", f"none; there are {', '.join(batch) or 'no others'}")
    if unknown := [name for name in batch if name not in names]:
        raise _refused(unknown[0], f"only {', '.join(names)}", "a tensor that the model lacks")
    arrays = {tensor.name: _checked(np.asarray(batch[tensor.name]), tensor) for tensor in tensors}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise _refused("", "as many items of each tensor", str(counts))
    for i in range(next(iter(counts.values()))):
        yield {name: array[i] for name, array in arrays.items()}


def _checked(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    wanted = np.dtype(_NUMPY.get(tensor.datatype, np.object_))
    if array.dtype != wanted:
        raise _refused(
            tensor.name,
            f"{wanted} ({tensor.datatype})",
            str(array.dtype),
            next_step=f"convert it as the server does; .astype({str(wanted)!r}) where the values"
            " are right already",
        )
    dims = ["items", *("any" if dim == -1 else dim for dim in tensor.dims)]
    fits = array.ndim == len(dims) and all(
        want in (-1, have) for want, have in zip(tensor.dims, array.shape[1:], strict=True)
    )
    if not fits:
        raise _refused(tensor.name, _shape(dims), _shape(array.shape))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        bad = int(np.argmin(finite))
        raise _refused(
            tensor.name,
            "finite numbers",
            f"NaN or infinity in {int((~finite).sum())} of {len(array)} items, first in item {bad}",
            next_step="leave those items out, or mend what makes them",
        )
    return array


def _shape(dims: Iterable[object]) -> str:
    return f"[{', '.join(map(str, dims))}]"


def _check_different(found: Sequence[Item], tensors: Sequence[Tensor]) -> None:
    mend = "give items that differ as those of requests do"
    for tensor in tensors:
        if tensor.datatype not in _MEASURED:
            continue
        values = [item[tensor.name] for item in found if item[tensor.name].size]
        extremes = {f"{v.min():g}" for v in values} | {f"{v.max():g}" for v in values}
        if len(extremes) < 2:
            raise DataError(
                f"calibration: tensor {tensor.name!r}: expected values that differ, got"
                f" {min(extremes, default='none')} throughout {len(found)} items",
                cause="a blank picture, or a range that was never filled: no range can be found",
                next_step=mend,
                tensor=tensor.name,
            )
    first = digest(found[0], tensors)
    if len(found) > 1 and all(digest(item, tensors) == first for item in found):
        raise DataError(
            f"calibration: expected items that differ, got one item {len(found)} times",
            cause="a single picture or text was repeated: ranges would hold for it alone",
            next_step=mend,
        )


def _check_apart(found: Sequence[Item], test: Given, tensors: Sequence[Tensor]) -> None:
    """Refuse items of the test split, told by the tensors that both have."""
    held: set[str] = set()
    shared: list[Tensor] = []
    for batch in _batches(test):
        shared = [tensor for tensor in tensors if tensor.name in batch]
        if not shared:
            return
        arrays = {tensor.name: np.asarray(batch[tensor.name]) for tensor in shared}
        for i in range(len(next(iter(arrays.values())))):
            held.add(digest({name: array[i] for name, array in arrays.items()}, shared))
    same = [i for i, item in enumerate(found) if shared and digest(item, shared) in held]
    if same:
        raise DataError(
            f"calibration: {len(same)} of {len(found)} items are in the test split too, the first"
            f" is item {same[0]}",
            cause="ranges chosen on what is measured afterwards make the figures look too good;"
            " or the data holds the same item several times",
            next_step="give items of the training split only, and each item to one split",
            items=same,
        )


def _unpadded(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    for axis, dim in enumerate(tensor.dims):
        if dim == -1 and axis < array.ndim:
            others = tuple(i for i in range(array.ndim) if i != axis)
            filled = np.flatnonzero((array != 0).any(axis=others))
            array = array.take(range(int(filled[-1]) + 1 if len(filled) else 0), axis=axis)
    return array
