"""Reviews read from a table: two classes of equal size, and titles with their texts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from modelport.errors import DataError
from modelport.families import reviews

COLUMNS = {"title": "head", "text": "body"}
STARS = {"rating": "stars", "negative": 2, "positive": 5}


def table(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("head", "body", "stars", "shop"), *rows])
    return path


def test_classes_are_of_equal_size_and_no_text_is_there_twice(tmp_path: Path) -> None:
    rows = [("", f"text {i}", 1 + i % 5, "x") for i in range(1000)]
    again = [("", text.upper(), stars, shop) for _, text, stars, shop in rows[:50]]
    found = reviews.rated(table(tmp_path, [*rows, *again]), **COLUMNS, **STARS)
    splits = (found.split.train, found.split.validation, found.split.test)
    sides = [*(set(split.inputs["text"][:, 0]) for split in splits), set(found.others)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 1000
    stars = {text: number for _, text, number, _ in rows}
    for split in splits:
        expected = [int(stars[text] == 5) for text in split.inputs["text"][:, 0]]
        assert split.targets.tolist() == expected
        assert split.targets.mean() == pytest.approx(0.5, abs=0.01)
    # 400 are of 1 and 2 stars, 200 of 5: half of the bad ones are others.
    assert sum(map(len, splits)) == 400
    assert set(found.corpus) == sides[0] | sides[3]


def test_a_title_stands_before_its_text(tmp_path: Path) -> None:
    rows = [("Nice" if i % 3 else "", f"text {i}", 1 + 4 * (i % 2), "x") for i in range(200)]
    rows += [("Nothing said", "", 5, "x")]
    found = reviews.rated(table(tmp_path, rows), **COLUMNS, **STARS)
    texts = np.concatenate([found.split.train.inputs["text"], found.split.test.inputs["text"]])
    assert {text.split(" ")[0] for text in texts[:, 0]} == {"Nice.", "text"}


def test_too_few_reviews_of_a_class_are_counted(tmp_path: Path) -> None:
    rows = [("", f"text {i}", 5 if i < 300 else 1, "x") for i in range(302)]
    with pytest.raises(DataError, match=r"2 reviews .* 2 or less and 300 .* 5 or more"):
        reviews.rated(table(tmp_path, rows), **COLUMNS, **STARS)


def test_titles_that_say_something_are_paired_with_their_texts(tmp_path: Path) -> None:
    rows = [(f"One of its kind {i}", f"text {i}", 5, f"shop {i % 2}") for i in range(40)]
    none = [("Love it", "short", 5, "x"), ("A title of four words", "", 5, "x")]
    twice = [("one of its kind 7", "text 7 again", 5, "x")]
    path = table(tmp_path, [*rows, *none, *twice])
    found = reviews.titled(path, **COLUMNS, kind="shop", words=4, held_out=10)
    splits = (found.train, found.validation, found.test)
    assert [len(split) for split in splits] == [20, 10, 10]
    for split in splits:
        for (title,), (text,), kind in zip(
            split.inputs["title"], split.inputs["text"], split.targets, strict=True
        ):
            number = int(text.split()[-1])
            assert (title, kind) == (f"One of its kind {number}", f"shop {number % 2}")


def test_too_few_pairs_are_counted(tmp_path: Path) -> None:
    rows = [(f"One of its kind {i}", f"text {i}", 5, "x") for i in range(29)]
    with pytest.raises(DataError, match=r"29 reviews.*4 words.*30 are needed"):
        reviews.titled(table(tmp_path, rows), **COLUMNS, kind="shop", words=4, held_out=10)
