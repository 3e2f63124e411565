"""What Triton's JSON endpoints can carry of a model: `/infer` in JSON, `/generate` and its stream.

All of it was tried on tritonserver 2.51; ``docs/codegen-web.md`` lists what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelport.repository.interface import Interface, TensorInterface

# Triton refuses them in JSON and wants the binary tensor extension.
BINARY_ONLY = ("FP16", "BF16")


def in_json(tensor: TensorInterface) -> bool:
    """Whether JSON can carry the tensor's values."""
    return tensor.datatype not in BINARY_ONLY


def in_generate(tensor: TensorInterface) -> bool:
    """Whether a flat list says the tensor's shape, which `/generate` has no word for."""
    return in_json(tensor) and sum(dim == -1 for dim in tensor.dims) <= 1


def why_not_infer(interface: Interface) -> str:
    """Say why a request in JSON cannot reach `/infer`; empty when it can."""
    if interface.decoupled:
        return "it answers with a stream (Triton answers 501)"
    return _blocked(interface.inputs, interface.outputs, in_json, "has no form in JSON")


def why_not_generate(interface: Interface) -> str:
    """Say why `/generate` or `/generate_stream` cannot be used; empty when it can."""
    if interface.stateful:
        return "it is stateful, and /generate has no sequences"
    what = "has no form in a flat list of JSON"
    return _blocked(interface.inputs, interface.outputs, in_generate, what)


def _blocked(
    inputs: Sequence[TensorInterface],
    outputs: Sequence[TensorInterface],
    carries: Callable[[TensorInterface], bool],
    what: str,
) -> str:
    for side, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if not tensor.optional and not carries(tensor):
                dims = ", ".join(map(str, tensor.dims))
                return f"its {side} {tensor.name!r}, {tensor.datatype} [{dims}], {what}"
    return "" if any(map(carries, inputs)) else f"none of its inputs {what}"
