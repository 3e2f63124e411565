"""Triton's request parameters, which both protocols name alike.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_parameters.md
"""

from __future__ import annotations

from collections.abc import Sequence

from modelport.client.exchange import Inference, Parameter, Region


def is_constant(inference: Inference) -> bool:
    """Whether the next request of the same tensors says the same of itself, but for its time."""
    return not (
        inference.step
        or inference.parameters
        or inference.input_regions
        or inference.output_regions
    )


def request_parameters(inference: Inference) -> dict[str, Parameter]:
    """Give the parameters of a request, without its timeout."""
    parameters = dict(inference.parameters)
    if inference.priority:
        parameters["priority"] = inference.priority
    if inference.step:
        parameters["sequence_id"] = inference.step.id
        parameters["sequence_start"] = inference.step.start
        parameters["sequence_end"] = inference.step.end
    return parameters


def region_parameters(region: Region) -> dict[str, Parameter]:
    """Name a part of shared memory."""
    where: dict[str, Parameter] = {
        "shared_memory_region": region.name,
        "shared_memory_byte_size": region.size_bytes,
    }
    if region.offset:
        where["shared_memory_offset"] = region.offset
    return where


def wanted_outputs(inference: Inference) -> Sequence[str]:
    """Give the outputs to name in the request; without any, a server answers with all.

    Outputs that lie in shared memory must be named, and then so must the others.
    """
    if not inference.output_regions:
        return inference.outputs
    every = [tensor.name for tensor in inference.model.outputs] if inference.model else ()
    return list(dict.fromkeys((*(inference.outputs or every), *inference.output_regions)))
