"""Recommending by two towers that retrieve and a ranker that orders, trained together.

Retrieval follows Covington et al. (2016, "Deep Neural Networks for YouTube
Recommendations"): a user is what they rated, and training is a softmax over all items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelport.families import interactions
from modelport.families.interactions import HeldOut
from modelport.serving.recommendation import FEATURES, LIKED, MOST

# Ratings after which an old one counts a third: what one is after now, lately, and always.
_SPANS = (4.0, 10.0, 40.0)
_NEVER = -1e9


class TwoTowers(nn.Module):
    """Both towers and the ranker, trained together.

    A history is int64[batch, ratings] of item numbers from 1, oldest first, 0 for nothing, and
    ``kinds`` tells what was liked. The ranker learns from likes that the towers do not
    learn from: what they learned by heart would look better to it than what is new.

    Args:
        held_out: of its ratings those that are to be learned from are counted.
        looked_at: so many of a user's latest ratings are looked at.
        width: of the vectors of users and items.
        memories: one head of the user tower for each: the ratings after which an old one
            counts a third to it, before anything is learned.
    """

    similarity: torch.Tensor
    similarity_before: torch.Tensor
    facts: torch.Tensor
    genres: torch.Tensor
    decade: torch.Tensor
    popularity: torch.Tensor
    fading: torch.Tensor

    def __init__(
        self,
        held_out: HeldOut,
        *,
        looked_at: int = 40,
        width: int = 48,
        memories: Sequence[float] = (3.0, 8.0, 20.0, 60.0),
    ) -> None:
        super().__init__()
        self.looked_at = looked_at
        self._count(held_out)
        self.identity = nn.Embedding(self.items + 1, width, padding_idx=0)
        self.about = nn.Linear(self.facts.shape[1], width, bias=False)
        self.kind = nn.Embedding(LIKED + 1, width)
        for layer in (self.identity, self.about, self.kind):
            nn.init.normal_(layer.weight, std=0.1 if layer is self.identity else 0.02)
        age = torch.arange(looked_at, 0, -1.0)[:, None]
        self.age = nn.Parameter(-age / torch.tensor(memories))
        self.attention = nn.Linear(width, len(memories))
        self.nobody = nn.Parameter(torch.zeros(width))
        self.mixed = nn.Linear(len(memories) * width, width)
        self.deep = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.2),
            nn.Linear(2 * width, width),
        )  # fmt: skip
        self.dropout = nn.Dropout(0.2)
        self.sharpness = nn.Parameter(torch.tensor(2.5))
        self.offset = nn.Parameter(self.popularity.clone())
        self.line = nn.Linear(len(FEATURES), 1)
        last = nn.Linear(16, 1)
        self.curve = nn.Sequential(nn.Linear(len(FEATURES), 16), nn.GELU(), last)
        # It begins with the order of the towers.
        nn.init.zeros_(last.weight)
        self.line.weight.data = functional.one_hot(torch.tensor([0]), len(FEATURES)).float()

    def _count(self, held_out: HeldOut) -> None:
        """Keep what is counted, not learned: row 0 of what a history is looked up in is nothing.

        Counted anew from the same file, so it is not among the weights.
        """
        ratings = held_out.ratings
        learned = held_out.learned
        # What the ranker learns from must not have been counted when it does.
        before = np.setdiff1d(learned, held_out.for_ranker)
        self.items = len(ratings.items)
        counts = ratings.matrix(learned).sum(axis=0)
        decade = np.nan_to_num((ratings.years - 1990) / 10)
        norm = np.linalg.norm(ratings.genres, axis=1, keepdims=True)
        tables = {
            "similarity": _similarity(ratings.matrix(learned)),
            "similarity_before": _similarity(ratings.matrix(before)),
            "facts": _with_nothing(np.column_stack([ratings.genres, decade])),
            "genres": _with_nothing(ratings.genres / np.maximum(norm, 1)),
            "decade": _with_nothing(decade),
            "popularity": np.log1p(counts) - np.log1p(counts.mean()),
            "fading": np.exp(np.arange(1 - self.looked_at, 1) / np.array(_SPANS)[:, np.newaxis]),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.astype(np.float32)), persistent=False)

    def latest(self, rated: torch.Tensor) -> torch.Tensor:
        """Bring a history of any length to what is looked at, zeros in front."""
        nothing = rated.new_zeros(len(rated), self.looked_at)
        return torch.cat([nothing, rated], dim=1)[:, -self.looked_at :]

    def vectors(self) -> torch.Tensor:
        """Give the item tower's float32[items + 1, width], row 0 that of none."""
        about: torch.Tensor = self.about(self.facts)
        return self.identity.weight + about

    def tower(self, history: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Give float32[batch, items]: cosine of the towers, sharpened, and what all like."""
        vectors = self.vectors()
        user = functional.normalize(self._user(vectors, history, kinds), dim=-1)
        items = functional.normalize(vectors[1:], dim=-1)
        return self.sharpness.exp() * (user @ items.T) + self.offset

    def _user(
        self, vectors: torch.Tensor, history: torch.Tensor, kinds: torch.Tensor
    ) -> torch.Tensor:
        """Give the user tower's vectors: weighted means of the history, one a head, mixed."""
        rated = self.dropout(vectors[history] + self.kind(kinds))
        weight = (self.attention(rated) + self.age).masked_fill((history == 0)[..., None], _NEVER)
        # A vector of its own stands for those of whom little is known.
        nobody = self.nobody.expand(len(rated), 1, -1)
        weight = torch.cat([weight, torch.full_like(weight[:, :1], -3.0)], dim=1)
        means = weight.softmax(dim=1).transpose(1, 2) @ torch.cat([rated, nobody], dim=1)
        user: torch.Tensor = self.mixed(means.flatten(1))
        return torch.add(user, self.deep(user))

    def features(
        self,
        tower: torch.Tensor,
        history: torch.Tensor,
        kinds: torch.Tensor,
        similarity: torch.Tensor,
    ) -> torch.Tensor:
        """Give float32[batch, items, features]: what the ranker knows of each item."""
        there, liked = (history > 0).float(), (kinds == LIKED).float()
        now, lately, taste = (there[:, None] * self.fading).unbind(1)
        rows = similarity[history]
        sums = torch.stack([now, now * liked, taste / 4], dim=1) @ rows
        nearest = (rows * liked[..., None]).amax(dim=1)
        mean = lately / lately.sum(dim=1, keepdim=True).clamp(min=1e-6)
        genres = functional.normalize((self.genres[history] * mean[..., None]).sum(1), dim=-1)
        year = (self.decade[history] * mean).sum(dim=1, keepdim=True)
        years = (self.decade[1:] - year).abs() * there.amax(dim=1, keepdim=True)
        popularity = self.popularity.expand_as(tower)
        columns = [tower, *sums.unbind(1), nearest, popularity, genres @ self.genres[1:].T, years]
        return torch.stack(columns, dim=-1)

    def rank(self, features: torch.Tensor) -> torch.Tensor:
        """Give a score to each candidate on its own: [..., features] to [...]."""
        scores: torch.Tensor = (self.line(features) + self.curve(features)).squeeze(-1)
        return scores

    def forward(
        self, history: torch.Tensor, kinds: torch.Tensor, for_tower: torch.Tensor,
        for_ranker: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Give the towers' scores of all items for some rows, and the ranker's for some."""
        history, kinds = self.latest(history), self.latest(kinds)
        tower = self.tower(history, kinds)
        similarity = self.similarity_before if self.training else self.similarity
        features = self.features(
            tower[for_ranker].detach(), history[for_ranker], kinds[for_ranker], similarity
        )
        return tower[for_tower], self.rank(features)


def loss(outputs: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of both; targets int64[rows, 2] are -1 where a row is not for one of them."""
    total = torch.zeros(())
    for scores, wanted in zip(outputs, targets.T, strict=True):
        wanted = wanted[wanted >= 0]
        summed = functional.cross_entropy(scores, wanted, reduction="sum")
        total = total + summed / max(1, len(wanted))
    return total


class Retrieval(nn.Module):
    """The part that is served first: a history of any length to items that are not in it.

    Args:
        whole: the trained network.
        candidates: how many it gives; the rest of fewer is number 0.
    """

    def __init__(self, whole: TwoTowers, *, candidates: int = MOST) -> None:
        super().__init__()
        self.whole = whole
        self.candidates = candidates

    def forward(
        self, history: torch.Tensor, kinds: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give candidates, their features, the nearest liked item and its cosine."""
        whole = self.whole
        latest, latest_kinds = (whole.latest(rated) for rated in (history, kinds))
        tower = whole.tower(latest, latest_kinds)
        seen = tower.new_zeros(len(history), whole.items + 1).scatter(1, history, 1.0)[:, 1:]
        open_to = tower.masked_fill(seen > 0, _NEVER)
        scores, places = open_to.topk(min(self.candidates, whole.items), dim=1)
        features = whole.features(tower, latest, latest_kinds, whole.similarity)
        features = features.gather(1, places[..., None].expand(-1, -1, len(FEATURES)))
        # Number 0 where fewer are left that have not been seen, or there are fewer in all.
        candidates = torch.where(scores > _NEVER / 2, places + 1, 0)
        missing = self.candidates - candidates.shape[1]
        candidates = functional.pad(candidates, (0, missing))
        features = functional.pad(features, (0, 0, 0, missing))
        nearest, closeness = self._nearest(candidates, latest, latest_kinds)
        return candidates, features, nearest, closeness

    def _nearest(
        self, candidates: torch.Tensor, history: torch.Tensor, kinds: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of what was liked, find the nearest to each candidate in the item tower's space."""
        vectors = functional.normalize(self.whole.vectors(), dim=-1)
        cosines = vectors[candidates] @ vectors[history].transpose(1, 2)
        cosines = cosines.masked_fill((kinds != LIKED)[:, None], -2.0)
        closeness, place = cosines.max(dim=-1)
        liked = history[:, None].expand(-1, candidates.shape[1], -1)
        nearest = liked.gather(2, place[..., None]).squeeze(-1)
        return torch.where(closeness > -2.0, nearest, 0), closeness


class Ranker(nn.Module):
    """The part that is served second: features of candidates, any number of them, to scores."""

    def __init__(self, whole: TwoTowers) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score float32[batch, candidates, features]."""
        return self.whole.rank(features)


def _similarity(rated: np.ndarray) -> np.ndarray:
    """Give the cosine of items, none with itself; row 0 (of what is looked up) is nothing."""
    similarity = interactions.cosine(rated)
    np.fill_diagonal(similarity, 0)
    return _with_nothing(similarity)


def _with_nothing(table: np.ndarray) -> np.ndarray:
    return np.pad(table, [(1, 0)] + [(0, 0)] * (table.ndim - 1))
