"""Checks of a series of numbers before a network sees it: an ONNX graph cannot refuse one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelport.serving.python_model import BadItemError


@dataclass(frozen=True)
class Check:
    """Lets series pass as they are, and refuses those that cannot be scored.

    Args:
        shortest: points that a series needs.
        most_values: of all series of one request together, which bounds the memory.
        name: of the tensor, float32[batch, points].
    """

    shortest: int
    most_values: int = 200_000
    name: str = "series"

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give the series back.

        Raises:
            BadItemError: it is too short or too long, or holds NaN or an infinity.
        """
        series = inputs[self.name]
        if series.shape[1] < self.shortest:
            raise BadItemError(
                f"a series of {series.shape[1]} points; at least {self.shortest} are needed",
                item=0,
            )
        if series.size > self.most_values:
            raise BadItemError(
                f"{series.size} values in one request; at most {self.most_values}: send pieces"
                f" that overlap by {self.shortest - 1} points"
            )
        bad = np.argwhere(~np.isfinite(series))
        if len(bad):
            raise BadItemError(f"point {bad[0][1]} is not a finite number", item=int(bad[0][0]))
        return {self.name: series}
