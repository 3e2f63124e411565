"""Series cut into windows, scored point by point, and what is chosen and measured with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelport.errors import DataError
from modelport.families import windows

DETECTION = windows.Detection(window=8, normal=0.5, margin=2.0)
POINTS, FIRST = 400, 320


def table(path: Path, values: np.ndarray, anomalous: np.ndarray) -> Path:
    rows = (f"{v:.6f},{a}" for v, a in zip(values, anomalous, strict=True))
    path.write_text("\n".join(["value,is_anomaly", *rows]) + "\n")
    return path


@pytest.fixture
def pulse(tmp_path: Path) -> Path:
    """A sine with a step in its second half."""
    values, anomalous = np.sin(np.arange(POINTS) / 3), np.zeros(POINTS, int)
    values[FIRST : FIRST + 4] += 5
    anomalous[FIRST : FIRST + 4] = 1
    return table(tmp_path / "pulse.csv", values, anomalous)


class Nothing(nn.Module):
    """Makes level windows of all windows: the residual is the signal itself."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(window)


class Windowed(nn.Module):
    """Residuals that differ by the place in the window, so that the order of points shows."""

    threshold = torch.tensor(1.0)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return window * torch.linspace(1, 2, window.shape[-1])


@given(length=st.integers(8, 60), window=st.integers(1, 8), seed=st.integers(0, 99))
def test_a_point_has_the_mean_error_of_its_windows(length: int, window: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=length).astype(np.float32)
    errors: list[list[float]] = [[] for _ in values]
    for start in range(length - window + 1):
        cut = torch.from_numpy(values[start : start + window])
        for offset, residual in enumerate(Windowed()(cut[None])[0]):
            errors[start + offset].append(float(residual) ** 2)
    scores, anomalous, threshold = windows.Scores(Windowed(), window)(  # type: ignore[arg-type]
        torch.from_numpy(values)[None]
    )
    expected = np.array([np.mean(own) for own in errors])
    np.testing.assert_allclose(scores[0], expected, rtol=1e-4, atol=1e-6)
    assert anomalous[0].tolist() == (scores[0] > 1).tolist()
    assert threshold.tolist() == [[1.0]]


def test_what_is_scored_fits_what_is_declared() -> None:
    outputs = DETECTION.scores(windows.Residual(Nothing()).eval())(torch.zeros(2, 20))
    kinds = {"FP32": torch.float32, "BOOL": torch.bool}
    for tensor, output in zip(windows.answer(), outputs, strict=True):
        assert output.dtype == kinds[tensor.datatype]
        assert output.shape == (2, *(20 if size == -1 else size for size in tensor.dims))


def test_a_residual_is_in_deviations_and_finite() -> None:
    network = windows.Residual(Nothing())
    network.scale.momentum = None  # the plain mean of what was seen
    signal = 50 + 4 * torch.randn(4000, 8)
    network.train()(signal)
    network.eval()
    assert network(signal).std() == pytest.approx(1, abs=0.01)
    assert torch.isfinite(network(torch.full((1, 8), 3e38)).square().sum())


def test_the_beginning_is_cut_and_the_rest_kept(pulse: Path) -> None:
    dataset = DETECTION.dataset(pulse)
    assert dataset.train.inputs["window"].shape == (160 - 7, 8)
    assert dataset.validation.inputs["window"].shape == (40 - 7, 8)
    values = DETECTION.read(pulse)["value"]
    np.testing.assert_array_equal(dataset.train.inputs["window"][3], values[3:11])
    np.testing.assert_array_equal(dataset.validation.inputs["window"][0], values[160:168])
    np.testing.assert_array_equal(dataset.test.inputs["value"], values[200:])
    assert dataset.test.targets.nonzero()[0].tolist() == [120, 121, 122, 123]


def test_the_threshold_is_chosen_on_validation_points(pulse: Path) -> None:
    dataset, network = DETECTION.dataset(pulse), windows.Residual(Nothing()).eval()
    DETECTION.choose_threshold(network, dataset)
    # The network takes all of it for a residual, so the highest peak scores the most.
    values = torch.from_numpy(DETECTION.read(pulse)["value"][160:200])
    highest = DETECTION.scores(network)(values[None])[0].max()
    assert float(network.threshold) == pytest.approx(2 * float(highest))
    figures = DETECTION.measure(network, dataset)
    assert figures["roc_auc"] > 0.95
    assert figures["recall"] == 1.0


def test_simple_methods_find_a_step(pulse: Path) -> None:
    dataset = DETECTION.dataset(pulse)
    for method in (DETECTION.components(2), DETECTION.deviation):
        figures = method(dataset)
        assert set(figures) == {"roc_auc", "precision", "recall", "f1"}
        assert figures["roc_auc"] > 0.95
        assert figures["recall"] == 1.0


def test_components_score_as_the_network_does() -> None:
    errors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)

    class Given(nn.Module):
        threshold = torch.tensor(0.0)

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(errors)

    scores, _, _ = windows.Scores(Given(), 8)(torch.zeros(1, 37))  # type: ignore[arg-type]
    np.testing.assert_allclose(windows._put_back(np.square(errors)), scores[0], rtol=1e-4)


def test_samples_are_the_anomaly_and_pieces_that_fit(pulse: Path) -> None:
    pieces = ((10, 8), (195, 50), (0, 500))
    around, *others = DETECTION.samples(pulse, of="a sine", pieces=pieces, name="wave")
    assert around.title == "200 points of a sine, with an anomaly in the middle"
    rest = DETECTION.read(pulse)["value"][200:]
    np.testing.assert_array_equal(around.inputs["wave"], rest)
    assert [sample.inputs["wave"].tolist() for sample in others] == [
        rest[10:18].tolist(),
        rest[-50:].tolist(),
    ]


def test_a_beginning_that_is_not_normal_is_refused(tmp_path: Path) -> None:
    values, anomalous = np.arange(200.0), np.zeros(200, int)
    anomalous[99] = 1
    with pytest.raises(DataError, match=r"the first 100 points \(50%\) must be 80 or more"):
        DETECTION.read(table(tmp_path / "early.csv", values, anomalous))
    anomalous[99:101] = 0, 1
    DETECTION.read(table(tmp_path / "later.csv", values, anomalous))


def test_a_beginning_that_is_too_short_is_refused(tmp_path: Path) -> None:
    short = table(tmp_path / "short.csv", np.arange(158.0), np.zeros(158, int))
    with pytest.raises(DataError, match=r"the first 79 points .* must be 80 or more"):
        DETECTION.dataset(short)
