"""The model ``anomaly`` on what it has never seen of its recording, and on what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from modelport.build import Dataset, Split, loader
from modelport.client import Client, InvalidInputError
from modelport.errors import DataError

BUILDER = Path(__file__).parents[3] / "builders" / "anomaly.py"
WINDOW = 32
LENGTH = 6301  # of the part that is held out


@pytest.fixture(scope="module")
def rest(learned_from: Callable[[str, str], Dataset]) -> Split:
    return learned_from("anomaly", "anomaly_autoencoder").test


@pytest.fixture(scope="module")
def values(rest: Split) -> np.ndarray:
    return rest.inputs["value"]


@pytest.fixture(scope="module")
def whole(grpc: Client, values: np.ndarray) -> dict[str, np.ndarray]:
    return grpc.infer("anomaly", {"series": values[None]})


def test_the_anomaly_stands_out(whole: dict[str, np.ndarray], rest: Split) -> None:
    scores, named = whole["scores"][0], whole["anomalous"][0]
    assert roc_auc_score(rest.targets, scores) >= 0.95
    assert np.array_equal(named, scores > whole["threshold"][0, 0])
    # What is named is the anomaly, points that share a window with it, and next to nothing else.
    where = np.flatnonzero(rest.targets)
    assert named[where].sum() >= 10
    near = np.arange(where[0] - WINDOW + 1, where[-1] + WINDOW)
    assert len(set(np.flatnonzero(named)) - set(near)) <= LENGTH / 1000


@settings(max_examples=25)
@given(start=st.integers(0, LENGTH - WINDOW), length=st.integers(WINDOW, 700))
def test_a_piece_is_scored_as_in_the_whole(
    grpc: Client, values: np.ndarray, whole: dict[str, np.ndarray], start: int, length: int
) -> None:
    """But for its ends, where the whole has windows that the piece does not hold."""
    piece = values[start : start + length]
    scores = grpc.infer("anomaly", {"series": piece[None]})["scores"]
    assert scores.shape == (1, len(piece))
    inner = slice(WINDOW - 1, len(piece) - WINDOW + 1)
    expected = whole["scores"][0, start : start + length]
    np.testing.assert_allclose(scores[0, inner], expected[inner], rtol=1e-3, atol=1e-5)


@settings(max_examples=15)
@given(
    starts=st.lists(st.integers(0, LENGTH - 200), min_size=1, max_size=8),
    length=st.integers(WINDOW, 200),
)
def test_a_series_is_scored_the_same_in_any_company(
    grpc: Client, values: np.ndarray, starts: list[int], length: int
) -> None:
    pieces = np.stack([values[i : i + length] for i in starts])
    together = grpc.infer("anomaly", {"series": pieces})
    for index, piece in enumerate(pieces):
        alone = grpc.infer("anomaly", {"series": piece[None]})
        np.testing.assert_allclose(together["scores"][[index]], alone["scores"], 1e-3, 1e-5)
        assert np.array_equal(together["anomalous"][[index]], alone["anomalous"])


@pytest.mark.parametrize("length", [0, 1, WINDOW - 1])
def test_a_series_that_is_too_short_is_refused(client: Client, length: int) -> None:
    with pytest.raises(InvalidInputError, match=f"{length} points; at least 32"):
        client.infer("anomaly", {"series": np.ones((1, length), np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_its_place(
    client: Client, values: np.ndarray, value: float
) -> None:
    pieces = np.stack([values[:100], values[100:200]])
    pieces[1, 17] = value
    with pytest.raises(InvalidInputError, match="item 1: point 17"):
        client.infer("anomaly", {"series": pieces})


def test_a_series_without_end_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="at most 200000"):
        client.infer("anomaly", {"series": np.ones((1, 200_001), np.float32)})


@pytest.mark.parametrize("level", [0.0, 200.0, -1e30, 3e38])
def test_a_flat_line_far_from_the_pulse_is_named(client: Client, level: float) -> None:
    answer = client.infer("anomaly", {"series": np.full((1, 300), level, np.float32)})
    assert np.isfinite(answer["scores"]).all()
    assert answer["anomalous"].mean() > 0.9


def test_the_shortest_series_is_answered(client: Client, values: np.ndarray) -> None:
    answer = client.infer("anomaly", {"series": values[None, :WINDOW]})
    assert answer["scores"].shape == answer["anomalous"].shape == (1, WINDOW)
    assert not answer["anomalous"].any()


@pytest.fixture(scope="module")
def read() -> Callable[[Path], Dataset]:
    """What the builder takes a table of one's own with."""
    return loader.load(BUILDER).model("anomaly_autoencoder").data


def test_a_recording_must_begin_normal_and_long_enough(
    read: Callable[[Path], Dataset], tmp_path: Path
) -> None:
    table = tmp_path / "own.csv"
    lines = [f"{np.sin(i / 5):.4f},{int(i == 100)}" for i in range(2100)]
    table.write_text("value,is_anomaly\n" + "\n".join(lines))
    with pytest.raises(DataError, match="the first 336 points"):
        read(table)
    table.write_text("value,is_anomaly\n" + "\n".join(lines[200:1200]))
    with pytest.raises(DataError, match="must be 320 or more"):
        read(table)


def test_columns_that_a_recording_lacks_are_named(
    read: Callable[[Path], Dataset], tmp_path: Path
) -> None:
    table = tmp_path / "own.csv"
    table.write_text("time,value\n0,1.5\n")
    with pytest.raises(DataError, match="is_anomaly"):
        read(table)
