"""Photographs as cameras, phones and web pages write them, and what is no photograph."""

from __future__ import annotations

import base64
import dataclasses
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.build import builder_file, loader
from modelport.client import Client, InvalidInputError
from modelport.errors import DataError, GateError
from modelport.families import backbones
from modelport.repository.layout import Repository
from modelport.repository.samples import Case
from modelport.runtime.server import Server
from modelport.spec import TorchModel

BUILDER = Path(__file__).parents[3] / "builders" / "image_classifier.py"
MODEL = "image_classifier"
EXIF_ORIENTATION = 0x0112
# Of a photograph's best class, when the file is written another way.
SLACK = 0.15


def asked(*contents: bytes) -> dict[str, np.ndarray]:
    return {"image": np.array([[content] for content in contents], dtype=np.object_)}


def written(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(cases: Mapping[str, list[Case]]) -> dict[str, Image.Image]:
    """The photographs that the builder asks, by their titles."""
    files = {case.title: case.inputs["image"].flat[0] for case in cases[MODEL]}
    return {title: Image.open(io.BytesIO(file)).convert("RGB") for title, file in files.items()}


@pytest.fixture(scope="module")
def coffee(photos: dict[str, Image.Image]) -> Image.Image:
    return photos["a cup of espresso"]


def test_the_best_five_fall_and_start_with_the_label(
    client: Client, photos: dict[str, Image.Image]
) -> None:
    answer = client.infer(MODEL, asked(*(written(photo) for photo in photos.values())))
    assert answer["labels"].shape == (len(photos), 5)
    assert (np.diff(answer["probabilities"]) <= 0).all()
    assert (answer["probabilities"].sum(axis=1) <= 1 + 1e-5).all()
    np.testing.assert_array_equal(answer["labels"][:, :1], answer["label"])
    np.testing.assert_array_equal(answer["probabilities"][:, :1], answer["probability"])
    assert len(np.unique(answer["classes"][0])) == 5


def with_alpha(photo: Image.Image) -> Image.Image:
    photo = photo.convert("RGBA")
    photo.putalpha(255)
    return photo


WAYS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda photo: written(photo, "JPEG", quality=90),
    "progressive JPEG": lambda photo: written(photo, "JPEG", progressive=True, quality=90),
    "12 megapixels": lambda photo: written(photo.resize((4200, 2800)), "JPEG"),
    "CMYK JPEG": lambda photo: written(photo.convert("CMYK"), "JPEG", quality=95),
    "CMYK TIFF": lambda photo: written(photo.convert("CMYK"), "TIFF"),
    "opaque PNG": lambda photo: written(with_alpha(photo)),
    "palette PNG": lambda photo: written(photo.quantize(256)),
    "WebP": lambda photo: written(photo, "WEBP", quality=90),
    "animated GIF": lambda photo: written(
        photo, "GIF", save_all=True, append_images=[Image.new("RGB", photo.size)]
    ),
    "base64": lambda photo: base64.b64encode(written(photo)),
    "data URL": lambda photo: b"data:image/png;base64," + base64.b64encode(written(photo)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_cup_of_coffee_is_one_in_every_file(
    client: Client, coffee: Image.Image, way: str
) -> None:
    answer = client.infer(MODEL, asked(WAYS[way](coffee)))
    assert answer["label"].tolist() == [[b"espresso"]]
    plain = client.infer(MODEL, asked(written(coffee)))
    assert abs(answer["probability"] - plain["probability"]) < SLACK


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_held_otherwise_gets_the_same_answer(
    client: Client, coffee: Image.Image, orientation: int
) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera was held
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    rotated = written(coffee.transpose(Image.Transpose(turns[orientation])), exif=exif)
    got, upright = (client.infer(MODEL, asked(file)) for file in (rotated, written(coffee)))
    for name in upright:
        np.testing.assert_array_equal(got[name], upright[name])


def test_pixels_and_a_file_without_loss_get_the_same_answer(
    client: Client, coffee: Image.Image
) -> None:
    by_pixels = client.infer(MODEL, {"pixels": np.asarray(coffee)[np.newaxis]})
    by_file = client.infer(MODEL, asked(written(coffee)))
    for name in by_file:
        np.testing.assert_array_equal(by_pixels[name], by_file[name])


PICTURES = {
    "black": Image.new("RGB", (300, 200)),
    "white": Image.new("L", (300, 200), 255),
    "transparent": Image.new("RGBA", (300, 200)),
    "one pixel": Image.new("RGB", (1, 1), "red"),
    "a thread": Image.new("RGB", (5000, 1), "green"),
    "16 bit": Image.fromarray(np.arange(0, 60_000, 6, np.uint16).reshape(100, 100)),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_any_picture_is_answered(client: Client, kind: str) -> None:
    answer = client.infer(MODEL, asked(written(PICTURES[kind])))
    assert answer["label"].flat[0]
    assert 0 < answer["probability"].flat[0] <= 1


def test_transparent_is_white_and_not_black(client: Client) -> None:
    transparent, white, black = (
        client.infer(MODEL, asked(written(PICTURES[kind])))["probabilities"]
        for kind in ("transparent", "white", "black")
    )
    np.testing.assert_array_equal(transparent, white)
    assert not np.array_equal(transparent, black)


def announcing(width: int, height: int, png: bytes) -> bytes:
    """The same PNG file, whose header claims other sides."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


BAD = {
    "empty": (lambda file: b"", "0 bytes"),
    "text": (lambda file: b"a cat, honestly", "not a PNG"),
    "half": (lambda file: file[: len(file) // 2], "damaged"),
    "a bomb": (lambda file: announcing(60_000, 60_000, file), "is the most"),
    "PostScript": (lambda file: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a PNG"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_the_number_of_its_item(
    client: Client, coffee: Image.Image, kind: str
) -> None:
    good = written(coffee)
    spoil, words = BAD[kind]
    with pytest.raises(InvalidInputError, match=rf"item 1: .*{words}"):
        client.infer(MODEL, asked(good, spoil(good), good))
    assert client.infer(MODEL, asked(good))["label"].tolist() == [[b"espresso"]]


def test_a_batch_answers_each_photograph_as_if_alone(
    server: Server, photos: dict[str, Image.Image]
) -> None:
    files = [written(photo) for photo in photos.values()] + [written(PICTURES["black"])]
    with Client(server.endpoints.grpc) as client:
        alone = [client.infer(MODEL, asked(file)) for file in files]

        @settings(max_examples=15)
        @given(st.lists(st.sampled_from(range(len(files))), min_size=2, max_size=8))
        def law(chosen: list[int]) -> None:
            together = client.infer(MODEL, asked(*(files[i] for i in chosen)))
            for name, got in together.items():
                expected = np.concatenate([alone[i][name] for i in chosen])
                if name.startswith("probabilit"):
                    np.testing.assert_allclose(got, expected, atol=1e-5)
                else:
                    np.testing.assert_array_equal(got, expected)

        law()


def test_the_figures_are_those_of_a_network_that_sees(repository: Repository) -> None:
    folder = repository.model("image_classifier_network")
    metrics = folder.manifest(folder.served_versions()[-1]).metrics
    assert metrics is not None
    [chance] = metrics.baselines.values()
    assert metrics.values["top1"] > chance["top1"] + 0.5
    assert metrics.values["top5"] > chance["top5"] + 0.5


# --- weights of one's own ----------------------------------------------------


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that nobody trained, under the names of torchvision's checkpoint."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18-random.pth"
    network = backbones.ResNet18(1000)
    # Untrained logits lie so close together that every class is as probable as the next.
    network.fc.weight.data *= 30
    torch.save(network.state_dict(), path)
    return path


def test_a_resnet18_that_knows_nothing_is_not_published(tmp_path: Path, resnet18: Path) -> None:
    repository = copied(tmp_path)
    with pytest.raises(GateError, match=r"top1 is 0\.0"):
        builder_file.build_file(BUILDER, repository, lambda _: None, False, data=resnet18)
    assert not list(repository.path.rglob("manifest.json"))


@pytest.mark.slow
def test_a_resnet18_answers_through_the_server_as_in_torch(tmp_path: Path, resnet18: Path) -> None:
    """The build proves it; without the gates, because it was never trained, and on little."""
    builder = loader.load(BUILDER, data=resnet18)
    network = builder.model("image_classifier_network")
    assert isinstance(network, TorchModel)
    assert network.samples is not None
    views = network.samples
    small = dataclasses.replace(
        network, gates=(), max_batch_size=2, samples=lambda *paths: views(*paths)[:2]
    )
    repository = copied(tmp_path)
    only = dataclasses.replace(builder, models=(small,))
    builder_file.build_models(only, repository, lambda _: None, False, data=resnet18)
    folder = repository.model(network.name)
    assert folder.manifest(1).proof.through_server.requests > 0
    crop = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(folder.version_dir(1) / "model.onnx")
    classes, probabilities = session.run(["classes", "probabilities"], {"crop": crop})
    with torch.inference_mode():
        scores = backbones.load(resnet18, classes=1000)(torch.from_numpy(crop)).softmax(dim=-1)
    best = scores.topk(5)
    np.testing.assert_array_equal(classes, best.indices)
    np.testing.assert_allclose(probabilities, best.values, atol=1e-4)


def test_weights_of_another_network_are_told_apart(tmp_path: Path) -> None:
    torch.save({"stem.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"unexpected key 'stem\.weight'"):
        builder_file.build_file(
            BUILDER, copied(tmp_path), lambda _: None, False, data=tmp_path / "other.pth"
        )


def copied(folder: Path) -> Repository:
    """An empty repository with the code of the Python models, as a user's clone has it."""
    source = BUILDER.parents[1] / "model_repository"
    for code in source.glob(f"{MODEL}*/model.py"):
        target = folder / "model_repository" / code.relative_to(source)
        target.parent.mkdir(parents=True)
        target.write_bytes(code.read_bytes())
    (folder / "model_repository").mkdir(exist_ok=True)
    return Repository(folder / "model_repository")
