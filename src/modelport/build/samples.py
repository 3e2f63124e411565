"""Samples for models whose inputs need no data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from modelport.spec.model import Sample

_ROWS, _SPREAD = 6, 5.0
# So far from the others that its probability, or theirs, is 0 in float32.
_EXTREME = 80.0


def scores(classes: int, *, name: str = "logits") -> Callable[..., Sequence[Sample]]:
    """Make scores as a classifier gives them, a tie and extremes among them.

    Args:
        classes: how many scores a row has.
        name: of the input tensor, float32[classes].

    Returns:
        What a declaration takes as its ``samples``.
    """

    def made(*_: object) -> Sequence[Sample]:
        random = np.random.default_rng(0)
        drawn = random.normal(scale=_SPREAD, size=(_ROWS, classes))
        certain = np.where(np.arange(classes) == classes - 1, _EXTREME, -_EXTREME)
        rows = [*drawn, np.zeros(classes), np.full(classes, -_EXTREME), certain]
        return [Sample({name: row.astype(np.float32)}) for row in rows]

    return made
