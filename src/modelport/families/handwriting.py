"""Handwritten characters in the form of MNIST (LeCun et al. 1998), read and drawn larger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError
from modelport.families import pictures
from modelport.spec.parts import Sample

SIDE = 28
# Of the sheets that questions are drawn on: the first character's side, and what each next adds.
_DRAWN, _LARGER = 56, 14
_MARGIN = (45, 20)
_PLACE = (35, 5)


def drawings(
    path: Path, *, side: int = SIDE, classes: int = 10, class_first: bool = False
) -> Dataset:
    """Read the drawings as they are, and split them, with each class in every split.

    Args:
        path: a CSV file, which may be compressed with gzip, of one drawing a line: its values 0
            to 255 row by row, ink light on 0, and its class.
        side: of each drawing, in pixels.
        classes: how many there are, from 0.
        class_first: the class stands before the values instead of after them.

    Returns:
        Splits of ``pixels``, uint8[item, side, side].

    Raises:
        DataError: the file is none of this form, or has other classes.
    """
    rows = _rows(path, 1 + side * side)
    values, targets = (rows[:, 1:], rows[:, 0]) if class_first else (rows[:, :-1], rows[:, -1])
    found = set(targets.tolist())
    if found != set(range(classes)):
        least, most = min(found), max(found)
        where = "first" if class_first else "last"
        raise DataError(
            f"{path}: expected each of {classes} classes, 0 to {classes - 1}, in the {where}"
            f" column, found {len(found)} from {least} to {most}",
            cause="the class stands at the other end of the lines, or there are other classes",
            next_step="bring the file to that form",
            path=path,
        )
    return Dataset.split({"pixels": values.reshape(-1, side, side)}, targets.astype(np.int64))


def _rows(path: Path, columns: int) -> np.ndarray:
    expected = f"expected lines of {columns} numbers 0 to 255 with commas between them"
    try:
        rows = np.loadtxt(path, delimiter=",", dtype=np.uint8, ndmin=2)
    # Numbers beyond a byte are a ValueError or an OverflowError, by the version of numpy.
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: {expected}: {error}",
            cause="a line of titles, another separator, or no CSV file",
            next_step="bring the file to that form",
            path=path,
        ) from error
    if rows.shape[1] != columns:
        raise DataError(
            f"{path}: {expected}, found {rows.shape[1]} in each of {len(rows)}",
            cause="drawings of another size, or without their class",
            next_step="bring the file to that form",
            path=path,
        )
    return rows


def questions(split: Split, labels: Sequence[str]) -> list[Sample]:
    """Draw the first character of each class large on a sheet, as people send them.

    Dark on light and light on dark take turns, and so do the forms of a picture; each is a
    little larger than the one before, and none lies in the middle.

    Args:
        split: its ``pixels`` are uint8[item, side, side], ink light on 0.
        labels: names of the classes, by the numbers that the targets are.

    Raises:
        DataError: a class has no drawing.
    """
    found = enumerate(zip(pictures.firsts(split, len(labels)), labels, strict=True))
    return [_question(number, drawing, label) for number, (drawing, label) in found]


def _question(number: int, drawing: np.ndarray, label: str) -> Sample:
    side = _DRAWN + _LARGER * number
    ink = Image.fromarray(drawing).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (side + _MARGIN[0], side + _MARGIN[1]))
    sheet.paste(ink, _PLACE)
    dark = number % 2 == 0
    form = pictures.FORMS[number % len(pictures.FORMS)]
    look = "dark on light" if dark else "light on dark"
    return pictures.sample(
        Image.fromarray(255 - np.asarray(sheet)) if dark else sheet,
        form,
        title=f"a handwritten {label}, {look}, {form} {sheet.width} × {sheet.height}",
        label=label,
    )
