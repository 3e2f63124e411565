"""Which tensors of a request are placed in shared memory, and where in a region they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from modelport.client import exchange
from modelport.client.call import Call
from modelport.client.dtypes import DTYPES, Array
from modelport.client.exchange import Inference, Placed, Reply
from modelport.client.metadata import ModelMetadata
from modelport.client.regions import Region
from modelport.client.tensors import Tensor
from modelport.errors import ProtocolError

# From here on it is quicker over both transports: perf/shared_memory.py measures it.
THRESHOLD_BYTES = 128 * 1024
_ALIGNMENT = 64
# A longer list of strings costs more to write than to send.
_MOST_STRINGS = 64


class Part(NamedTuple):
    """A place in a region: where it begins and how long it is, in bytes."""

    offset: int
    size_bytes: int


class Layout(NamedTuple):
    """Which tensors of a request lie where in one region.

    Attributes:
        inputs: places of inputs by name.
        outputs: places of outputs by name.
        size_bytes: how large the region must be.
        wanted: names of all outputs to answer with, the others included.
    """

    inputs: Mapping[str, Part]
    outputs: Mapping[str, Part]
    size_bytes: int
    wanted: tuple[str, ...]


def plan(
    metadata: ModelMetadata, inference: Inference, threshold_bytes: int = THRESHOLD_BYTES
) -> Layout | None:
    """Say which tensors of a request are large, as far as that is known before it is answered.

    An output counts when its shape has no open dimension but the batch.

    Args:
        metadata: of the model.
        inference: the request.
        threshold_bytes: from which size on a tensor is large.

    Returns:
        Where to place them; ``None`` when there is none.
    """
    tensors = inference.tensors
    inputs = []
    for tensor in tensors:
        size = _input_bytes(tensor)
        if size >= threshold_bytes:
            inputs.append((tensor.name, size))
    rows = tensors[0].array.shape[0] if metadata.max_batch_size and tensors else 1
    names = inference.outputs or metadata.output_by_name
    outputs = []
    if metadata.largest_output_bytes * rows >= threshold_bytes:
        outputs = [
            (n, s) for n in names if (s := _output_bytes(metadata, n, rows)) >= threshold_bytes
        ]
    if not inputs and not outputs:
        return None
    places, end = _places([size for _, size in (*inputs, *outputs)])
    return Layout(
        {name: next(places) for name, _ in inputs},
        {name: next(places) for name, _ in outputs},
        end,
        tuple(names),
    )


def _input_bytes(tensor: Tensor) -> int:
    """Give the size of an input as it is sent, or 0 when it is better sent."""
    array = tensor.array
    if tensor.datatype != "BYTES":
        return array.nbytes if _is_plain(tensor.datatype) else 0
    if array.size > _MOST_STRINGS:
        return 0
    return sum(map(len, array.ravel().tolist())) + 4 * array.size


def _output_bytes(metadata: ModelMetadata, name: str, rows: int) -> int:
    size = metadata.output_bytes.get(name, 0) * rows
    return size if size and _is_plain(metadata.output_by_name[name].datatype) else 0


def _is_plain(datatype: str) -> bool:
    """Whether the array's bytes are the tensor's: not so for text, nor BF16 without ml_dtypes."""
    dtype = DTYPES.get(datatype)
    return dtype is not None and dtype.kind != "O" and (datatype != "BF16" or dtype.itemsize == 2)


def _places(sizes: list[int]) -> tuple[Iterator[Part], int]:
    parts, end = [], 0
    for size in sizes:
        parts.append(Part(end, size))
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return iter(parts), end


# --- writing and reading ------------------------------------------------------


def write(region: Region, inference: Inference, layout: Layout) -> Inference:
    """Write the inputs, and give the request that says where everything is."""
    for tensor in inference.tensors:
        part = layout.inputs.get(tensor.name)
        if part is not None:
            _write(region.memory[part.offset : part.offset + part.size_bytes], tensor)
    return replace(
        inference,
        outputs=layout.wanted if layout.outputs else inference.outputs,
        input_regions={n: exchange.Region(region.name, *p) for n, p in layout.inputs.items()},
        output_regions={n: exchange.Region(region.name, *p) for n, p in layout.outputs.items()},
    )


def _write(memory: Array, tensor: Tensor) -> None:
    array = tensor.array
    if tensor.datatype != "BYTES":
        memory.view(array.dtype).reshape(array.shape)[...] = array
        return
    view, position = memoryview(memory), 0  # type: ignore[arg-type]
    for item in array.flat:  # each with its length in front, as it is sent
        start, end = position + 4, position + 4 + len(item)
        view[position:start] = len(item).to_bytes(4, "little")
        view[start:end] = item
        position = end


def read(call: Call, region: Region, layout: Layout, reply: Reply) -> Reply:
    """Copy the outputs out of the region; they come in the order in which they were asked for."""
    if not reply.placed:
        return reply
    found = dict(reply.outputs)
    for name, placed in reply.placed.items():
        found[name] = _copied(call, region, layout.outputs.get(name), name, placed)
    ordered = [name for name in layout.wanted if name in found]
    return replace(reply, outputs={name: found[name] for name in ordered}, placed={})


def _copied(call: Call, region: Region, part: Part | None, name: str, placed: Placed) -> Array:
    dtype = DTYPES[placed.datatype]
    size = math.prod(placed.shape) * dtype.itemsize
    if part is None or size > part.size_bytes:
        raise ProtocolError(
            f"{call.about()} answered with output {name!r} in shared memory, of {size} bytes,"
            " where it was not asked to",
            endpoint=call.endpoint,
            model=call.model,
            version=call.version,
            request_id=call.request_id,
            attempts=call.attempts,
        )
    memory = region.memory[part.offset : part.offset + size]
    array: Array = memory.view(dtype).reshape(placed.shape).copy()
    array.flags.writeable = False
    return array
