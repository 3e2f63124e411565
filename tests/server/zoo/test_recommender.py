"""What the recommender answers: laws that hold for any history, and the figures it was proven with.

MovieLens is read here as the builder reads it; what is asked goes through the real server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelport.build import loader, sources
from modelport.client import Client, InvalidInputError
from modelport.families import interactions, rankings, recommenders
from modelport.families.interactions import HeldOut, Interactions
from modelport.repository.layout import Repository
from modelport.runtime.server import Server

BUILDER = Path(__file__).parents[3] / "builders" / "recommender.py"
NAMES = st.integers(1, 1682).map(str)
LIKED = st.lists(NAMES, min_size=1, max_size=60, unique=True)
# The server is shared, and one request takes milliseconds, or more on a busy machine.
SERVED = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    (source,) = loader.load(BUILDER).model("recommender").sources
    return interactions.hold_out(sources.fetch(source, BUILDER).path)


@pytest.fixture(scope="module")
def ratings(held_out: HeldOut) -> Interactions:
    return held_out.ratings


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Client]:
    with Client(server.endpoints.grpc) as connected:
        yield connected


def words(*rows: list[str]) -> np.ndarray:
    """Rows of names, empty where a row is shorter than the longest."""
    width = max(map(len, rows))
    filled = [row + [""] * (width - len(row)) for row in rows]
    return np.array([[word.encode() for word in row] for row in filled], dtype=np.object_)


def count(number: int, size: int = 1) -> np.ndarray:
    return np.full((size, 1), number, np.int32)


def test_the_server_finds_as_many_held_out_likes_as_the_manifest_says(
    grpc: Client, held_out: HeldOut, repository: Repository
) -> None:
    ratings = held_out.ratings
    place = {name.encode(): index for index, name in enumerate(ratings.items)}
    lists = []
    for start in range(0, len(held_out.test), 64):
        asked = recommenders.asked(ratings, held_out.test[start : start + 64])
        answer = grpc.infer("recommender", asked)["items"]
        lists += [[place[name] for name in row] for row in answer]
    folder = repository.model("recommender_retrieval")
    metrics = folder.manifest(folder.served_versions()[-1]).metrics
    assert metrics is not None
    found = rankings.figures(held_out, np.array(lists))
    # Two candidates of nearly one score may change places between torch and ONNX Runtime.
    assert found["recall_at_10"] == pytest.approx(metrics.values["recall_at_10"], abs=2e-3)
    assert found["ndcg_at_10"] == pytest.approx(metrics.values["ndcg_at_10"], abs=2e-3)
    for simple in metrics.baselines.values():
        assert found["recall_at_10"] > simple["recall_at_10"]
        assert found["ndcg_at_10"] > simple["ndcg_at_10"]


@SERVED
@given(liked=LIKED, wanted=st.integers(1, 100))
def test_a_list_has_the_count_asked_for_all_different_none_seen(
    grpc: Client, liked: list[str], wanted: int
) -> None:
    answer = grpc.infer("recommender", {"liked": words(liked), "count": count(wanted)})
    (items,), (scores,) = answer["items"].tolist(), answer["scores"]
    assert len(items) == len(set(items)) == wanted
    assert b"" not in items
    assert not set(items) & {name.encode() for name in liked}
    assert (np.diff(scores) <= 0).all()


def test_a_known_user_is_shown_nothing_that_they_rated(
    client: Client, ratings: Interactions
) -> None:
    busy = np.argsort(-np.bincount(ratings.user))[:8]
    users = [ratings.users[user] for user in busy]
    answer = client.infer(
        "recommender", {"user_id": words(*[[user] for user in users]), "count": count(100, 8)}
    )
    for user, items in zip(busy, answer["items"], strict=True):
        rated = {ratings.items[item].encode() for item in ratings.item[ratings.user == user]}
        assert len(set(items)) == 100
        assert not rated & set(items)


@SERVED
@given(lists=st.lists(st.lists(NAMES, max_size=60, unique=True), min_size=2, max_size=6))
def test_in_a_batch_each_gets_what_they_get_alone(grpc: Client, lists: list[list[str]]) -> None:
    """Lists of unequal length: what fills the shorter ones up changes nothing either."""
    rows = [[*names, ""] for names in lists]
    together = grpc.infer("recommender", {"liked": words(*rows)})
    for index, row in enumerate(rows):
        alone = grpc.infer("recommender", {"liked": words(row)})
        for name in ("items", "titles", "reasons"):
            assert together[name][index].tolist() == alone[name][0].tolist()
        np.testing.assert_allclose(together["scores"][index], alone["scores"][0], atol=1e-4)


@SERVED
@given(data=st.data(), size=st.integers(2, 100))
def test_the_order_of_candidates_changes_no_score(
    grpc: Client, data: st.DataObject, size: int
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    features = random.normal(size=(1, size, 8)).astype(np.float32)
    order = random.permutation(size)
    scores, moved = (
        grpc.infer("recommender_ranker", {"features": some})["scores"]
        for some in (features, features[:, order])
    )
    np.testing.assert_allclose(moved, scores[:, order], rtol=1e-5, atol=1e-6)


@SERVED
@given(older=LIKED, newer=st.lists(NAMES, min_size=40, max_size=45, unique=True), data=st.data())
def test_what_is_older_than_forty_ratings_counts_as_seen_only(
    grpc: Client, older: list[str], newer: list[str], data: st.DataObject
) -> None:
    """Its order is nobody's business; the order of the latest forty does matter."""
    older = [name for name in older if name not in newer]
    shuffled = data.draw(st.permutations(older))
    one, other = (
        grpc.infer("recommender", {"liked": words([*old, *newer])}) for old in (older, shuffled)
    )
    for name, array in one.items():
        assert other[name].tolist() == array.tolist()


