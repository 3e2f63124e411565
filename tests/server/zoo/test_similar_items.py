"""Similar items on the real server: scikit-learn's cosine similarity, item by item."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelport.build import loader, sources
from modelport.client import Client, InvalidInputError
from modelport.families import interactions
from modelport.families.interactions import Interactions
from modelport.runtime.server import Server

BUILDER = Path(__file__).parents[3] / "builders" / "similar_items.py"


@pytest.fixture(scope="module")
def ratings() -> Interactions:
    (source,) = loader.load(BUILDER).model("similar_items").sources
    return interactions.read(sources.fetch(source, BUILDER).path)


def ask(client: Client, names: list[str], count: int = 10) -> dict[str, np.ndarray]:
    item = np.array([[name.encode()] for name in names], dtype=np.object_)
    return client.infer(
        "similar_items", {"item": item, "count": np.full((len(names), 1), count, np.int32)}
    )


def test_every_item_gets_what_scikit_learn_gives(server: Server, ratings: Interactions) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    expected = cosine_similarity(ratings.matrix().T.astype(np.float64))
    np.fill_diagonal(expected, 0)
    place = {name.encode(): index for index, name in enumerate(ratings.items)}
    with Client(server.endpoints.grpc) as client:
        for start in range(0, len(ratings.items), 64):
            names = list(ratings.items[start : start + 64])
            answer = ask(client, names, count=100)
            for index, row in enumerate(range(start, start + len(names))):
                items = [place[name] for name in answer["items"][index] if name]
                cosines = answer["cosines"][index]
                np.testing.assert_allclose(
                    cosines[: len(items)], expected[row, items], rtol=0, atol=1e-6
                )
                # They are the largest that there are, each item once, and not itself.
                best = np.sort(expected[row])[::-1][:100]
                np.testing.assert_allclose(cosines, best, rtol=0, atol=1e-6)
                assert len(set(items)) == len(items)
                assert row not in items


def test_equal_cosines_are_ordered_by_number(client: Client, ratings: Interactions) -> None:
    """Items that one and the same person alone rated: every cosine among them is 1."""
    rated = ratings.matrix()
    alone = np.flatnonzero(rated.sum(axis=0) == 1)
    owners = rated[:, alone].argmax(axis=0)
    owner = np.bincount(owners).argmax()
    group = [ratings.items[item] for item in alone[owners == owner]]
    assert len(group) > 2
    answer = ask(client, [group[0]], count=len(group) - 1)
    assert [name.decode() for name in answer["items"][0]] == group[1:]
    np.testing.assert_allclose(answer["cosines"], 1, atol=1e-6)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(numbers=st.lists(st.integers(1, 1682), min_size=2, max_size=8), count=st.integers(1, 100))
def test_in_a_batch_each_gets_what_it_gets_alone(
    client: Client, numbers: list[int], count: int
) -> None:
    names = [str(number) for number in numbers]
    together = ask(client, names, count)
    for index, name in enumerate(names):
        for output, array in ask(client, [name], count).items():
            assert together[output][index].tolist() == array[0].tolist()


@pytest.mark.parametrize("name", ["1683", "0", "-1", "Star Wars (1977)", "", "50 ", "五十"])
def test_an_unknown_item_is_named(client: Client, name: str) -> None:
    # Twice: a refusal must not be kept and given as an answer.
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=re.escape(f"item 1: unknown item '{name}'")):
            ask(client, ["50", name])


def test_a_count_out_of_range_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match=r"item 0: `count` is 101; 1 to 100"):
        ask(client, ["50"], count=101)


def test_titles_are_utf8_with_their_accents(client: Client, ratings: Interactions) -> None:
    answer = ask(client, list(ratings.items[500:560]), count=100)
    titles = {title.decode("utf-8") for title in answer["titles"].flat}
    assert "Les Misérables (1995)" in titles
