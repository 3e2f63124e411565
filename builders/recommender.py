"""What to watch next: two towers and a ranker on MovieLens-100k, asked by user or by likes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from _movielens import MOVIELENS_100K

from modelport import spec
from modelport.families import interactions, rankings, recommenders
from modelport.families.recommenders import Questions
from modelport.families.two_towers import Ranker, Retrieval, TwoTowers, loss
from modelport.serving import recommendation
from modelport.spec import Gate, PythonModel, Sample, Tolerance, TorchModel, Training

# So many of a user's latest ratings are looked at.
LOOKED_AT = 40
# The memory that was best on the validation questions, of 2, 3, 5, 8, 15 and endless.
cosine_now = partial(rankings.by_cosine, memory=3.0)


def network(ratings: Path) -> TwoTowers:
    """Make the towers and the ranker for the items of the file."""
    return TwoTowers(interactions.hold_out(ratings), looked_at=LOOKED_AT)


def questions(ratings: Path) -> Questions:
    """Make of each like a row, and hold each user's last likes out."""
    return recommenders.questions(interactions.hold_out(ratings), looked_at=LOOKED_AT)


def measure(network: TwoTowers, dataset: Questions) -> dict[str, float]:
    """Look for what was held out, and compare with the best simple method user by user."""
    held_out = dataset.held_out
    lists = rankings.by_networks(held_out, Retrieval(network), Ranker(network))
    lead = rankings.lead(held_out, lists, over=cosine_now(held_out))
    return rankings.figures(held_out, lists) | lead


def histories(ratings: Path) -> list[Sample]:
    """Take histories that end at the test, of many lengths, and none."""
    return recommenders.histories(interactions.hold_out(ratings), lengths=(LOOKED_AT, 7, 1))


def tables(ratings: Path) -> dict[str, bytes]:
    """Make what lies beside model.py: names, titles, and what each user has rated until today."""
    return recommenders.tables(interactions.read(ratings))


def requests(ratings: Path) -> list[Sample]:
    """Ask for a user, for likes, for both, and for somebody of whom nothing is known."""
    return recommenders.requests(interactions.read(ratings))


models = (
    TorchModel(
        name="recommender_retrieval",
        doc="A history of ratings to 100 items that are not in it, by two towers.",
        inputs=recommenders.HISTORY,
        outputs=recommenders.retrieved(100),
        network=network,
        part=Retrieval,
        sources=(MOVIELENS_100K,),
        data=questions,
        samples=histories,
        training=Training(
            epochs=8,
            patience=3,
            batch_size=256,
            learning_rate=5e-3,
            loss=loss,
            inputs=("history", "kinds", "for_tower", "for_ranker"),
        ),
        measure=measure,
        baselines={
            "popularity": rankings.baseline(rankings.by_popularity),
            "item-item cosine": rankings.baseline(rankings.by_cosine),
            "item-item cosine, latest first": rankings.baseline(cosine_now),
        },
        gates=(
            Gate("recall_at_10", at_least=0.15, on=MOVIELENS_100K),
            # Above the best simple method by more than chance gives.
            Gate("recall_lead_low", at_least=0.0),
            Gate("ndcg_lead_low", at_least=0.0),
        ),
        tolerance=Tolerance(absolute=1e-4, relative=1e-3),
    ),
    TorchModel(
        name="recommender_ranker",
        doc="Scores each candidate by its features, whatever stands beside it.",
        inputs=(recommenders.CANDIDATES,),
        outputs=(recommenders.SCORES,),
        weights_of="recommender_retrieval",
        part=Ranker,
        samples=recommenders.candidates,
    ),
    # One request is one call of each part, so that there is nothing to batch dynamically.
    PythonModel(
        name="recommender",
        doc="Recommends what a user has not seen, and says why.",
        inputs=spec.described(
            recommenders.REQUEST,
            user_id="text",
            liked="text",
            stars={"unit": "stars"},
            count={"minimum": 1.0, "maximum": 100.0},
        ),
        outputs=spec.described(recommenders.ANSWER, items="text", titles="text", reasons="text"),
        load=recommendation.Recommender.from_folder,
        files=tables,
        calls=("recommender_retrieval", "recommender_ranker"),
        sources=(MOVIELENS_100K,),
        samples=requests,
        tolerance=Tolerance(absolute=1e-4, relative=1e-3),
        limits=(
            "The version's folder holds what each user rated, in order: personal data. Keep it as"
            " such, and build anew when somebody wants to be forgotten.",
            "It learned from 943 people who rated films in 1997 and 1998; later films are unknown.",
            "The order of what was liked matters: the latest counts most, and of a history the"
            f" last {LOOKED_AT} ratings are looked at.",
            "Scores order one list; they are no probabilities.",
            "Somebody of whom nothing is known gets what most people rated.",
        ),
    ),
)
