"""CIFAR-10 in its binary version (Krizhevsky 2009), from a folder of the user's own.

The Python version of the same data set is pickled, and a pickle from outside is code: it
is named in the error, never loaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError

SIDE = 32
_TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = "test_batch.bin"
_NAMES = "batches.meta.txt"
# One byte of class, then the planes red, green and blue, each row by row.
_RECORD = 1 + 3 * SIDE * SIDE
_VALIDATION = 0.1


def read(folder: Path) -> Dataset:
    """Read the pictures as ``pixels``, uint8[item, 32, 32, 3].

    The test split is CIFAR's own; a tenth of its training pictures are the validation split.

    Raises:
        DataError: the folder does not hold the binary version, or a file is damaged.
    """
    _check(folder)
    parts = [_batch(folder / name) for name in _TRAINING]
    pixels, targets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.random.default_rng(0).permutation(len(targets))
    held, kept = np.split(order, [round(_VALIDATION * len(targets))])
    test_pixels, test_targets = _batch(folder / _TEST)
    return Dataset(
        Split({"pixels": pixels[kept]}, targets[kept]),
        Split({"pixels": pixels[held]}, targets[held]),
        Split({"pixels": test_pixels}, test_targets),
    )


def names(folder: Path) -> list[str]:
    """Read the names of the ten classes; raises :class:`~modelport.errors.DataError`."""
    _check(folder)
    return (folder / _NAMES).read_text(encoding="utf-8").split()


def _check(folder: Path) -> None:
    wanted = (*_TRAINING, _TEST, _NAMES)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not missing:
        return
    pickled = (folder / "data_batch_1").is_file()
    python = "it holds the Python version, which is pickled: such files can run code"
    raise DataError(
        f"{folder}: not CIFAR-10 in its binary version: there is no {missing[0]}",
        cause=python if pickled else "another folder, or one that is not wholly unpacked",
        next_step="give the folder cifar-10-batches-bin of cifar-10-binary.tar.gz, which has"
        f" {_TRAINING[0]} to {_TRAINING[-1]}, {_TEST} and {_NAMES}",
        path=folder,
    )


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = np.fromfile(path, dtype=np.uint8)
    classes = content[::_RECORD]
    if not content.size or content.size % _RECORD or classes.max() > 9:
        raise DataError(
            f"{path}: {content.size:,} bytes are no records of {_RECORD:,} bytes with a class"
            " of 0 to 9",
            cause="the file is damaged, or of CIFAR-100",
            next_step="unpack cifar-10-binary.tar.gz again",
            path=path,
        )
    records = content.reshape(-1, _RECORD)
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    return np.moveaxis(planes, 1, -1), records[:, 0].astype(np.int64)
