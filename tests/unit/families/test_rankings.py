"""Lists of ten: what methods put there, and how many of the held-out likes are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modelport.families import interactions, rankings, recommenders
from modelport.families.interactions import HeldOut
from modelport.serving.recommendation import FEATURES


def test_figures_are_those_of_a_calculation_by_hand(held_out: HeldOut) -> None:
    found = rankings.figures(held_out, np.array([[14, 0, 16, 1, 2, 3, 4, 5, 6, 7]]))
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found["recall_at_10"] == pytest.approx(2 / 3)
    assert found["ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(4)) / ideal)
    lead = rankings.lead(held_out, np.full((1, 10), 14), np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]))
    assert lead["recall_lead"] > 0


def test_simple_methods_never_name_what_was_rated(held_out: HeldOut) -> None:
    history = set(held_out.ratings.item[held_out.test[0].history])
    for lists in (
        rankings.by_popularity(held_out),
        rankings.by_cosine(held_out),
        rankings.by_cosine(held_out, memory=3),
    ):
        unseen = len(held_out.ratings.items) - len(history)
        assert not history & set(lists[0][:unseen])


def test_a_method_to_beat_is_measured_on_the_same_questions(held_out: HeldOut) -> None:
    dataset = recommenders.questions(held_out)
    found = rankings.baseline(lambda _: np.array([[14, 16, 18, *range(7)]]))(dataset)
    assert found["recall_at_10"] == found["ndcg_at_10"] == 1


def test_a_catalogue_of_fewer_than_ten_items_is_measured_too(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    rows = "\n".join(f"a,{n},5,{n}" for n in range(1, 6))
    path.write_text(f"user,item,rating,timestamp\n{rows}\n", encoding="utf-8")
    held_out = interactions.hold_out(path, count=1)
    found = rankings.figures(held_out, rankings.by_popularity(held_out))
    assert found["recall_at_10"] == found["ndcg_at_10"] == 1


class Retrieves(nn.Module):
    """Gives three items, and nothing in the fourth place."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[list[int], list[int]]] = []

    def forward(self, history: torch.Tensor, kinds: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.asked += zip(history.tolist(), kinds.tolist(), strict=True)
        candidates = torch.tensor([15, 16, 17, 0]).expand(len(history), -1)
        features = candidates[..., None].float().expand(-1, -1, len(FEATURES))
        return candidates, features, torch.zeros_like(candidates), torch.zeros(candidates.shape)


class Ranks(nn.Module):
    """Likes high numbers."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[..., 0]


def test_networks_are_asked_as_the_server_asks_them(held_out: HeldOut) -> None:
    retrieval = Retrieves()
    lists = rankings.by_networks(held_out, retrieval, Ranks())
    # Items 17, 16 and 15 by position; then nothing.
    assert lists.tolist() == [[16, 15, 14, *[-1] * 7]]
    ((history, kinds),) = retrieval.asked
    assert history == list(range(1, 15))
    assert kinds == [2, 1] * 7
    assert rankings.figures(held_out, lists)["recall_at_10"] == pytest.approx(2 / 3)
