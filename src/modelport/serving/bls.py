"""Calling other models of the same server from inside a Python backend.

Triton calls it Business Logic Scripting: the tensors travel over shared
memory, and the callee's batching, cache and statistics count as for any client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from modelport.serving.python_model import BadItemError, CallError

Call = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
_NEWEST = -1


def caller(args: Mapping[str, str]) -> Call:
    """Give :func:`call`, which asks the versions that the model's configuration names.

    The parameter ``calls`` holds the names of the models that it calls; while several of them
    change together, a promotion writes ``name:version`` there, so that one answer is never
    made by the parts of two.

    Args:
        args: what Triton hands to ``initialize``.
    """
    parameters = json.loads(args["model_config"]).get("parameters", {})
    named = (
        one.partition(":") for one in parameters.get("calls", {}).get("string_value", "").split()
    )
    versions = {name: int(version) for name, _, version in named if version}

    def versioned(model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return call(model, inputs, version=versions.get(model, _NEWEST))

    return versioned


def call(
    model: str, inputs: Mapping[str, np.ndarray], *, version: int = _NEWEST
) -> dict[str, np.ndarray]:
    """Ask a model of this server and wait for its answer.

    Args:
        model: its name.
        inputs: named arrays, the batch dimension first.
        version: which one of those that serve; -1 for the newest.

    Returns:
        All its outputs by name.

    Raises:
        BadItemError: the callee refused the input (INVALID_ARG): its sender may mend it.
        CallError: the callee is not there, is not ready, or failed.
    """
    # Triton's module exists only inside a stub, and is complete only after initialize.
    import triton_python_backend_utils as pb_utils

    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(a)) for name, a in inputs.items()]
    request = pb_utils.InferenceRequest(
        model_name=model,
        model_version=version,
        inputs=tensors,
        requested_output_names=[],  # none named: Triton gives all
    )
    response = _answered(model, request.exec, pb_utils)
    return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}


def _answered(model: str, ask: Callable[[], Any], pb_utils: Any) -> Any:
    try:
        response = ask()
    # The binding raises for a model that is unknown, unloaded or decoupled.
    except pb_utils.TritonModelException as error:
        raise CallError(f"model {model!r} cannot be called: {error}") from error
    if not response.has_error():
        return response
    refusal = response.error()
    if refusal.code() == pb_utils.TritonError.INVALID_ARG:
        raise BadItemError(f"model {model!r}: {refusal.message()}")
    raise CallError(f"model {model!r} did not answer: {refusal.message()}")
