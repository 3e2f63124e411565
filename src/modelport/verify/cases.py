"""From single items to batches of the sizes that a proof must cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelport.spec.parts import Sample, Tensors

# Batches above this add time, not proof; the limit itself is stated in the manifest.
_LARGEST = 256
_LARGEST_REQUEST_BYTES = 4 << 20


def largest_batch(max_batch_size: int) -> int:
    """The largest batch that a proof sends for this ``max_batch_size``."""
    return min(max_batch_size, _LARGEST)


def requests(samples: Sequence[Sample], max_batch_size: int, *, seed: int = 0) -> list[Sample]:
    """Make requests of 1, 2, 3, the largest and a random number of items.

    Args:
        samples: single items; those with equal shapes are batched together, and each
            group of equal shapes gets all sizes.
        max_batch_size: of the model; with 0 each sample is a request of its own.
        seed: chooses the random size and the items.

    Returns:
        Samples whose arrays have the batch dimension first (as they are, with 0). Each
        item is sent alone once, then in company; only those sent alone keep their
        title and truth.
    """
    if max_batch_size == 0:
        return list(samples)
    random = np.random.default_rng(seed)
    largest = largest_batch(max_batch_size)
    sizes = {2, 3, largest, int(random.integers(1, largest + 1))}
    made = [_alone(sample) for sample in samples]
    for group in _by_shape(samples):
        most = min(largest, max(3, _LARGEST_REQUEST_BYTES // _size_bytes(group[0])))
        for size in sorted(size for size in sizes if 1 < size <= most):
            chosen = random.choice(len(group), size=size, replace=size > len(group))
            made.append(Sample(_stack([group[i].inputs for i in chosen])))
    return made


def _alone(sample: Sample) -> Sample:
    truth = _stack([sample.truth])
    return Sample(_stack([sample.inputs]), title=sample.title, truth=truth)


def _size_bytes(sample: Sample) -> int:
    return max(1, sum(np.asarray(array).nbytes for array in sample.inputs.values()))


def _by_shape(samples: Sequence[Sample]) -> list[list[Sample]]:
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[Sample]] = {}
    for sample in samples:
        shapes = tuple((name, np.shape(array)) for name, array in sorted(sample.inputs.items()))
        groups.setdefault(shapes, []).append(sample)
    return list(groups.values())


def _stack(items: Sequence[Tensors]) -> dict[str, np.ndarray]:
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
