"""requests(): the batch sizes that a proof covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.spec.parts import Sample
from modelport.verify.cases import largest_batch, requests


def items(count: int, *shape: int, first: int = 0) -> list[Sample]:
    """Items that are told apart by their value."""
    made = []
    for number in range(first, first + count):
        truth = {"label": np.array([number])}
        pixels = np.full(shape or (2,), number, np.int64)
        made.append(Sample({"x": pixels}, title=f"item {number}", truth=truth))
    return made


def sizes(made: list[Sample]) -> list[int]:
    return [len(request.inputs["x"]) for request in made]


@settings(deadline=None)
@given(count=st.integers(1, 12), most=st.integers(1, 300), seed=st.integers(0, 5))
def test_every_item_alone_and_batches_of_all_sizes(count: int, most: int, seed: int) -> None:
    made = requests(items(count), most, seed=seed)
    assert sizes(made)[:count] == [1] * count
    assert [int(r.inputs["x"][0, 0]) for r in made[:count]] == list(range(count))
    batches = sizes(made)[count:]
    largest = largest_batch(most)
    assert {size for size in (2, 3, largest) if 1 < size <= largest} <= set(batches)
    assert all(1 < size <= min(most, 256) for size in batches)
    assert len(set(batches)) == len(batches) <= 4


def test_the_same_seed_gives_the_same_requests() -> None:
    one, again = (requests(items(9), 64, seed=3) for _ in range(2))
    assert [r.inputs["x"].tolist() for r in one] == [r.inputs["x"].tolist() for r in again]


def test_enough_items_fill_a_batch_without_repeating() -> None:
    full = requests(items(9), 8)[-1].inputs["x"]
    assert len(full) == 8
    assert len(np.unique(full[:, 0])) == 8


def test_title_and_truth_stay_with_items_sent_alone() -> None:
    made = requests(items(3), 4)
    alone, batches = made[:3], made[3:]
    assert [request.title for request in alone] == ["item 0", "item 1", "item 2"]
    assert [request.truth["label"].tolist() for request in alone] == [[[0]], [[1]], [[2]]]
    assert batches
    assert not any(request.title or request.truth for request in batches)


def test_a_model_that_does_not_batch_gets_its_items_as_they_are() -> None:
    samples = items(3)
    made = requests(samples, 0)
    assert made == samples
    assert made[0].inputs["x"].shape == (2,)


def test_items_of_different_shapes_are_never_in_one_batch() -> None:
    made = requests([*items(2, 3), *items(2, 5, first=2)], 4)
    shapes = [request.inputs["x"].shape for request in made]
    for side in (3, 5):
        assert {shape[0] for shape in shapes if shape[1] == side} >= {1, 2, 3, 4}


def test_items_with_other_inputs_are_never_in_one_batch() -> None:
    pixels = Sample({"pixels": np.zeros(2)})
    image = Sample({"image": np.zeros(2)})
    for request in requests([pixels, image], 4):
        assert len(request.inputs) == 1


@pytest.mark.parametrize(("megabytes", "largest"), [(0.01, 64), (1, 4), (3, 3), (20, 3)])
def test_large_items_travel_in_small_batches(megabytes: float, largest: int) -> None:
    """At most 4 MiB a request, but batches of 3 are always among them."""
    item = Sample({"x": np.zeros(int(megabytes * (1 << 20)), np.uint8)})
    made = sizes(requests([item], 64))
    assert max(made) <= largest
    assert {1, 2, 3} <= set(made)


def test_bytes_items_are_batched_whole() -> None:
    texts = [Sample({"x": np.array([text], object)}) for text in (b"", b"a\0", b"long" * 9)]
    batch = requests(texts, 3)[-1].inputs["x"]
    assert batch.shape == (3, 1)
    assert set(batch.ravel()) == {b"", b"a\0", b"long" * 9}
