"""Comparing answers with their reference, tensor by tensor, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from modelport.spec.parts import Tolerance

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How one tensor compares; ``problem`` is empty when it is within the tolerance."""

    tensor: str
    worst_absolute: float = 0.0
    worst_relative: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """How one answer compares with its reference."""

    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether every tensor is within the tolerance."""
        return not any(difference.problem for difference in self.differences)

    @property
    def worst_absolute(self) -> float:
        """Largest ``|got - expected|`` of all elements."""
        return max((d.worst_absolute for d in self.differences), default=0.0)

    @property
    def worst_relative(self) -> float:
        """Largest ``|got - expected| / |expected|`` of elements that are not 0."""
        return max((d.worst_relative for d in self.differences), default=0.0)

    def describe(self) -> str:
        """Say what is wrong, one tensor after the other; empty when nothing is."""
        return "; ".join(d.problem for d in self.differences if d.problem)


@dataclass
class Parity:
    """The worst of many comparisons, gathered while they are made."""

    requests: int = 0
    worst_absolute: float = 0.0
    worst_relative: float = 0.0
    batch_sizes: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def add(self, comparison: Comparison, inputs: Arrays, *, where: str) -> None:
        """Count one comparison; ``where`` tells people which request it was."""
        size = len(next(iter(inputs.values()), ())) if _has_batch(inputs) else 1
        self.requests += 1
        self.batch_sizes.add(size)
        self.worst_absolute = max(self.worst_absolute, comparison.worst_absolute)
        self.worst_relative = max(self.worst_relative, comparison.worst_relative)
        if not comparison.ok:
            self.problems.append(f"{where} (batch {size}): {comparison.describe()}")


def _has_batch(inputs: Arrays) -> bool:
    return all(array.ndim for array in inputs.values())


def compare(got: Arrays, expected: Arrays, tolerance: Tolerance) -> Comparison:
    """Compare an answer with its reference.

    Every expected tensor must be there, with its shape and its kind of element.
    Floating-point elements must satisfy ``|got - expected| <= absolute + relative *
    |expected|``, NaN matching NaN and infinities matching themselves; all
    others must be equal.
    """
    return Comparison(tuple(_difference(name, got, expected[name], tolerance) for name in expected))


def _difference(
    name: str, answer: Arrays, expected: np.ndarray, tolerance: Tolerance
) -> Difference:
    if name not in answer:
        has = ", ".join(answer) or "nothing"
        return Difference(name, np.inf, np.inf, f"{name}: missing, the answer has {has}")
    got = answer[name]
    if got.shape != expected.shape:
        problem = f"{name}: shape {list(got.shape)}, expected {list(expected.shape)}"
        return Difference(name, np.inf, np.inf, problem)
    if got.dtype != expected.dtype:
        problem = f"{name}: dtype {got.dtype}, expected {expected.dtype}"
        return Difference(name, np.inf, np.inf, problem)
    if is_float(expected):
        return _float_difference(name, got, expected, tolerance)
    return _exact_difference(name, got, expected)


def is_float(array: np.ndarray) -> bool:
    """Say whether an array holds floating-point numbers."""
    # bfloat16 is a void type to numpy, hence the name.
    return np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"


def _exact_difference(name: str, got: np.ndarray, expected: np.ndarray) -> Difference:
    unequal = np.argwhere(got != expected)
    if not len(unequal):
        return Difference(name)
    first = tuple(int(i) for i in unequal[0])
    problem = (
        f"{name}{list(first)}: {got[first]!r}, expected {expected[first]!r}"
        f" ({len(unequal)} of {got.size} elements differ)"
    )
    return Difference(name, np.inf, np.inf, problem)


def _float_difference(
    name: str, got: np.ndarray, expected: np.ndarray, tolerance: Tolerance
) -> Difference:
    if not got.size:
        return Difference(name)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        absolute = np.where(same, 0.0, np.abs(a - b))
    # A NaN or an infinity on one side only is infinitely wrong, not NaN wrong.
    absolute = np.where(np.isfinite(absolute), absolute, np.inf)
    magnitude = np.where(np.isfinite(b), np.abs(b), 0.0)
    relative = np.divide(absolute, magnitude, out=np.zeros_like(absolute), where=magnitude > 0)
    outside = absolute > tolerance.absolute + tolerance.relative * magnitude
    problem = _worst_element(name, a, b, np.where(outside, absolute, -1)) if outside.any() else ""
    return Difference(name, float(absolute.max()), float(relative.max()), problem)


def _worst_element(name: str, got: np.ndarray, expected: np.ndarray, excess: np.ndarray) -> str:
    index = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
    count = int((excess >= 0).sum())
    return (
        f"{name}{list(index)}: {got[index]:.7g}, expected {expected[index]:.7g}"
        f" ({count} of {got.size} elements outside the tolerance)"
    )
