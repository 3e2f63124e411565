"""Two towers and a ranker: laws of what is served, for networks that have learned nothing yet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from modelport.families import recommenders
from modelport.families.interactions import HeldOut
from modelport.families.two_towers import Ranker, Retrieval, TwoTowers, loss

LOOKED_AT = 5
RATED = st.lists(st.integers(1, 19), min_size=1, max_size=12)


@pytest.fixture
def towers(held_out: HeldOut) -> TwoTowers:
    torch.manual_seed(0)
    network = TwoTowers(held_out, looked_at=LOOKED_AT, width=8, memories=(2.0, 9.0))
    return network.eval()


def asked(numbers: list[int], kind: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    history = torch.tensor([numbers])
    return history, (history > 0) * kind


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rated=RATED)
def test_candidates_were_not_rated_and_each_is_there_once(
    towers: TwoTowers, rated: list[int]
) -> None:
    candidates = Retrieval(towers, candidates=25)(*asked(rated))[0][0].tolist()
    unseen = set(range(1, 20)) - set(rated)
    # Those that are older than what is looked at are kept out too; the rest is nothing.
    assert set(candidates[: len(unseen)]) == unseen
    assert candidates[len(unseen) :] == [0] * (25 - len(unseen))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rated=RATED, zeros=st.integers(0, 9))
def test_zeros_in_front_of_a_history_change_nothing(
    towers: TwoTowers, rated: list[int], zeros: int
) -> None:
    retrieval = Retrieval(towers, candidates=3)
    one, other = (retrieval(*asked([0] * count + rated)) for count in (0, zeros))
    for before, after in zip(one, other, strict=True):
        torch.testing.assert_close(before, after)


def test_the_nearest_is_one_that_was_liked(towers: TwoTowers) -> None:
    retrieval = Retrieval(towers, candidates=3)
    _, _, nearest, closeness = retrieval(*asked([3, 4]))
    assert set(nearest[0].tolist()) <= {3, 4}
    assert (closeness.abs() <= 1 + 1e-6).all()
    _, _, nearest, closeness = retrieval(*asked([3, 4], kind=1))
    assert nearest.tolist() == [[0, 0, 0]]
    assert closeness.tolist() == [[-2, -2, -2]]


def test_a_ranker_that_learned_nothing_orders_as_the_towers_do(towers: TwoTowers) -> None:
    _, features, _, _ = Retrieval(towers, candidates=6)(*asked([1, 2]))
    scores = Ranker(towers)(features)
    assert scores[0].diff().lt(0).all()


def test_what_it_gives_is_declared(towers: TwoTowers) -> None:
    given = Retrieval(towers, candidates=7)(*asked([1]))
    declared = recommenders.retrieved(7)
    assert [tuple(tensor.shape[1:]) for tensor in given] == [tensor.dims for tensor in declared]


def test_rows_are_learned_by_those_that_they_are_for(held_out: HeldOut, towers: TwoTowers) -> None:
    # Longer histories than are looked at are cut.
    split = recommenders.questions(held_out, looked_at=9).train
    names = ("history", "kinds", "for_tower", "for_ranker")
    inputs = [torch.from_numpy(split.inputs[name]) for name in names]
    targets = torch.from_numpy(split.targets)
    tower, ranker = towers(*inputs)
    assert tower.shape == (5, 19)
    assert ranker.shape == (3, 19)
    expected = functional.cross_entropy(tower, targets[inputs[2], 0]) + functional.cross_entropy(
        ranker, targets[inputs[3], 1]
    )
    torch.testing.assert_close(loss((tower, ranker), targets), expected)
    loss((tower, ranker), targets).backward()
    assert towers.line.weight.grad is not None
    # A batch without a row for the ranker.
    torch.testing.assert_close(
        loss((tower, ranker[:0]), torch.stack([targets[inputs[2], 0], torch.full((5,), -1)], 1)),
        functional.cross_entropy(tower, targets[inputs[2], 0]),
    )
