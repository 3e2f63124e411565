"""What to watch next: two towers and a ranker on MovieLens-100k, asked by user or by likes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _movielens import COUNT, ITEMS, MOVIELENS_100K, TITLES
from _two_towers import LOOKED_AT, Ranker, Retrieval, TwoTowers, loss

from modelport.build import Dataset, Split, export
from modelport.families import interactions
from modelport.families.interactions import HeldOut, Question
from modelport.serving import recommendation
from modelport.serving.recommendation import FEATURES, LIKED, RATED
from modelport.spec import Gate, PythonModel, Sample, Tensor, Tolerance, TorchModel, Training


@dataclass(frozen=True)
class Questions(Dataset):
    """Rows to learn from, and with them the ratings that they were made of."""

    held_out: HeldOut


def network(ratings: Path) -> TwoTowers:
    """Make the towers and the ranker for the items of the file."""
    return TwoTowers(interactions.hold_out(ratings))


def questions(ratings: Path) -> Questions:
    """Make of each like a row: what was rated before it, and the like as the target."""
    held_out = interactions.hold_out(ratings)
    found = held_out.ratings
    for_ranker = np.isin(np.arange(len(found.item)), held_out.for_ranker)
    learned = np.isin(np.arange(len(found.item)), held_out.learned)
    train = [
        (rated[:place], position)
        for rated in found.of_users()
        for place, position in enumerate(rated)
        if learned[position] and found.liked[position]
    ]
    at = np.array([position for _, position in train])
    validation, test = (
        [(question.history, question.wanted[0]) for question in part]
        for part in (held_out.validation, held_out.test)
    )
    both = np.ones(len(test), bool)
    return Questions(
        _rows(held_out, train, ~for_ranker[at], for_ranker[at]),
        _rows(held_out, validation, both, both),
        _rows(held_out, test, both, both),
        held_out,
    )


def _rows(
    held_out: HeldOut,
    rows: Sequence[tuple[np.ndarray, int]],
    for_tower: np.ndarray,
    for_ranker: np.ndarray,
) -> Split:
    ratings = held_out.ratings
    history, kinds = np.zeros((2, len(rows), LOOKED_AT), np.int64)
    for row, (rated, _) in enumerate(rows):
        latest = rated[-LOOKED_AT:]
        history[row, LOOKED_AT - len(latest) :] = ratings.item[latest] + 1
        kinds[row, LOOKED_AT - len(latest) :] = _kinds(ratings.liked[latest])
    target = ratings.item[[position for _, position in rows]]
    targets = [np.where(chosen, target, -1) for chosen in (for_tower, for_ranker)]
    inputs = {"history": history, "kinds": kinds}
    return Split(
        inputs | {"for_tower": for_tower, "for_ranker": for_ranker}, np.stack(targets, axis=1)
    )


def _kinds(liked: np.ndarray) -> np.ndarray:
    return np.where(liked, LIKED, RATED)


def measure(network: TwoTowers, dataset: Questions) -> dict[str, float]:
    """Ask as a client does, with the code that is served, and look for what was held out."""
    ratings, test = dataset.held_out.ratings, dataset.held_out.test
    served = {model.name: model for model in models if isinstance(model, TorchModel)}

    def call(name: str, inputs: recommendation.Arrays) -> recommendation.Arrays:
        part = served[name].part
        assert part is not None
        return export.reference(served[name], part(network).eval(), inputs)

    items = recommendation.Items(ratings.items, ratings.titles)
    answer = recommendation.Recommender(items, recommendation.Histories.none())
    place = {name.encode(): index for index, name in enumerate(ratings.items)}
    lists = [
        [place.get(name, -1) for name in row]
        for start in range(0, len(test), 64)
        for row in answer(asked(ratings, test[start : start + 64]), call)["items"]
    ]
    own = np.array(lists)
    figures = interactions.figures(dataset.held_out, own)
    return figures | interactions.lead(dataset.held_out, own, over=cosine_now(dataset.held_out))


def asked(
    ratings: interactions.Interactions, questions: Sequence[Question]
) -> dict[str, np.ndarray]:
    """Put histories in the words of a request: names and stars, empty where one is shorter."""
    longest = max(len(question.history) for question in questions)
    liked = np.full((len(questions), longest), b"", np.object_)
    stars = np.zeros((len(questions), longest), np.float32)
    for row, question in enumerate(questions):
        length = len(question.history)
        liked[row, :length] = [ratings.items[i].encode() for i in ratings.item[question.history]]
        stars[row, :length] = np.where(ratings.liked[question.history], 5, 1)
    return {"liked": liked, "stars": stars}


def tables(ratings: Path) -> dict[str, bytes]:
    """Make what lies beside model.py: names, titles, and what each user has rated until today."""
    found = interactions.read(ratings)
    users = np.arange(len(found.users) + 1)
    arrays: dict[str, Any] = {
        "users": np.array(found.users),
        "bounds": np.searchsorted(found.user, users),
        "items": (found.item + 1).astype(np.int32),
        "kinds": _kinds(found.liked).astype(np.int8),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return {
        recommendation.ITEMS_FILE: recommendation.Items.to_json(found.items, found.titles),
        recommendation.HISTORIES_FILE: file.getvalue(),
    }


def histories(ratings: Path) -> list[Sample]:
    """Take histories that end at the test, of many lengths, and none."""
    held_out = interactions.hold_out(ratings)
    rows = [(question.history, 0) for question in held_out.test[:10]]
    everything = np.ones(len(rows) + 1, bool)
    split = _rows(held_out, [*rows, (np.empty(0, np.int64), 0)], everything, everything)
    lengths = (LOOKED_AT, 7, 1)
    return [
        Sample({name: split.inputs[name][row, -length:] for name in ("history", "kinds")})
        for row in range(len(split))
        for length in lengths
    ]


def candidates() -> list[Sample]:
    """Draw features in the range that they have, of few candidates and of many."""
    random = np.random.default_rng(0)
    shapes = [(count, len(FEATURES)) for count in (1, 3, 100, 100)]
    return [Sample({"features": random.normal(size=s).astype(np.float32)}) for s in shapes]


def requests(ratings: Path) -> list[Sample]:
    """Ask for a user, for likes, for both, and for somebody of whom nothing is known."""
    found = interactions.read(ratings)
    counts = found.matrix(found.liked).sum(axis=0)
    most_liked = [found.items[item] for item in np.argsort(-counts, kind="stable")[:3]]
    known = found.users[0]
    return [
        Sample({"liked": _words(*most_liked[:1])}, title="somebody who liked the most liked item"),
        Sample({"user_id": _words(known)}, title=f"user {known}, whose ratings are known"),
        Sample({"user_id": _words("a new user")}, title="a user of whom nothing is known"),
        Sample({"liked": _words(*most_liked), "stars": np.array([5, 1, 4], np.float32)}),
        Sample({"user_id": _words(known), "liked": _words(*most_liked)}),
        Sample({"count": np.array([3], np.int32)}),
    ]


def _words(*words: str) -> np.ndarray:
    return np.array([word.encode() for word in words], dtype=np.object_)


def simple(dataset: Questions, method: Callable[[HeldOut], np.ndarray]) -> dict[str, float]:
    """Measure a simple method on the same questions."""
    return interactions.figures(dataset.held_out, method(dataset.held_out))


# The memory that was best on the validation questions, of 2, 3, 5, 8, 15 and endless.
cosine_now = partial(interactions.by_cosine, memory=3.0)
KNOWN = "of each: " + ", ".join(FEATURES)

models = (
    TorchModel(
        name="recommender_retrieval",
        doc="A history of ratings to 100 items that are not in it, by two towers.",
        inputs=(
            Tensor("history", "INT64", (-1,), doc="numbers of items from 1, oldest first, 0 none"),
            Tensor("kinds", "INT64", (-1,), doc="of each: 1 rated, 2 liked, 0 none"),
        ),
        outputs=(
            Tensor("candidates", "INT64", (100,), doc="numbers of items, the best first, 0 none"),
            Tensor("features", "FP32", (100, len(FEATURES)), doc=KNOWN),
            Tensor("nearest", "INT64", (100,), doc="the nearest item that was liked, 0 none"),
            Tensor("closeness", "FP32", (100,), doc="cosine to it, -2 where there is none"),
        ),
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
            "popularity": partial(simple, method=interactions.by_popularity),
            "item-item cosine": partial(simple, method=interactions.by_cosine),
            "item-item cosine, latest first": partial(simple, method=cosine_now),
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
        inputs=(Tensor("features", "FP32", (-1, len(FEATURES)), doc=KNOWN),),
        outputs=(Tensor("scores", "FP32", (-1,)),),
        weights_of="recommender_retrieval",
        part=Ranker,
        samples=candidates,
    ),
    # One request is one call of each part, so that there is nothing to batch dynamically.
    PythonModel(
        name="recommender",
        doc="Recommends what a user has not seen, and says why.",
        inputs=(
            Tensor("user_id", "BYTES", (1,), optional=True, doc="a name; it need not be known"),
            Tensor("liked", "BYTES", (-1,), optional=True, doc="names of items, oldest first"),
            Tensor("stars", "FP32", (-1,), optional=True, doc="of each in `liked`; 4 up is a like"),
            COUNT,
        ),
        outputs=(
            ITEMS,
            TITLES,
            Tensor("scores", "FP32", (-1,), doc="of the ranker; they only order"),
            Tensor("reasons", "BYTES", (-1,), doc="why each, in words"),
        ),
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
            " last 40 ratings are looked at.",
            "Scores order one list; they are no probabilities.",
            "Somebody of whom nothing is known gets what most people rated.",
        ),
    ),
)
