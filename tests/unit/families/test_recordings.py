"""Recordings in the form of the UEA archive, and the same, worn otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from modelport.build import Dataset, Split
from modelport.errors import DataError
from modelport.families import recordings

LABELS = ("still", "moving")
ARCHIVE = recordings.Archive("Own", LABELS, frames=4, axes=3)


def line(number: int, label: str) -> str:
    """Axes of 4 values, the first of which is the number of the recording and the axis."""
    axes = (",".join(str(number + axis / 10 + frame) for frame in range(4)) for axis in range(3))
    return ":".join([*axes, label])


def written(folder: Path, half: str, lines: list[str]) -> Path:
    path = folder / f"Own_{half}.ts"
    path.write_text("\n".join(["#a comment", "@problemName Own", "@data", *lines]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, "TRAIN", [line(i, LABELS[i % 2]) for i in range(20)])
    written(tmp_path, "TEST", [line(i, LABELS[i % 2]) for i in range(6)])
    return tmp_path


def test_axes_become_the_last_dimension(folder: Path) -> None:
    split = ARCHIVE.read(folder, "TEST")
    frames = split.inputs["frames"]
    assert frames.shape == (6, 4, 3)
    assert frames.dtype == np.float32
    assert frames.flags.c_contiguous
    np.testing.assert_allclose(frames[2, 1], [3, 3.1, 3.2])
    assert split.targets.tolist() == [0, 1, 0, 1, 0, 1]


def test_one_in_five_of_each_class_ends_the_training(folder: Path) -> None:
    dataset = ARCHIVE.dataset(folder)
    assert dataset.validation.inputs["frames"][:, 0, 0].tolist() == [8, 9, 18, 19]
    assert dataset.validation.targets.tolist() == [0, 1, 0, 1]
    assert len(dataset.train) == 16
    assert len(dataset.test) == 6


def test_too_few_to_end_the_training_with_are_refused(folder: Path) -> None:
    path = written(folder, "TRAIN", [line(i, LABELS[i % 2]) for i in range(8)])
    with pytest.raises(DataError, match=r"expected 5 recordings .* found 8 in all") as caught:
        ARCHIVE.dataset(folder)
    assert str(path) in str(caught.value)


def test_requests_are_of_the_length_that_is_told(folder: Path) -> None:
    asked = ARCHIVE.requests(folder, frames_each=(3, 2), titles={"moving": "a walk"})
    assert [sample.inputs["frames"].shape for sample in asked] == [(1, 3, 3), (2, 2, 3)]
    assert [sample.title for sample in asked] == ["", "a walk"]
    assert asked[1].inputs["frames"][1, 0, 0] == 3


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda good: good.replace("moving", "flying"), "3 axes of 4 values and 'flying'"),
        (lambda good: good.partition(":")[2], "2 axes of 4 values and 'moving'"),
        (lambda good: "9," + good, "3 axes of 4 or 5 values"),
        (lambda good: good.replace("2.0", "?", 1), "not all finite numbers"),
        (lambda good: good.replace("2.0", "NaN", 1), "not all finite numbers"),
        (lambda good: good.replace("2.0", "-inf", 1), "not all finite numbers"),
        (lambda good: "moving", "0 axes of no values"),
    ],
    ids=["class", "axes", "lengths", "missing", "NaN", "infinite", "class alone"],
)
def test_a_recording_of_another_form_is_named(
    folder: Path, spoil: Callable[[str], str], found: str
) -> None:
    path = written(folder, "TEST", [line(0, "still"), "", spoil(line(1, "moving"))])
    with pytest.raises(DataError, match=f"recording 2 is .*{found}") as caught:
        ARCHIVE.read(folder, "TEST")
    assert f"{path}: expected, after a line @data, lines of 3 axes of 4" in str(caught.value)


def test_a_file_without_recordings_is_refused(folder: Path) -> None:
    written(folder, "TEST", [])
    with pytest.raises(DataError, match="there are none"):
        ARCHIVE.read(folder, "TEST")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file Own_TRAIN\.ts"):
        ARCHIVE.dataset(tmp_path)


def test_a_turned_sensor_feels_as_much() -> None:
    """Of each three axes the length stays, and both threes turn alike."""
    frames = torch.randn(8, 50, 3).repeat(1, 1, 2)
    turned = recordings.worn_otherwise(turn=0.3, louder=0, noise=0, late=0)(frames)
    assert turned.shape == frames.shape
    torch.testing.assert_close(turned[..., :3], turned[..., 3:])
    torch.testing.assert_close(turned[..., :3].norm(dim=-1), frames[..., :3].norm(dim=-1))
    assert not torch.allclose(turned, frames, atol=0.01)
    # Not by half a turn: what pointed forward still does.
    assert ((turned * frames).sum(-1) > 0).float().mean() > 0.95


def test_a_recording_begins_later_by_its_own_amount() -> None:
    frames = torch.arange(40.0).repeat(64, 1)[..., None].expand(-1, -1, 3)
    late = recordings.worn_otherwise(turn=0, louder=0, noise=0, late=5)(frames)
    assert late.shape == (64, 35, 3)
    assert set(late[:, 0, 0].round().int().tolist()) == set(range(6))
    torch.testing.assert_close(late[:, 1:] - late[:, :-1], torch.ones(64, 34, 3))


def test_the_method_to_beat_learns_from_all_but_the_test() -> None:
    def split(level: float, target: int) -> Split:
        random = np.random.default_rng(target)
        frames = (level + random.normal(scale=0.1, size=(6, 10, 3))).astype(np.float32)
        return Split({"frames": frames}, np.full(6, target))

    # One class stands in the training split, the other in the validation split.
    figures = recordings.logistic(Dataset(split(0, 0), split(1, 1), split(1, 1)))
    assert figures["accuracy"] == 1.0