def test_somebody_unknown_gets_what_is_popular_and_is_told_so(
    client: Client, ratings: Interactions
) -> None:
    rated = np.bincount(ratings.item, minlength=len(ratings.items))
    popular = {ratings.items[item].encode() for item in np.argsort(-rated)[:170]}
    first = client.infer("recommender", {"count": count(10)})
    assert set(first["items"][0]) <= popular  # the upper tenth
    assert set(first["reasons"][0]) == {b"popular with everyone"}
    for stranger in ("4711", "", "Κώστας", "🎬" * 500, "1 OR 1=1"):
        answer = client.infer("recommender", {"user_id": words([stranger])})
        assert answer["items"].tolist() == first["items"].tolist()


def test_reasons_name_what_was_liked_not_what_was_disliked(
    client: Client, ratings: Interactions
) -> None:
    title = dict(zip(ratings.items, ratings.titles, strict=True))
    liked, disliked = ["50", "172", "181"], ["127", "98"]
    stars = np.array([[5, 4, 5, 1, 2]], np.float32)
    answer = client.infer("recommender", {"liked": words(liked + disliked), "stars": stars})
    reasons = [reason.decode() for reason in answer["reasons"][0]]
    allowed = {f"because you liked {title[name]}" for name in liked} | {"fits what you rated"}
    assert set(reasons) <= allowed
    assert any(reason.startswith("because") for reason in reasons)


def test_titles_keep_their_accents(client: Client) -> None:
    reasons = client.infer("recommender", {"liked": words(["543"]), "count": count(100)})["reasons"]
    assert "because you liked Les Misérables (1995)".encode() in set(reasons[0])


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"liked": words(["50"], ["1683"])}, "item 1: unknown item '1683'; there are 1682"),
        ({"liked": words(["Star Wars", "tüt"])}, "unknown item 'Star Wars', 'tüt'"),
        ({"liked": words(["50"]), "count": count(0)}, "item 0: `count` is 0; 1 to 100"),
        ({"liked": words(["50"]), "stars": np.ones((1, 2), np.float32)}, "but 2 in `stars`"),
        ({"stars": np.ones((1, 1), np.float32)}, "send both"),
    ],
    ids=["unknown", "titles", "count", "stars", "only stars"],
)
def test_a_bad_request_is_told_what_is_wrong_with_it(
    client: Client, inputs: dict[str, np.ndarray], text: str
) -> None:
    with pytest.raises(InvalidInputError, match=text):
        client.infer("recommender", inputs)
    assert client.infer("recommender", {"liked": words(["50"])})["items"].shape == (1, 10)
