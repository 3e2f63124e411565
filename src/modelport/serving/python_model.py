"""The glue of a Python backend: answer every request of a batch on its own.

A ``model.py`` in the repository hands its requests and one function to
:func:`answer_each`; the function takes and gives named numpy arrays, and is
the same one that the builder declares as the model's reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


class BadItemError(ValueError):
    """An item of a request that cannot be answered, with words for its sender."""

    def __init__(self, reason: str, *, item: int | None = None) -> None:
        super().__init__(reason if item is None else f"item {item}: {reason}")


class CallError(RuntimeError):
    """A model that another one calls did not answer; the text names it and says why."""


def internal_error(error: Exception) -> str:
    """Say what went wrong in a model's code, without what may hold a user's data."""
    return (
        str(error)
        if isinstance(error, CallError)
        else f"{type(error).__name__} in the model's code"
    )


def version_folder(args: Mapping[str, str]) -> Path:
    """Give the folder of the version that is loaded, from the arguments of ``initialize``."""
    return Path(args["model_repository"]) / args["model_version"]


def answer_each(
    requests: Sequence[Any],
    function: Callable[[Arrays], Arrays],
    *,
    parameters: Callable[[str], None] | None = None,
) -> list[Any]:
    """Answer each request with ``function``; a bad one gets its own error and spoils no other.

    Args:
        requests: ``pb_utils.InferenceRequest`` objects.
        function: named arrays in, named arrays out, the batch dimension first.
            :class:`BadItemError` becomes INVALID_ARGUMENT with its text; any other
            exception becomes INTERNAL with its type, never with the user's data.
        parameters: called with each request's parameters, as JSON; it may raise.
    """
    return [_answer(request, function, parameters) for request in requests]


def named_inputs(request: Any, parameters: Callable[[str], None] | None = None) -> Arrays:
    """Give a request's tensors by name, after ``parameters`` has seen its parameters."""
    if parameters is not None:
        parameters(request.parameters())
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _answer(
    request: Any,
    function: Callable[[Arrays], Arrays],
    parameters: Callable[[str], None] | None,
) -> Any:
    # Triton's module exists only inside a stub, and is complete only after initialize.
    import triton_python_backend_utils as pb_utils

    try:
        outputs = function(named_inputs(request, parameters))
        wanted = request.requested_output_names()
        tensors = [pb_utils.Tensor(name, outputs[name]) for name in wanted]
        return pb_utils.InferenceResponse(output_tensors=tensors)
    except BadItemError as error:
        code, text = pb_utils.TritonError.INVALID_ARG, str(error)
    except Exception as error:  # noqa: BLE001 - the boundary to Triton: a request must be answered
        code, text = pb_utils.TritonError.INTERNAL, internal_error(error)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
