"""Pictures as clients send them, and what a network sees of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelport.build import Dataset, Split
from modelport.errors import DataError
from modelport.families import pictures
from modelport.serving import glyphs, images, photographs
from modelport.spec import Sample, Tensor

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
CLASSES = np.array([2, 0, 1, 1, 0, 2, 3, 3, 0, 1, 2, 3])
LABELS = ["zero", "one", "two", "three"]


@pytest.fixture
def split() -> Split:
    return Split({"pixels": PIXELS}, CLASSES)


@pytest.mark.parametrize(
    ("inputs", "preprocess", "output"),
    [
        (pictures.GREY, glyphs.digits, pictures.GLYPH),
        (pictures.RGB, photographs.thumbnails, pictures.THUMBNAIL),
        (pictures.RGB, photographs.crops, pictures.CROP),
    ],
)
def test_the_tensors_are_those_of_the_preprocessing(
    inputs: tuple[Tensor, ...], preprocess: object, output: Tensor
) -> None:
    [_, pixels] = inputs
    shape = [20 if dim == -1 else dim for dim in pixels.dims]
    given = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    answer = preprocess({pixels.name: given})  # type: ignore[operator]
    assert {name: array.shape[1:] for name, array in answer.items()} == {output.name: output.dims}
    assert answer[output.name].dtype == {"FP32": np.float32, "UINT8": np.uint8}[output.datatype]


@pytest.mark.parametrize("form", pictures.FORMS)
def test_every_form_is_the_picture(form: pictures.Form) -> None:
    picture = Image.linear_gradient("L").resize((40, 30))
    asked = pictures.sample(picture, form, title="a gradient", label="grey", quality=95)
    got = asked.inputs.get("pixels")
    if got is None:
        content = asked.inputs["image"][0]
        assert Image.open(io.BytesIO(content)).format == form
        got = images.decode(content, mode="L")
    assert np.abs(got.astype(int) - np.asarray(picture)).max() <= (4 if form == "JPEG" else 0)
    assert asked.title == "a gradient"
    assert asked.truth["label"].tolist() == [b"grey"]


def test_the_first_of_each_class_is_found(split: Split) -> None:
    np.testing.assert_array_equal(pictures.firsts(split, 4), PIXELS[[1, 2, 0, 6]])
    np.testing.assert_array_equal(pictures.firsts(split, 2), PIXELS[[1, 2]])


def test_a_class_without_a_picture_is_named(split: Split) -> None:
    with pytest.raises(DataError, match="6 classes among 12, found none of class 4"):
        pictures.firsts(split, 6)


def test_questions_take_all_forms_and_grow(split: Split) -> None:
    asked = pictures.questions(split, LABELS, known=4)
    assert [one.title for one in asked] == [
        "zero, PNG 6 × 8",
        "one, JPEG 6 × 8",
        "two, pixels 6 × 8",
        "three, PNG 12 × 16",
    ]
    np.testing.assert_array_equal(asked[2].inputs["pixels"], PIXELS[0])
    np.testing.assert_array_equal(images.decode(asked[0].inputs["image"][0]), PIXELS[1])
    assert [one.truth["label"][0].decode() for one in asked] == LABELS


def test_only_what_is_known_is_shown_unless_nothing_is(split: Split) -> None:
    some = pictures.questions(split, LABELS, known=2)
    assert [(bool(one.title), bool(one.truth)) for one in some] == [(True, True)] * 2 + [
        (False, False)
    ] * 2
    none = pictures.questions(split, LABELS, known=0)
    assert all(one.title and not one.truth for one in none)


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"of a cat")
    (tmp_path / "b.jpg").write_bytes(b"of a rocket")
    shown = {"a.jpg": ("a cat", "cat"), "b.jpg": ("a rocket", None)}
    cat, rocket = pictures.files(tmp_path, shown)
    assert cat.inputs["image"].tolist() == [b"of a cat"]
    assert (cat.title, cat.truth["label"].tolist()) == ("a cat", [b"cat"])
    assert (rocket.title, rocket.truth) == ("a rocket", {})
    assert not any(one.truth for one in pictures.files(tmp_path, shown, known=False))


def test_a_network_sees_what_the_server_gives_it(split: Split) -> None:
    data = pictures.seen_data(lambda: Dataset(split, split, split), photographs.thumbnails)()
    seen = pictures.seen_samples(lambda: pictures.questions(split, LABELS, known=4), _thumbnails)()
    np.testing.assert_array_equal(data.test.inputs["thumbnail"][0], seen[2].inputs["thumbnail"])
    np.testing.assert_array_equal(data.train.targets, CLASSES)
    assert [one.inputs["thumbnail"].shape for one in seen] == [(3, 32, 32)] * 4


def _thumbnails(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Refuses what is no batch of one."""
    assert [len(array) for array in inputs.values()] == [1]
    return photographs.thumbnails(inputs)


def saved(path: Path, colour: str) -> None:
    Image.new("RGB", (10, 10), colour).save(path)


def test_pictures_are_measured_by_the_classes_in_their_names(tmp_path: Path) -> None:
    saved(tmp_path / "b_00_12.png", "red")
    saved(tmp_path / "a_01_7.png", "black")
    saved(tmp_path / "a.jpg", "white")
    data = pictures.measured(photographs.thumbnails, pattern="*.png")(Path("weights"), tmp_path)
    assert data.test.targets.tolist() == [7, 12]
    assert data.test.inputs["thumbnail"][:, 0].max(axis=(1, 2)).tolist() == [0, 1]
    assert (len(data.train), len(data.validation)) == (0, 0)
    assert data.train.inputs["thumbnail"].shape == (0, 3, 32, 32)


def test_a_training_split_may_be_cut_from_photographs(tmp_path: Path) -> None:
    saved(tmp_path / "b_00_12.png", "red")
    Image.fromarray(np.kron(PIXELS[0], np.ones((9, 9, 1), np.uint8))).save(tmp_path / "photo.jpg")

    def train(_weights: Path, folder: Path) -> dict[str, np.ndarray]:
        cut = pictures.patches(folder, ["photo.jpg"], count=5, side=32)
        return photographs.thumbnails({"pixels": cut})

    read = pictures.measured(photographs.thumbnails, pattern="*.png", train=train)
    data, again = (read(Path("weights"), tmp_path) for _ in "ab")
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 0, 1)
    assert set(data.train.targets.tolist()) == {-1}
    seen = data.train.inputs["thumbnail"]
    assert len({picture.tobytes() for picture in seen}) == 5
    assert np.array_equal(seen, again.train.inputs["thumbnail"])


def test_photographs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name}: expected a photograph, found none"):
            pictures.patches(tmp_path, [name], count=1, side=8)


def test_pictures_without_their_class_are_refused(tmp_path: Path) -> None:
    read = pictures.measured(photographs.thumbnails, pattern="*.png")
    with pytest.raises(DataError, match=r"expected files \*\.png, found none"):
        read(tmp_path)
    saved(tmp_path / "photo_cat.png", "red")
    with pytest.raises(DataError, match=r"photo_cat\.png: expected .* found 'cat'"):
        read(tmp_path)


def test_samples_need_no_title_and_no_truth() -> None:
    asked = pictures.sample(Image.new("L", (3, 2)), "pixels")
    assert isinstance(asked, Sample)
    assert (asked.title, asked.truth) == ("", {})
