"""Coloured digits as a person sends them, and a network trained on a person's own CIFAR-10."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.build import builder_file, loader, sources
from modelport.client import Client, InvalidInputError
from modelport.errors import DataError
from modelport.repository.layout import Repository
from modelport.repository.samples import FILE_NAME, Samples
from modelport.runtime.server import Server

ROOT = Path(__file__).parents[3]
BUILDER = ROOT / "builders" / "digits_color.py"
MODEL = "digits_color"
CIFAR_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip


def asked(*contents: bytes) -> dict[str, np.ndarray]:
    return {"image": np.array([[content] for content in contents], dtype=np.object_)}


def written(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    network = loader.load(BUILDER).model("digits_color_cnn").network
    return sys.modules[network.__module__]


@pytest.fixture(scope="module")
def pictures(builder: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """Digits that training never saw on photographs that it never saw, and what they are."""
    paths = [sources.fetch(source, BUILDER).path for source in builder.SOURCES]
    test = builder.drawn(*paths).test
    return test.inputs["pixels"], test.targets


def right(client: Client, files: list[bytes], targets: np.ndarray) -> float:
    labels = [client.infer(MODEL, asked(*files[i : i + 50]))["label"] for i in range(0, 200, 50)]
    truth = [str(target).encode() for target in targets[:200]]
    return float(np.mean(np.concatenate(labels)[:, 0] == np.array(truth, dtype=np.object_)))


def test_unseen_digits_on_unseen_photographs_are_read(
    server: Server, pictures: tuple[np.ndarray, np.ndarray]
) -> None:
    """Of 200, as PNG files, enlarged, and as JPEG files that a phone made of them."""
    pixels, targets = pictures
    shown = [Image.fromarray(picture) for picture in pixels[:200]]
    ways = {
        "PNG": [written(image) for image in shown],
        "large": [written(image.resize((150, 150))) for image in shown],
        "JPEG": [written(image.resize((320, 320)), "JPEG", quality=85) for image in shown],
    }
    with Client(server.endpoints.grpc) as client:
        share = {way: right(client, files, targets) for way, files in ways.items()}
    assert min(share.values()) >= 0.85, share


def test_the_network_is_far_better_than_its_baseline(repository: Repository) -> None:
    folder = repository.model("digits_color_cnn")
    metrics = folder.manifest(folder.served_versions()[-1]).metrics
    assert metrics is not None
    [ridge] = metrics.baselines.values()
    assert metrics.values["accuracy"] >= 0.85 > ridge["accuracy"] + 0.4


def test_no_photograph_is_in_two_splits(builder: ModuleType) -> None:
    names = (*builder.TRAIN, *builder.VALIDATION, *builder.TEST)
    assert len(set(names)) == len(names)


def test_a_batch_answers_each_picture_as_if_alone(
    server: Server, pictures: tuple[np.ndarray, np.ndarray]
) -> None:
    files = [written(Image.fromarray(picture)) for picture in pictures[0][:12]]
    with Client(server.endpoints.grpc) as client:
        alone = [client.infer(MODEL, asked(file)) for file in files]

        @settings(max_examples=20)
        @given(st.lists(st.sampled_from(range(len(files))), min_size=2, max_size=30))
        def law(chosen: list[int]) -> None:
            together = client.infer(MODEL, asked(*(files[i] for i in chosen)))
            for name in ("probability", "scores"):
                expected = np.concatenate([alone[i][name] for i in chosen])
                np.testing.assert_allclose(together[name], expected, atol=1e-5)
            labels = np.concatenate([alone[i]["label"] for i in chosen])
            np.testing.assert_array_equal(together["label"], labels)

        law()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_held_otherwise_gets_the_same_answer(
    client: Client, pictures: tuple[np.ndarray, np.ndarray], orientation: int
) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera was held
    upright = Image.fromarray(pictures[0][0]).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    rotated = written(upright.transpose(Image.Transpose(turns[orientation])), exif=exif)
    got, expected = (client.infer(MODEL, asked(file)) for file in (rotated, written(upright)))
    np.testing.assert_array_equal(got["scores"], expected["scores"])


def test_pixels_base64_and_file_get_the_same_answer(
    client: Client, pictures: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels = pictures[0][3]
    file = written(Image.fromarray(pixels))
    expected = client.infer(MODEL, asked(file))
    for inputs in ({"pixels": pixels[np.newaxis]}, asked(base64.b64encode(file))):
        got = client.infer(MODEL, inputs)
        np.testing.assert_array_equal(got["scores"], expected["scores"])


PICTURES = {
    "black": Image.new("RGB", (40, 40)),
    "transparent": Image.new("RGBA", (40, 40)),
    "CMYK": Image.new("CMYK", (40, 40), (0, 200, 200, 0)),
    "palette": Image.new("P", (40, 40), 3),
    "one pixel": Image.new("L", (1, 1)),
    "wide": Image.new("RGB", (3000, 2), "blue"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_any_picture_is_answered(client: Client, kind: str) -> None:
    form = "TIFF" if kind == "CMYK" else "PNG"
    answer = client.infer(MODEL, asked(written(PICTURES[kind], form)))
    assert answer["label"].flat[0] in [str(digit).encode() for digit in range(10)]
    assert answer["scores"].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("bad", "words"), [(b"", "0 bytes"), (b"seven", "not a PNG"), (None, "damaged")]
)
def test_a_bad_file_is_refused_with_the_number_of_its_item(
    client: Client, pictures: tuple[np.ndarray, np.ndarray], bad: bytes | None, words: str
) -> None:
    good = written(Image.fromarray(pictures[0][0]))
    bad = good[: len(good) // 2] if bad is None else bad
    with pytest.raises(InvalidInputError, match=f"item 2: .*{words}"):
        client.infer(MODEL, asked(good, good, bad))
    assert client.infer(MODEL, asked(good))["label"].shape == (1, 1)


def test_grey_pixels_are_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="pixels"):
        client.infer(MODEL, {"pixels": np.zeros((1, 32, 32), np.uint8)})


# --- CIFAR-10 ----------------------------------------------------------------


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CIFAR-10's binary form whose classes are colours: soon learnt."""
    folder = tmp_path_factory.mktemp("cifar-10-batches-bin")
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (10, 3))
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        classes = np.arange(100) % 10
        noise = random.integers(-20, 21, (100, 3, 32, 32))
        pixels = np.clip(colours[classes][:, :, np.newaxis, np.newaxis] + noise, 0, 255)
        records = np.concatenate([classes[:, np.newaxis], pixels.reshape(100, -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.astype(np.uint8).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES) + "\n\n")
    return folder


@pytest.mark.slow
def test_with_cifar10_the_labels_are_its_classes(tmp_path: Path, cifar: Path) -> None:
    repository = copied(tmp_path)
    builder_file.build_file(BUILDER, repository, lambda _: None, False, data=cifar)
    folder = repository.model(MODEL)
    labels = repository.model("digits_color_postprocess").version_dir(1) / "labels.txt"
    assert tuple(labels.read_text().split()) == CIFAR_CLASSES
    asked_and_told = {
        case.title.partition(",")[0]: case.outputs["label"].flat[0].decode()
        for case in Samples.read(folder.version_dir(1) / FILE_NAME).cases
        if case.title
    }
    assert asked_and_told == {name: name for name in CIFAR_CLASSES}


def test_the_pickled_cifar10_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "cifar-10-batches-py"
    python.mkdir()
    (python / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"data_batch_1\.bin") as caught:
        builder_file.build_file(BUILDER, copied(tmp_path), lambda _: None, False, data=python)
    assert "pickled" in str(caught.value.cause)


def copied(folder: Path) -> Repository:
    """An empty repository with the code of the Python models, as a user's clone has it."""
    source = ROOT / "model_repository"
    for code in source.glob(f"{MODEL}*/model.py"):
        target = folder / "model_repository" / code.relative_to(source)
        target.parent.mkdir(parents=True)
        target.write_bytes(code.read_bytes())
    return Repository(folder / "model_repository")
