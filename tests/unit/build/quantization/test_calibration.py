from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.build.quantization import calibration
from modelport.errors import DataError
from modelport.spec import Tensor

IMAGE = (Tensor("image", "FP32", (2, 3)),)
TEXT = (Tensor("ids", "INT64", (-1,)), Tensor("mask", "INT64", (-1,)))


def images(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).normal(size=(count, 2, 3)).astype(np.float32)}


def texts(*lengths: int, padding: int = 0) -> list[dict[str, np.ndarray]]:
    made = []
    for length in lengths:
        ids = np.pad(np.arange(1, length + 1)[np.newaxis], ((0, 0), (0, padding)))
        made.append({"ids": ids, "mask": (ids > 0).astype(np.int64)})
    return made


def test_all_items_are_taken_where_few_are_given() -> None:
    found = calibration.items(images(5), IMAGE, most=128)
    assert np.array_equal(np.stack([item["image"] for item in found]), images(5)["image"])


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 99))
def test_the_choice_is_of_so_many_different_items_and_repeats(
    count: int, most: int, seed: int
) -> None:
    one, again = (calibration.items(images(count), IMAGE, most=most, seed=seed) for _ in "ab")
    assert len(one) == min(count, most)
    digests = [calibration.digest(item, IMAGE) for item in one]
    assert len(set(digests)) == len(digests)
    assert digests == [calibration.digest(item, IMAGE) for item in again]


def test_another_seed_chooses_others() -> None:
    chosen = [
        [calibration.digest(i, IMAGE) for i in calibration.items(images(50), IMAGE, most=5, seed=s)]
        for s in (0, 1)
    ]
    assert chosen[0] != chosen[1]


def test_batches_may_have_lengths_of_their_own() -> None:
    found = calibration.items(iter(texts(3, 7, 5)), TEXT, most=3)
    assert [len(item["ids"]) for item in found] == [3, 7, 5]
    assert calibration.feeds(found)[1]["ids"].shape == (1, 7)
    assert calibration.feeds(found, batched=False)[1]["ids"].shape == (7,)


REFUSED = {
    "no items": (images(0), "expected some items, got none"),
    "no batches": ([], "expected some items, got none"),
    "no arrays": (7, "expected named arrays .* got int"),
    "no names": ([images(2)["image"]], "expected named arrays .* got ndarray"),
    "a tensor is missing": ({}, "tensor 'image': expected an array, got none"),
    "an unknown tensor": (
        images(3) | {"label": np.zeros(3)},
        "tensor 'label': expected only image, got a tensor that the model lacks",
    ),
    "another type": (
        {"image": np.ones((3, 2, 3))},
        r"tensor 'image': expected float32 \(FP32\), got float64",
    ),
    "another shape": (
        {"image": np.ones((3, 3, 2), np.float32)},
        r"tensor 'image': expected \[items, 2, 3\], got \[3, 3, 2\]",
    ),
    "no item dimension": (
        {"image": np.ones((2, 3), np.float32)},
        r"tensor 'image': expected \[items, 2, 3\], got \[2, 3\]",
    ),
    "NaN": (
        {"image": np.where(np.arange(24).reshape(4, 2, 3) == 14, np.nan, 1).astype(np.float32)},
        "got NaN or infinity in 1 of 4 items, first in item 2",
    ),
    "infinity": (
        {"image": np.full((2, 2, 3), np.inf, np.float32)},
        "got NaN or infinity in 2 of 2 items, first in item 0",
    ),
    "one image again and again": (
        {"image": np.repeat(images(1)["image"], 4, axis=0)},
        "expected items that differ, got one item 4 times",
    ),
    "a blank image": (
        {"image": np.full((3, 2, 3), 0.5, np.float32)},
        "tensor 'image': expected values that differ, got 0.5 throughout 3 items",
    ),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_gives_no_ranges_is_refused(title: str) -> None:
    wrong, message = REFUSED[title]
    with pytest.raises(DataError, match=message) as error:
        calibration.items(wrong, IMAGE, most=8)
    assert error.value.next_step


def test_a_different_number_of_items_is_refused() -> None:
    uneven = {"ids": np.ones((3, 4), np.int64), "mask": np.ones((2, 4), np.int64)}
    with pytest.raises(DataError, match="as many items of each tensor"):
        calibration.items(uneven, TEXT, most=8)


def test_masks_may_be_alike_throughout() -> None:
    alike = {"ids": np.arange(12).reshape(3, 4), "mask": np.ones((3, 4), np.int64)}
    assert len(calibration.items(alike, TEXT, most=8)) == 3


def test_items_of_the_test_split_are_refused() -> None:
    train, test = images(6), images(4, seed=1)
    calibration.items(train, IMAGE, most=8, test=test)
    mixed = {"image": np.concatenate([train["image"], test["image"][2:3]])}
    with pytest.raises(
        DataError, match="1 of 7 items are in the test split too, the first is item 6"
    ):
        calibration.items(mixed, IMAGE, most=1, test=test)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_text_is_found_in_the_test_split_however_it_is_padded(
    length: int, here: int, there: int
) -> None:
    mine, test = texts(length, length + 1, padding=here), texts(length, padding=there)
    with pytest.raises(DataError, match="1 of 2 items are in the test split"):
        calibration.items(mine, TEXT, most=8, test=test)


def test_the_test_split_may_have_other_tensors_beside() -> None:
    test = images(4) | {"label": np.zeros(4)}
    with pytest.raises(DataError, match="4 of 4 items"):
        calibration.items(images(4), IMAGE, most=8, test=test)
    calibration.items(images(4), IMAGE, most=8, test={"label": np.zeros(4)})


def test_a_split_without_the_models_tensors_asks_for_a_function() -> None:
    inputs = {"title_ids": np.zeros((3, 4)), "mask": np.zeros((3, 4))}
    with pytest.raises(DataError, match="no 'ids'; it has title_ids, mask") as error:
        calibration.of_split(inputs, TEXT)
    assert "declare `calibration`" in str(error.value)
    assert list(calibration.of_split(inputs | {"ids": np.zeros(3)}, TEXT)) == ["ids", "mask"]
