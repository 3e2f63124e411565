"""From photographs to what a network sees: the same by every way, and upright."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image

from modelport.serving.photographs import CROP_SHARE, CROP_SIDE, crops, square, thumbnails

LAW = settings(deadline=None, max_examples=40)


def pictures(most: int = 60) -> st.SearchStrategy[np.ndarray]:
    sides = st.tuples(st.integers(1, most), st.integers(1, most), st.just(3))
    return stn.arrays(np.uint8, sides)


def file_of(rgb: np.ndarray, form: str = "PNG", **options: object) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, form, **options)
    return np.array([[file.getvalue()]], dtype=np.object_)


@LAW
@given(pictures())
def test_training_and_serving_see_the_same(rgb: np.ndarray) -> None:
    """Training feeds pixels, clients send files: both come out equal, to the bit."""
    for function in (thumbnails, crops):
        [by_pixels] = function({"pixels": rgb[np.newaxis]}).values()
        [by_file] = function({"image": file_of(rgb)}).values()
        np.testing.assert_array_equal(by_pixels, by_file)


@LAW
@given(pictures())
def test_any_picture_gets_the_form_that_the_network_takes(rgb: np.ndarray) -> None:
    thumbnail = thumbnails({"pixels": rgb[np.newaxis]})["thumbnail"]
    assert (thumbnail.dtype, thumbnail.shape) == (np.float32, (1, 3, 32, 32))
    assert thumbnail.min() >= rgb.min() / 255 - 1e-6
    assert thumbnail.max() <= rgb.max() / 255 + 1e-6
    crop = crops({"pixels": rgb[np.newaxis]})["crop"]
    assert (crop.dtype, crop.shape) == (np.uint8, (1, 224, 224, 3))


@LAW
@given(stn.arrays(np.uint8, (32, 32, 3)))
def test_a_picture_of_the_right_size_is_left_as_it_is(rgb: np.ndarray) -> None:
    thumbnail = thumbnails({"pixels": rgb[np.newaxis]})["thumbnail"][0]
    np.testing.assert_array_equal(thumbnail, np.moveaxis(rgb, -1, 0).astype(np.float32) / 255)


@LAW
@given(pictures(), st.sampled_from([1.0, CROP_SHARE]))
def test_mirrors_of_a_picture_give_mirrors(rgb: np.ndarray, share: float) -> None:
    """The square lies in the middle to the fraction of a pixel."""
    upright, mirrored = square(rgb, 24, share=share), square(rgb[:, ::-1], 24, share=share)
    np.testing.assert_allclose(mirrored[:, ::-1].astype(int), upright, atol=1)


def smooth(height: int, width: int) -> np.ndarray:
    """A photograph of soft colours."""
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("height", "width"), [(900, 1400), (1400, 900), (256, 256), (300, 420)])
def test_one_resampling_equals_resize_and_crop(height: int, width: int) -> None:
    """What papers describe in two steps: the shorter side to 256, then the middle 224."""
    photo = smooth(height, width)
    scale = 256 / min(height, width)
    resized = Image.fromarray(photo).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    left, top = ((side - CROP_SIDE) // 2 for side in resized.size)
    plain = np.asarray(resized)[top : top + CROP_SIDE, left : left + CROP_SIDE].astype(int)
    got = crops({"pixels": photo[np.newaxis]})["crop"][0]
    assert np.abs(got - plain).mean() < 1.5


@pytest.mark.parametrize("side", [600, 2400])
def test_a_large_jpeg_decoded_small_differs_little(side: int) -> None:
    photo = smooth(side, side + side // 3)
    file = file_of(photo, "JPEG", quality=92)
    whole = np.asarray(Image.open(io.BytesIO(file[0, 0])).convert("RGB"))
    for function, unit in ((crops, 1), (thumbnails, 1 / 255)):
        [by_file] = function({"image": file}).values()
        [by_pixels] = function({"pixels": whole[np.newaxis]}).values()
        assert np.abs(by_file.astype(float) - by_pixels).max() <= 8 * unit


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_was_held_otherwise_is_upright(orientation: int) -> None:
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera was held
    upright = Image.fromarray(smooth(90, 120))
    turn = turns[orientation]
    taken = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    rotated = file_of(np.asarray(taken), "PNG", exif=exif)
    for function in (thumbnails, crops):
        [got] = function({"image": rotated}).values()
        [expected] = function({"pixels": np.asarray(upright)[np.newaxis]}).values()
        np.testing.assert_array_equal(got, expected)
