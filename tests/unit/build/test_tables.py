"""Tables of the user's own: every format gives the same arrays, every mistake is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from modelport.build import tables
from modelport.errors import DataError

COLUMNS = {"text": str, "stars": int, "price": float}
ROWS = {
    "text": ['says "hi", twice\nand ends', "", "größer 👍"],
    "stars": [5, 1, 3],
    "more": [1, 2, 3],
}
ROWS |= {"price": [1.5, None, 3.0]}


def as_csv(separator: str) -> bytes:
    quoted = [text.replace('"', '""') for text in ROWS["text"]]
    lines = ["text,stars,more,price".replace(",", separator)]
    for text, stars, more, price in zip(
        quoted, ROWS["stars"], ROWS["more"], ROWS["price"], strict=True
    ):
        shown = "" if price is None else price
        lines.append(separator.join([f'"{text}"', str(stars), str(more), str(shown)]))
    return "\n".join(lines).encode()


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if ".parquet" in name:
        parquet.write_table(pyarrow.table(ROWS), path, compression="brotli")
    elif name.endswith(".jsonl"):
        rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        content = as_csv("\t" if ".tsv" in name else ",")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    "name", ["t.parquet", "t.parquet.brotli", "t.csv", "T.CSV", "t.tsv", "t.csv.gz", "t.jsonl"]
)
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    got = tables.read(write(tmp_path, name), COLUMNS)
    assert list(got) == ["text", "stars", "price"]
    assert got["text"].tolist() == ROWS["text"]
    assert (got["stars"].dtype, got["stars"].tolist()) == (np.int64, ROWS["stars"])
    np.testing.assert_array_equal(got["price"], [1.5, np.nan, 3.0])


def test_missing_columns_are_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        tables.read(write(tmp_path, "t.csv"), {"text": str, "rating": int, "title": str})
    error = caught.value
    assert "no column 'rating', 'title'" in error.what
    assert "'text', 'stars', 'more', 'price'" in error.what
    assert "expected are 'text', 'rating', 'title'" in str(error.next_step)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.xlsx", b"PK"),
        ("t.parquet", b"not parquet"),
        ("t.csv", b""),
        ("t.jsonl", b"{"),
        ("none.csv", None),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a table") as caught:
        tables.read(tmp_path / name, COLUMNS)
    assert "'text', 'stars', 'price'" in str(caught.value.next_step)


def test_a_value_of_another_type(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("stars\n5\nmany\n")
    with pytest.raises(DataError, match=r"column 'stars'.*not of type int.*many"):
        tables.read(tmp_path / "t.csv", {"stars": int})
