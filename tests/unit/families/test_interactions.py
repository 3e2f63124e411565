"""Ratings: read from files of people, and cut by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from modelport.errors import DataError
from modelport.families import interactions
from modelport.families.interactions import HeldOut

HEADER = "user,item,rating,timestamp\n"


def table(folder: Path, text: str) -> Path:
    path = folder / "ratings.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    rows = "b,10,5,200\na,9,3,7\nb,9,4,100\nb,x,2,300\n"
    found = interactions.read(table(tmp_path, HEADER + rows))
    assert found.users == ["a", "b"]
    assert list(found.items) == ["9", "10", "x"]
    assert found.titles == ["9", "10", "x"]
    assert found.user.tolist() == [0, 1, 1, 1]
    assert found.item.tolist() == [0, 0, 1, 2]
    assert found.liked.tolist() == [False, True, True, False]


def test_of_one_item_rated_twice_the_latest_counts(tmp_path: Path) -> None:
    found = interactions.read(table(tmp_path, HEADER + "a,1,5,1\na,2,4,2\na,1,1,3\n"))
    assert found.item.tolist() == [1, 0]
    assert found.liked.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who,what\n1,2\n", "'user', 'item', 'rating', 'timestamp'"),
        (HEADER + "a,1,,3\n", "'rating' has missing values: row 1"),
        (HEADER + "a,1,4,3\n,1,4,3\n", "'user' has missing values: row 2"),
        (HEADER, "no rows"),
        (HEADER + "a,1,good,3\n", "'rating' holds something"),
    ],
)
def test_a_table_that_is_none_is_refused_by_column(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        interactions.read(table(tmp_path, text))
    assert words in f"{caught.value.what} {caught.value.cause} {caught.value.next_step}"


def test_movielens_titles_read_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user\titem\trating\ttime\n1\t543\t4\t9\n", encoding="utf-8")
    rows = [
        "543\tMisérables, Les\t1995\tDrama Musical",
        "1005\tDouble vie de Véronique, La (Double Life of Veronique, The)\t1991\tDrama",
        "7\tGood, the Bad and the Ugly, The\t1966\tWestern",
        "267\tunknown\t\tunknown",
    ]
    (tmp_path / "x.item").write_text("\n".join(["head", *rows]) + "\n", encoding="utf-8")
    found = interactions.read(tmp_path)
    assert dict(zip(found.items, found.titles, strict=True)) == {
        "7": "The Good, the Bad and the Ugly (1966)",
        "267": "unknown",
        "543": "Les Misérables (1995)",
        "1005": "La Double vie de Véronique (The Double Life of Veronique) (1991)",
    }
    assert found.genres.tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert np.isnan(found.years[1])


@settings(deadline=None)
@given(stn.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                  elements=st.sampled_from([0.0, 1.0])))  # fmt: skip
def test_cosine_is_that_of_scikit_learn(rated: np.ndarray) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    np.testing.assert_allclose(
        interactions.cosine(rated), cosine_similarity(rated.T), rtol=0, atol=1e-6
    )


def test_the_latest_likes_are_held_out_and_histories_end_before_them(held_out: HeldOut) -> None:
    items = held_out.ratings.item + 1
    (validation,), (test,) = held_out.validation, held_out.test
    assert items[validation.wanted].tolist() == [9, 11, 13]
    assert items[test.wanted].tolist() == [15, 17, 19]
    assert items[validation.history].tolist() == list(range(1, 9))
    assert items[test.history].tolist() == list(range(1, 15))
    assert items[held_out.for_ranker].tolist() == [3, 5, 7]
    # Of b all is learned; of a nothing from the validation on.
    assert items[held_out.learned].tolist() == [*range(1, 9), *range(1, 5)]


def test_ratings_of_which_nothing_can_be_held_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no user has 9 likes"):
        interactions.hold_out(table(tmp_path, HEADER + "a,1,5,4\nb,2,5,1\n"))


def test_fewer_likes_can_be_held_out_of_those_who_liked_little(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "a,1,5,1\na,2,4,2\na,3,5,3\n")
    (question,) = interactions.hold_out(path, count=1).test
    assert (question.history.tolist(), question.wanted.tolist()) == ([0, 1], [2])
    with pytest.raises(DataError, match="no user has 6 likes"):
        interactions.hold_out(path, count=2)
