"""Customers' reviews as tables keep them: a title, a text, and what else a customer gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelport.build import tables
from modelport.build.dataset import Dataset
from modelport.errors import DataError
from modelport.families.corpora import Labelled

_FEWEST = 100


def rated(
    table: Path, /, *, title: str, text: str, rating: str, negative: float, positive: float
) -> Labelled:
    """Read reviews of two classes, as many of each, by their rating; all others stay unlabelled.

    No text is there twice, whatever its case, so none lies on both sides of the split.

    Args:
        table: see :func:`modelport.build.tables.read`.
        title: column of the titles; one that is not empty stands before its text.
        text: column of the texts; reviews without one are left out.
        rating: column of the numbers.
        negative: class 0 has this rating or less.
        positive: class 1 has this rating or more.

    Raises:
        DataError: the table lacks a column, or has fewer than 100 reviews of a class.
    """
    columns = tables.read(table, {title: str, text: str, rating: float})
    folded = [one.casefold().strip() for one in columns[text]]
    keys, first = np.unique(folded, return_index=True)
    first = np.sort(first[keys != ""])
    titles, texts, numbers = (column[first] for column in columns.values())
    whole = np.where(titles == "", texts, titles + ". " + texts)
    bad, good = np.flatnonzero(numbers <= negative), np.flatnonzero(numbers >= positive)
    count = min(len(bad), len(good))
    if count < _FEWEST:
        raise DataError(
            f"{table}: {len(bad)} reviews have a rating of {negative:g} or less and {len(good)}"
            f" one of {positive:g} or more; at least {_FEWEST} of each are needed",
            cause="the ratings have another scale",
            next_step=f"bring the column {rating!r} to that scale, or give more reviews",
            path=table,
        )
    random = np.random.default_rng(0)
    chosen = np.concatenate([random.choice(side, count, replace=False) for side in (bad, good)])
    others = np.setdiff1d(np.arange(len(whole)), chosen)
    targets = (numbers[chosen] >= positive).astype(np.int64)
    return Labelled(Dataset.split({"text": whole[chosen, np.newaxis]}, targets), whole[others])


def titled(table: Path, *, title: str, text: str, kind: str, words: int, held_out: int) -> Dataset:
    """Pair telling titles, each there once, with their texts; targets are the kinds.

    Args:
        table: see :func:`modelport.build.tables.read`.
        title: column of the titles.
        text: column of the texts.
        kind: column that says what kind of thing is reviewed.
        words: the fewest of a title: a shorter one could head many a text.
        held_out: pairs of the test split, and as many of validation.

    Returns:
        Inputs ``title`` and ``text``, str[pairs, 1].

    Raises:
        DataError: the table lacks a column, or has fewer than three times ``held_out`` pairs.
    """
    columns = tables.read(table, dict.fromkeys((title, text, kind), str))
    titles, texts, kinds = columns.values()
    _, first = np.unique([one.casefold() for one in titles], return_index=True)
    chosen = first[[len(titles[i].split()) >= words and texts[i] != "" for i in first]]
    if len(chosen) < 3 * held_out:
        raise DataError(
            f"{table}: {len(chosen)} reviews have a text and a title of at least {words} words"
            f" that no other has; {3 * held_out} are needed",
            cause=f"{held_out} are tested on and as many kept for validation",
            next_step="give more reviews",
            path=table,
        )
    both = {"title": titles[chosen, np.newaxis], "text": texts[chosen, np.newaxis]}
    share = held_out / len(chosen)
    return Dataset.split(both, kinds[chosen], test=share, validation=share, stratify=False)
