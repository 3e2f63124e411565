"""The few best answers of a classifier of many classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelport.build import Dataset, Split
from modelport.families import topk
from modelport.serving.classes import Names

BEST = topk.TopK(3, classes=6)


def split(logits: object, targets: object) -> Dataset:
    part = Split({"x": np.array(logits, np.float32)}, np.array(targets))
    nothing = Split({"x": part.inputs["x"][:0]}, part.targets[:0])
    return Dataset(nothing, nothing, part)


def test_the_part_gives_the_best_first() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0, -1.0, -2.0]])
    numbers, probabilities = BEST.part(torch.nn.Identity())(logits)
    assert numbers.tolist() == [[1, 3, 2]]
    torch.testing.assert_close(probabilities, logits.softmax(-1)[:, [1, 3, 2]])


def test_the_tensors_are_those_that_are_given() -> None:
    given = BEST.part(torch.nn.Identity())(torch.zeros(2, 6))
    for tensor, array in zip(BEST.numbers, given, strict=True):
        assert tensor.dims == tuple(array.shape[1:])
    named = Names(list("abcdef"))(
        {t.name: array.numpy() for t, array in zip(BEST.numbers, given, strict=True)}
    )
    declared = BEST.names(label="a letter")
    assert {t.name: t.dims for t in declared} == {n: a.shape[1:] for n, a in named.items()}


def test_a_right_answer_counts_where_it_stands() -> None:
    row = [0.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    data = split([row] * 4, [1, 2, 3, 4])  # first, second, third, fourth
    assert BEST.measure(torch.nn.Identity(), data) == {"top1": 0.25, "top3": 0.75}
    # What is served of the network is worth the same.
    assert BEST.measure(BEST.part(torch.nn.Identity()), data) == {"top1": 0.25, "top3": 0.75}


def test_the_commonest_classes_are_what_needs_no_network() -> None:
    data = split(np.zeros((10, 6)), [5, 5, 5, 5, 0, 0, 0, 1, 1, 2])
    assert BEST.commonest(data) == {"top1": 0.4, "top3": 0.9}


def test_samples_are_answers_that_could_be() -> None:
    for sample in BEST.samples():
        numbers, probabilities = sample.inputs["classes"], sample.inputs["probabilities"]
        assert len(set(numbers.tolist())) == 3
        assert set(numbers.tolist()) <= set(range(6))
        assert (np.diff(probabilities) < 0).all()
        assert probabilities.sum() == pytest.approx(0.875)
        assert (numbers.dtype, probabilities.dtype) == (np.int64, np.float32)
