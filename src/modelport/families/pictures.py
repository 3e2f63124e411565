"""What builders of image models share: their inputs, questions as clients send them, test data.

The tensors are those that :mod:`modelport.serving.images`, :mod:`~modelport.serving.photographs`
and :mod:`~modelport.serving.glyphs` take and give.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from modelport.build.dataset import Arrays, Dataset, Split
from modelport.errors import DataError
from modelport.serving import glyphs, photographs
from modelport.spec.parts import Sample, Tensor

Form: TypeAlias = Literal["PNG", "JPEG", "pixels"]
FORMS: tuple[Form, ...] = ("PNG", "JPEG", "pixels")

_FILE = Tensor(
    "image", "BYTES", (1,), optional=True, doc="an image file's bytes, or its base64 text"
)
# What a client sends: one of the two.
GREY = (
    _FILE,
    Tensor("pixels", "UINT8", (-1, -1), optional=True, doc="grey values [height, width], any size"),
)
RGB = (
    _FILE,
    Tensor("pixels", "UINT8", (-1, -1, 3), optional=True, doc="RGB [height, width, 3], any size"),
)
# What glyphs.digits, photographs.thumbnails and photographs.crops make of it.
GLYPH = Tensor("glyph", "FP32", (1, glyphs.SIDE, glyphs.SIDE), doc="ink 1 on ground 0, centred")
THUMBNAIL = Tensor(
    "thumbnail",
    "FP32",
    (3, photographs.THUMBNAIL_SIDE, photographs.THUMBNAIL_SIDE),
    doc="RGB 0 to 1, the middle square",
)
CROP = Tensor(
    "crop",
    "UINT8",
    (photographs.CROP_SIDE, photographs.CROP_SIDE, 3),
    doc="RGB, the middle of the photograph",
)


def sample(
    picture: Image.Image,
    form: Form,
    *,
    title: str = "",
    label: str | None = None,
    quality: int = 75,
) -> Sample:
    """Ask with a picture, as a file or as raw pixels.

    Args:
        picture: as large as it is sent.
        form: how.
        title: for people.
        label: what is known to be the right answer, if it is known.
        quality: of a JPEG, 1 to 95.
    """
    if form == "pixels":
        return Sample({"pixels": np.asarray(picture)}, title=title, truth=_truth(label))
    file = io.BytesIO()
    picture.save(file, form, **({"quality": quality} if form == "JPEG" else {}))
    return Sample({"image": _bytes(file.getvalue())}, title=title, truth=_truth(label))


def firsts(split: Split, classes: int) -> list[np.ndarray]:
    """Give the first picture of each class in a split's ``pixels``, in the order of the classes.

    Raises:
        DataError: a class has none.
    """
    present = set(split.targets.tolist())
    missing = [number for number in range(classes) if number not in present]
    if missing:
        raise DataError(
            f"expected pictures of {classes} classes among {len(split):,}, found none of class"
            f" {missing[0]}",
            cause="the data are of other classes, or too few to have all in each split",
            next_step="give data with several pictures of every class",
        )
    # The first place at which each class occurs, lowest class first.
    places = np.unique(split.targets, return_index=True)[1][:classes]
    return list(split.inputs["pixels"][places])


def questions(split: Split, labels: Sequence[str], *, known: int) -> list[Sample]:
    """Ask the first picture of each class in a split, in all forms, from its own size to larger.

    Args:
        split: its ``pixels`` are uint8[item, height, width, 3] or uint8[item, height, width].
        labels: names of the classes, by the numbers that the targets are.
        known: of so many, from the first on, the label is said to be the right answer, and only
            these are shown to people: the network should read them rightly. Where nothing is
            known (0) all are shown.

    Raises:
        DataError: a class has no picture.
    """

    def asked(number: int, picture: np.ndarray, label: str) -> Sample:
        form, times = FORMS[number % len(FORMS)], 1 + number // len(FORMS)
        height, width = picture.shape[:2]
        image = Image.fromarray(picture).resize((width * times, height * times))
        title = f"{label}, {form} {image.width} × {image.height}"
        return sample(
            image,
            form,
            title=title if number < known or not known else "",
            label=label if number < known else None,
            quality=95,
        )

    found = enumerate(zip(firsts(split, len(labels)), labels, strict=True))
    return [asked(number, picture, label) for number, (picture, label) in found]


def files(
    folder: Path, asked: Mapping[str, tuple[str, str | None]], *, known: bool = True
) -> list[Sample]:
    """Ask with image files as they are.

    Args:
        folder: that they lie in.
        asked: file name to the title for people and the right answer, ``None`` where the network
            has no class for it.
        known: the answers hold; not for other weights than those they were chosen for.
    """
    return [
        Sample(
            {"image": _bytes((folder / file).read_bytes())},
            title=title,
            truth=_truth(label if known else None),
        )
        for file, (title, label) in asked.items()
    ]


def seen_data(
    read: Callable[..., Dataset], preprocess: Callable[[Arrays], Arrays]
) -> Callable[..., Dataset]:
    """Bring the pictures of a data set to the form that the server gives a network.

    Args:
        read: makes the data set, its inputs as a client sends them.
        preprocess: takes and gives named arrays, the batch dimension first.

    Returns:
        What a declaration takes as its ``data``.
    """

    def made(*sources: Path) -> Dataset:
        return read(*sources).map(preprocess)

    return made


def seen_samples(
    asked: Callable[..., Sequence[Sample]], preprocess: Callable[[Arrays], Arrays]
) -> Callable[..., Sequence[Sample]]:
    """Bring questions to the form that the server gives a network.

    Args:
        asked: makes the samples that clients send.
        preprocess: takes and gives named arrays, the batch dimension first.

    Returns:
        What a declaration takes as its ``samples``.
    """

    def made(*sources: Path) -> Sequence[Sample]:
        batches = [
            preprocess({name: array[np.newaxis] for name, array in one.inputs.items()})
            for one in asked(*sources)
        ]
        return [Sample({name: array[0] for name, array in batch.items()}) for batch in batches]

    return made


def patches(
    folder: Path, names: Sequence[str], *, count: int, side: int, seed: int = 0
) -> np.ndarray:
    """Cut squares out of a few photographs, as other pictures for a quantized network's ranges.

    Each takes in 35 to 100 % of its photograph's shorter side, at any place; half are mirrored.

    Args:
        folder: that the photographs lie in.
        names: of the files, one after the other.
        count: how many squares.
        side: of each.
        seed: of all that is random.

    Returns:
        uint8[count, side, side, 3].

    Raises:
        DataError: a file is not there, or is no image.
    """
    random = np.random.default_rng(seed)
    opened = [_opened(folder / name) for name in names]

    def patch(number: int) -> np.ndarray:
        photo = opened[number % len(opened)]
        edge = min(photo.size) * random.uniform(0.35, 1)
        left, top = (random.uniform(0, length - edge) for length in photo.size)
        box = (left, top, left + edge, top + edge)
        cut = photo.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
        return np.asarray(cut)[:, :: random.choice((1, -1))]

    return np.stack([patch(number) for number in range(count)])


def _opened(file: Path) -> Image.Image:
    try:
        return Image.open(file).convert("RGB")
    except OSError as error:  # not there, not an image, cut short
        raise DataError(
            f"{file}: expected a photograph, found none that can be read: {error}",
            next_step="name files of the folder that are images",
            path=file,
        ) from error


def measured(
    preprocess: Callable[[Arrays], Arrays],
    *,
    pattern: str = "*.jpg",
    train: Callable[..., Arrays] | None = None,
) -> Callable[..., Dataset]:
    """Measure a network that comes trained by pictures of its last source; nothing is learned.

    The source is a folder of image files. Each name ends with the number of the picture's
    class, as in ``photo_03_281.jpg``.

    Args:
        preprocess: takes ``image`` bytes[batch, 1] and gives the network's inputs by name.
        pattern: of the files' names.
        train: makes the inputs of the training split, of the same sources, which variants are
            calibrated on; their classes are not known (-1). Empty by default.

    Returns:
        What a declaration takes as its ``data``: it makes a data set whose split for validation
        is empty, and raises :class:`~modelport.errors.DataError` where there are
        no such files or a name has no class.
    """

    def read(*sources: Path) -> Dataset:
        folder = sources[-1]
        files = sorted(folder.glob(pattern))
        if not files:
            raise DataError(
                f"{folder}: expected files {pattern}, found none",
                next_step="give the folder that they lie in",
                path=folder,
            )
        targets = np.array([_class(file) for file in files])
        content = np.array([[file.read_bytes()] for file in files], dtype=np.object_)
        inputs = preprocess({"image": content})
        nothing = Split({name: array[:0] for name, array in inputs.items()}, targets[:0])
        seen = train(*sources) if train else nothing.inputs
        unknown = np.full(len(next(iter(seen.values()))), -1, targets.dtype)
        return Dataset(Split(seen, unknown), nothing, Split(inputs, targets))

    return read


def _class(file: Path) -> int:
    number = file.stem.rpartition("_")[2]
    if not number.isdecimal():
        raise DataError(
            f"{file}: expected a name that ends with _ and the number of a class, found {number!r}",
            next_step="rename it, or write the builder's `data` for files of another kind",
            path=file,
        )
    return int(number)


def _bytes(content: bytes) -> np.ndarray:
    return np.array([content], dtype=np.object_)


def _truth(label: str | None) -> dict[str, np.ndarray]:
    return {} if label is None else {"label": _bytes(label.encode())}
