"""What a recommender learns from and is asked with, made of ratings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelport.families import interactions, recommenders
from modelport.families.interactions import HeldOut
from modelport.serving import recommendation


def test_each_like_is_a_row_with_what_was_rated_before_it(held_out: HeldOut) -> None:
    train = recommenders.questions(held_out, looked_at=3).train
    # The likes of a before the validation, then those of b; positions are numbers less one.
    liked = train.targets.max(axis=1).tolist()
    assert liked == [0, 2, 4, 6, 0, 1, 2, 3]
    fifth = liked.index(4)
    assert train.inputs["history"][fifth].tolist() == [2, 3, 4]
    assert train.inputs["kinds"][fifth].tolist() == [1, 2, 1]
    # Shorter histories have zeros in front.
    assert train.inputs["history"][0].tolist() == [0, 0, 0]
    assert train.inputs["history"][5].tolist() == [0, 0, 1]


def test_no_row_is_learned_by_both_the_towers_and_the_ranker(held_out: HeldOut) -> None:
    dataset = recommenders.questions(held_out)
    train = dataset.train
    assert (train.inputs["for_tower"] ^ train.inputs["for_ranker"]).all()
    assert train.targets[train.inputs["for_ranker"], 1].tolist() == [2, 4, 6]
    for column, name in enumerate(("for_tower", "for_ranker")):
        assert ((train.targets[:, column] >= 0) == train.inputs[name]).all()
    # What is held out is asked of both.
    for split, item in ((dataset.validation, 8), (dataset.test, 14)):
        assert split.targets.tolist() == [[item, item]]
        assert split.inputs["for_tower"].all()
        assert split.inputs["for_ranker"].all()


def test_a_request_says_a_history_in_names_and_stars(held_out: HeldOut) -> None:
    questions = [*held_out.validation, *held_out.test]
    asked = recommenders.asked(held_out.ratings, questions)
    assert asked["liked"].shape == asked["stars"].shape == (2, 14)
    assert asked["liked"][0].tolist() == [str(n).encode() for n in range(1, 9)] + [b""] * 6
    assert asked["stars"][1].tolist() == [5, 1] * 7


def test_samples_of_histories_end_with_the_latest_rating(held_out: HeldOut) -> None:
    samples = recommenders.histories(held_out, lengths=(20, 2))
    found = [sample.inputs["history"].tolist() for sample in samples]
    assert found == [[0] * 6 + list(range(1, 15)), [13, 14], [0] * 20, [0, 0]]


def test_the_files_of_a_version_are_read_by_what_is_served(
    held_out: HeldOut, tmp_path: Path
) -> None:
    for name, content in recommenders.tables(held_out.ratings).items():
        (tmp_path / name).write_bytes(content)
    known = recommendation.Histories.from_file(tmp_path / recommendation.HISTORIES_FILE)
    items, kinds = known.of("b")
    assert items.tolist() == [1, 2, 3, 4]
    assert kinds.tolist() == [2] * 4

    def call(name: str, inputs: recommendation.Arrays) -> recommendation.Arrays:
        if name == "films_ranker":
            return {"scores": inputs["features"][..., 0]}
        assert name == "films_retrieval"
        candidates = np.array([[7, 8]])
        features = np.zeros((1, 2, len(recommendation.FEATURES)), np.float32)
        nothing = np.zeros((1, 2), np.int64)
        return {"candidates": candidates, "features": features, "nearest": nothing,
                "closeness": nothing}  # fmt: skip

    # Networks of a user's own builder have names of their own.
    recommender = recommendation.Recommender.from_folder(
        tmp_path, retrieval="films_retrieval", ranker="films_ranker"
    )
    for sample in recommenders.requests(held_out.ratings):
        answer = recommender({name: array[None] for name, array in sample.inputs.items()}, call)
        assert answer["items"][0].tolist()[:2] == [b"7", b"8"]


def test_of_a_catalogue_of_one_item_requests_are_made_too(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating,timestamp\na,1,5,1\n", encoding="utf-8")
    for sample in recommenders.requests(interactions.read(path)):
        lengths = {len(sample.inputs[name]) for name in ("liked", "stars") if name in sample.inputs}
        assert len(lengths) <= 1
