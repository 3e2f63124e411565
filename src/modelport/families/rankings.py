"""Lists of the ten best: methods that make them, and how many of the held-out likes they hold.

A method takes the questions and gives ``int64[questions, 10]``, positions of items, the best
first: :func:`by_popularity` and :func:`by_cosine` learn nothing, :func:`by_networks` asks what
was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from modelport.build.evaluation import bootstrap_interval
from modelport.families import interactions, recommenders
from modelport.families.interactions import HeldOut
from modelport.families.recommenders import Questions
from modelport.serving import recommendation

TOP = 10
# Questions that are put to the networks at once.
_BATCH = 64
# Of each network what it takes and gives, in order.
_TENSORS = {
    "retrieval": (("history", "kinds"), ("candidates", "features", "nearest", "closeness")),
    "ranker": (("features",), ("scores",)),
}


def by_popularity(held_out: HeldOut) -> np.ndarray:
    """Give to everyone the most rated items that they have not rated: int64[questions, 10]."""
    counts = held_out.ratings.matrix(held_out.before_test).sum(axis=0)
    return _best_unseen(held_out, np.tile(counts, (len(held_out.test), 1)))


def by_cosine(held_out: HeldOut, *, memory: float = np.inf) -> np.ndarray:
    """Give the items with the largest sum of cosines to what was rated: int64[questions, 10].

    Args:
        held_out: all ratings before the test make the similarities.
        memory: a rating counts by ``exp(-age / memory)``, its age in ratings; all count
            alike where it is infinite.
    """
    ratings = held_out.ratings
    similarity = interactions.cosine(ratings.matrix(held_out.before_test))
    np.fill_diagonal(similarity, 0)
    weights = np.zeros((len(held_out.test), len(ratings.items)))
    for row, question in zip(weights, held_out.test, strict=True):
        ages = np.arange(len(question.history))[::-1]
        row[ratings.item[question.history]] = np.exp(-ages / memory)
    return _best_unseen(held_out, weights @ similarity)


def by_networks(held_out: HeldOut, retrieval: nn.Module, ranker: nn.Module) -> np.ndarray:
    """Ask two networks as a client does, with the code that is served: int64[questions, 10].

    Args:
        held_out: what is asked; each question's history goes along, nobody is known.
        retrieval: takes what :data:`~modelport.families.recommenders.HISTORY` declares, in that
            order, and gives what :func:`~modelport.families.recommenders.retrieved` does.
        ranker: takes ``features`` and gives ``scores``.

    Returns:
        Positions of items, -1 where there is none left.
    """
    ratings = held_out.ratings
    parts = {"retrieval": retrieval.eval(), "ranker": ranker.eval()}

    def call(name: str, inputs: recommendation.Arrays) -> recommendation.Arrays:
        takes, gives = _TENSORS[name]
        with torch.inference_mode():
            given = parts[name](*(torch.from_numpy(np.array(inputs[tensor])) for tensor in takes))
        arrays = given if isinstance(given, tuple) else (given,)
        return {tensor: array.numpy() for tensor, array in zip(gives, arrays, strict=True)}

    answer = recommendation.Recommender(
        recommendation.Items(ratings.items, ratings.titles),
        recommendation.Histories.none(),
        retrieval="retrieval",
        ranker="ranker",
    )
    place = {name.encode(): index for index, name in enumerate(ratings.items)}
    lists = []
    for start in range(0, len(held_out.test), _BATCH):
        asked = recommenders.asked(ratings, held_out.test[start : start + _BATCH])
        counts = np.full((len(asked["liked"]), 1), TOP, np.int32)
        found = answer({**asked, "count": counts}, call)["items"]
        lists += [[place.get(name, -1) for name in row] for row in found]
    return np.array(lists)


def _best_unseen(held_out: HeldOut, scores: np.ndarray) -> np.ndarray:
    for row, question in zip(scores, held_out.test, strict=True):
        row[held_out.ratings.item[question.history]] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def baseline(method: Callable[[HeldOut], np.ndarray]) -> Callable[[Questions], dict[str, float]]:
    """Make a simple method one to beat: its figures on the same questions."""

    def measured(dataset: Questions) -> dict[str, float]:
        return figures(dataset.held_out, method(dataset.held_out))

    return measured


def figures(held_out: HeldOut, lists: np.ndarray) -> dict[str, float]:
    """Measure lists of ten on the test questions.

    Args:
        held_out: the questions, each with the likes to be found.
        lists: int64[questions, 10], the best first, -1 for nothing; of fewer where there are
            not ten items.

    Returns:
        ``recall_at_10`` and ``ndcg_at_10`` (Järvelin & Kekäläinen 2002, gains 0 and 1) as
        means over users, with 95 % bootstrap intervals over users (``…_low``, ``…_high``).
    """
    return _means(_each(held_out, lists), "_at_10")


def lead(held_out: HeldOut, lists: np.ndarray, over: np.ndarray) -> dict[str, float]:
    """Measure by how much ``lists`` are better than others, user by user.

    Returns:
        ``recall_lead`` and ``ndcg_lead`` with their intervals: the lead is no chance where
        the interval lies above 0.
    """
    own, others = _each(held_out, lists), _each(held_out, over)
    return _means({name: own[name] - others[name] for name in own}, "_lead")


def _each(held_out: HeldOut, lists: np.ndarray) -> dict[str, np.ndarray]:
    """Give recall and NDCG of each question."""
    wanted = [held_out.ratings.item[question.wanted] for question in held_out.test]
    hits = np.stack([np.isin(top, want) for top, want in zip(lists, wanted, strict=True)])
    counts = np.array([len(want) for want in wanted])
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, TOP) - 1]
    return {"recall": hits.sum(axis=1) / counts, "ndcg": hits @ discounts[: hits.shape[1]] / ideal}


def _means(values: Mapping[str, np.ndarray], suffix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, each in values.items():
        low, high = bootstrap_interval(each)
        title = name + suffix
        found |= {title: float(each.mean()), f"{title}_low": low, f"{title}_high": high}
    return found
