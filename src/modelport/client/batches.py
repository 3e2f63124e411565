"""Batches that are larger than a model takes: cut into parts, and put together again.

No I/O here: :func:`split` says what to send, and :func:`join` makes one answer of what came
back. In between the parts are sent in any order, and some may fail::

    parts = split(metadata, tensors)
    if parts is not None:
        outcomes = [...]  # the reply or the error of each, in the order of the parts
        reply = join(call, parts, outcomes)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from modelport.client.call import Call
from modelport.client.exchange import Reply
from modelport.client.metadata import ModelMetadata
from modelport.client.result import Result
from modelport.client.tensors import Array, Tensor
from modelport.errors import ClientError, PartialBatchError, ProtocolError


class Slice(NamedTuple):
    """Some rows of a batch.

    Attributes:
        start: the first row.
        stop: the row after the last.
        tensors: views of those rows of every input.
    """

    start: int
    stop: int
    tensors: list[Tensor]


def split(metadata: ModelMetadata, tensors: Sequence[Tensor]) -> list[Slice] | None:
    """Cut a batch into as few parts as the model's ``max_batch_size`` allows.

    The parts differ by one row at most, so that none of them is waited for longer than needed.
    Nothing is copied.

    Args:
        metadata: what the server says of the model.
        tensors: checked inputs, all with the same first dimension.

    Returns:
        The parts in order; ``None`` when the batch fits, or the model does not batch.
    """
    most = metadata.max_batch_size
    if not most or not tensors:
        return None
    rows = tensors[0].array.shape[0]
    if rows <= most:
        return None
    count = -(-rows // most)
    bounds = [rows * part // count for part in range(count + 1)]
    return [
        Slice(start, stop, [Tensor(t.name, t.datatype, t.array[start:stop]) for t in tensors])
        for start, stop in pairwise(bounds)
    ]


def join(call: Call, parts: Sequence[Slice], outcomes: Sequence[Reply | ClientError]) -> Reply:
    """Put the answers of all parts together, in the order of the rows.

    Args:
        call: the call that the parts belong to.
        parts: as :func:`split` gave them.
        outcomes: the reply or the error of each part.

    Returns:
        One reply; each output is one new array. Its version has commas in it when the parts
        were answered by different versions.

    Raises:
        ClientError: the error of the first part, when no part has an answer.
        PartialBatchError: when some parts have none.
        ProtocolError: an output is not one row for each row of the inputs.
    """
    replies = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
    if len(replies) < len(parts):
        raise _failed(call, parts, outcomes)
    names = replies[0].outputs.keys()
    if any(reply.outputs.keys() != names for reply in replies):
        raise _strange(call, "its parts were answered with different outputs")
    outputs = {name: _joined(call, name, parts, replies) for name in names}
    return Reply(outputs, ",".join(dict.fromkeys(r.version for r in replies if r.version)))


def _joined(call: Call, name: str, parts: Sequence[Slice], replies: Sequence[Reply]) -> Array:
    arrays = [reply.outputs[name] for reply in replies]
    for part, array in zip(parts, arrays, strict=True):
        rows = part.stop - part.start
        if array.ndim == 0 or array.shape[0] != rows:
            raise _strange(
                call,
                f"output {name!r} has the shape {list(array.shape)} for {rows} rows, so that"
                " its first dimension is not the batch",
            )
    if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
        shapes = ", ".join(str(list(array.shape)) for array in arrays[:4])
        raise _strange(call, f"output {name!r} has rows of different sizes in its parts: {shapes}")
    joined = np.concatenate(arrays)
    joined.flags.writeable = False
    return joined


def _strange(call: Call, what: str) -> ProtocolError:
    return ProtocolError(
        f"the split batch of {call.about()} cannot be put together: {what}",
        next_step="send batches of at most max_batch_size rows yourself",
        **_objects(call),
    )


# --- parts without an answer -------------------------------------------------


def _failed(
    call: Call, parts: Sequence[Slice], outcomes: Sequence[Reply | ClientError]
) -> ClientError:
    failures = [
        (part.start, part.stop, outcome)
        for part, outcome in zip(parts, outcomes, strict=True)
        if isinstance(outcome, ClientError)
    ]
    if len(failures) == len(parts):
        return failures[0][2]
    kinds: dict[type[ClientError], list[tuple[int, int, ClientError]]] = {}
    for failure in failures:
        kinds.setdefault(type(failure[2]), []).append(failure)
    lost = sum(stop - start for start, stop, _ in failures)
    reasons = "; ".join(
        f"rows {_ranges((start, stop) for start, stop, _ in of_kind)}:"
        f" {kind.__name__}: {of_kind[0][2].what}"
        for kind, of_kind in kinds.items()
    )
    return PartialBatchError(
        f"{lost} of the {parts[-1].stop} rows for {call.about()} have no answer: {reasons}",
        next_step="error.failures has the rows to send again, error.results the other answers",
        failures=failures,
        results=[
            (part.start, part.stop, _result(call, outcome))
            for part, outcome in zip(parts, outcomes, strict=True)
        ],
        **_objects(call),
    )


def _result(call: Call, outcome: Reply | ClientError) -> Result | None:
    if isinstance(outcome, ClientError):
        return None
    return Result(outcome.outputs, outcome.version, call.request_id)


def _ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Write half-open ranges as people do, neighbours as one: ``0-15, 24``."""
    merged: list[list[int]] = []
    for start, stop in ranges:
        if merged and merged[-1][1] == start:
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    return ", ".join(
        str(start) if stop == start + 1 else f"{start}-{stop - 1}" for start, stop in merged
    )


def _objects(call: Call) -> dict[str, Any]:
    return {
        "endpoint": call.endpoint,
        "model": call.model,
        "version": call.version,
        "request_id": call.request_id,
        "attempts": call.attempts,
    }
