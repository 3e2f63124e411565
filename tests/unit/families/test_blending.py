"""MNIST-M's recipe: drawings in front of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelport.build import Dataset, Split
from modelport.errors import DataError
from modelport.families import blending

SIDE = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs no two pixels of which are likely to have the same surroundings."""
    random = np.random.default_rng(0)
    for name in ("street", "forest", "sea"):
        pixels = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def drawn(count: int = 1, side: int = SIDE) -> Split:
    """A stroke, full black and full white only."""
    ink = np.zeros((count, side, side), np.uint8)
    ink[:, side // 4 : -side // 4, side // 2 : side // 2 + 2] = 255
    return Split({"pixels": ink}, np.arange(count))


def places(photo: Path, patch: np.ndarray) -> np.ndarray:
    """Where the photograph has this patch: int[places, 2]."""
    red = np.asarray(Image.open(photo))[:, :, 0]
    windows = np.lib.stride_tricks.sliding_window_view(red, patch.shape[:2])
    return np.argwhere((windows == patch[:, :, 0]).all(axis=(2, 3)))


def test_blending_can_be_undone(folder: Path) -> None:
    """A patch where there is no ink, its negative where there is."""
    split = drawn()
    photo = folder / "street.png"
    [blended] = blending.blend(split, [photo], side=SIDE, seed=0).inputs["pixels"]
    ink = split.inputs["pixels"][0]
    patch = np.where(ink[..., np.newaxis] > 0, 255 - blended, blended)
    [[top, left]] = places(photo, patch)
    whole = np.asarray(Image.open(photo))
    np.testing.assert_array_equal(whole[top : top + SIDE, left : left + SIDE], patch)


def test_a_smaller_drawing_stands_in_the_middle(folder: Path) -> None:
    small = drawn(side=SIDE - 5)
    centred = np.pad(small.inputs["pixels"], ((0, 0), (2, 3), (2, 3)))
    same = Split({"pixels": centred}, small.targets)
    first, second = (
        blending.blend(split, [folder / "sea.png"], side=SIDE, seed=0).inputs["pixels"]
        for split in (small, same)
    )
    np.testing.assert_array_equal(first, second)


def test_copies_differ_and_keep_their_targets(folder: Path) -> None:
    photos = [folder / "street.png", folder / "sea.png"]
    blended = blending.blend(drawn(4), photos, side=SIDE, copies=3, seed=0)
    assert blended.inputs["pixels"].shape == (12, SIDE, SIDE, 3)
    assert blended.inputs["pixels"].dtype == np.uint8
    assert blended.targets.tolist() == [0, 1, 2, 3] * 3
    assert len({picture.tobytes() for picture in blended.inputs["pixels"]}) == 12
    again = blending.blend(drawn(4), photos, side=SIDE, copies=3, seed=0)
    np.testing.assert_array_equal(again.inputs["pixels"], blended.inputs["pixels"])


def test_each_split_has_its_own_photographs(folder: Path) -> None:
    blank = Split({"pixels": np.zeros((5, SIDE, SIDE), np.uint8)}, np.arange(5))
    data = blending.dataset(
        Dataset(blank, blank, blank),
        folder,
        train=["street.png"],
        validation=["forest.png"],
        test=["sea.png"],
        side=SIDE,
    )
    splits = {"street": data.train, "forest": data.validation, "sea": data.test}
    for name, split in splits.items():
        for patch in split.inputs["pixels"]:
            found = {other: len(places(folder / f"{other}.png", patch)) for other in splits}
            assert found == {other: int(other == name) for other in splits}


def test_a_photograph_in_two_splits_is_refused(folder: Path) -> None:
    data = Dataset(drawn(), drawn(), drawn())
    with pytest.raises(DataError, match=r"sea\.png: expected each photograph in one split"):
        blending.dataset(
            data, folder, train=["sea.png"], validation=["street.png"], test=["sea.png"]
        )


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="at least 50 × 50 pixels, found 60 × 40"):
        blending.blend(drawn(), [folder / "sea.png"], side=50, seed=0)
    with pytest.raises(DataError, match="at most 8 × 8 pixels, found 16 × 16"):
        blending.blend(drawn(), [folder / "sea.png"], side=8, seed=0)


def test_what_is_no_photograph_is_refused(folder: Path) -> None:
    (folder / "notes.png").write_text("a walk by the sea")
    for name in ("notes.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name}: expected a photograph"):
            blending.blend(drawn(), [folder / name], side=SIDE, seed=0)
