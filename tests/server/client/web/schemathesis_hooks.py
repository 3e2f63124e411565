"""Mends what JSON Schema cannot say, so that valid requests are valid to the model too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

import schemathesis

_LARGEST = 4


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, **_: Any) -> None:
    """Mend what is valid; what was made wrong on purpose stays as it is."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if not isinstance(case.body, dict):
        return
    case.body = body = _whole(case.body)
    if _is_infer(body):
        _mend_shapes(body["inputs"])
        parameters = body.get("parameters", {})
        if "sequence_id" in parameters:
            # A sequence that was never begun is refused, and one that never ends is remembered.
            parameters |= {"sequence_start": True, "sequence_end": True}


def _is_infer(body: Mapping[str, Any]) -> bool:
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        return False
    return all(isinstance(one.get(key), list) for one in inputs for key in ("shape", "data"))


def _mend_shapes(inputs: list[dict[str, Any]]) -> None:
    """Give every input one batch, and as many values as its shape has."""
    sizes = [one["shape"][0] for one in inputs if one["shape"]]
    if not sizes or not isinstance(sizes[0], int):
        return
    for one in inputs:
        if one["shape"] and isinstance(one["shape"][0], int) and one["data"]:
            one["shape"][0] = min(max(sizes[0], 1), _LARGEST)
            wanted = math.prod(one["shape"])
            one["data"] = list(islice(cycle(one["data"]), wanted))


def _whole(value: Any) -> Any:
    """Write 8.0 as 8: both are integers to JSON Schema, one is to Triton."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value
