"""What the model ``digits`` does with images of every kind, with wrong requests, and under load."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image

from modelport.client import Client, ClientError, InvalidInputError, ModelNotFoundError
from modelport.repository.samples import Case
from modelport.runtime.server import Server
from modelport.spec import Tolerance
from modelport.verify.parity import compare

CLIENTS = 16
TOLERANCE = Tolerance(absolute=1e-4, relative=1e-3)  # that of the builder

Unseen = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def seven(unseen: Unseen, server: Server) -> Image.Image:
    """A seven, dark on light: L[140, 196], one that the model reads right as it is."""
    inks, digits = unseen
    with Client(server.endpoints.grpc) as client:
        for ink in inks[digits == 7]:
            sheet = Image.new("L", (140, 196), 255)
            sheet.paste(
                0, (0, 28), Image.fromarray(ink).resize((140, 140), Image.Resampling.BICUBIC)
            )
            if client.infer("digits", image(encoded(sheet)))["label"].flat[0] == b"7":
                return sheet
    raise AssertionError("the model reads no seven of the test split")


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def image(*files: bytes) -> dict[str, np.ndarray]:
    return {"image": np.array([[file] for file in files], np.object_)}


def _transparent(seven: Image.Image) -> bytes:
    picture = Image.new("RGBA", seven.size, (0, 0, 0, 0))
    picture.putalpha(seven.point(lambda value: 255 - value))
    return encoded(picture)


def _turned(seven: Image.Image) -> bytes:
    """As a phone stores a portrait: lying on its side, with a note to turn it back."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it 90 degrees clockwise to show it
    return encoded(seven.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


def _sixteen_bits(seven: Image.Image) -> bytes:
    return encoded(Image.fromarray(np.asarray(seven).astype(np.uint16) * 257))


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "transparent PNG": _transparent,
    "CMYK JPEG": lambda seven: encoded(seven.convert("CMYK"), "JPEG"),
    "JPEG turned by EXIF": _turned,
    "palette GIF": lambda seven: encoded(seven.convert("P"), "GIF"),
    "1 bit PNG": lambda seven: encoded(seven.convert("1")),
    "16 bit PNG": _sixteen_bits,
    "WebP": lambda seven: encoded(seven.convert("RGB"), "WEBP"),
    "BMP": lambda seven: encoded(seven, "BMP"),
    "TIFF": lambda seven: encoded(seven, "TIFF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_read(client: Client, seven: Image.Image, kind: str) -> None:
    answer = client.infer("digits", image(KINDS[kind](seven)))
    assert answer["label"].tolist() == [[b"7"]]


EMPTY_SHEETS = {
    "one pixel": Image.new("L", (1, 1), 128),
    "black": Image.new("L", (90, 60), 0),
    "white": Image.new("RGB", (60, 90), "white"),
    "transparent": Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("kind", EMPTY_SHEETS)
def test_an_empty_sheet_is_refused_as_such(client: Client, seven: Image.Image, kind: str) -> None:
    """The network itself would name a digit, and be sure of it."""
    with pytest.raises(InvalidInputError, match="item 1: nothing is drawn"):
        client.infer("digits", image(encoded(seven), encoded(EMPTY_SHEETS[kind])))


BAD_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda _: b"this is no image, it is text\n", "not a PNG, JPEG or other"),
    "empty": (lambda _: b"", "0 bytes"),
    "cut short": (lambda png: png[: len(png) // 2], "damaged"),
    "head only": (lambda png: png[:8], "not a PNG, JPEG or other"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_with_the_number_of_its_item(
    client: Client, seven: Image.Image, kind: str
) -> None:
    good = encoded(seven)
    spoil, words = BAD_FILES[kind]
    with pytest.raises(InvalidInputError, match=words) as caught:
        client.infer("digits", image(good, good, spoil(good), good))
    assert "item 2" in str(caught.value)


def test_bad_requests_spoil_none_that_come_with_them(server: Server, seven: Image.Image) -> None:
    """Forty requests at once, so that they share batches; every fourth is bad."""
    good = encoded(seven)
    spoils = [spoil for spoil, _ in BAD_FILES.values()]
    files = [spoils[i // 4 % len(spoils)](good) if i % 4 == 3 else good for i in range(40)]

    with Client(server.endpoints.grpc) as client, ThreadPoolExecutor(CLIENTS) as pool:
        pending = [pool.submit(client.infer, "digits", image(file)) for file in files]
        errors = [request.exception() for request in pending]

    for index, (request, error) in enumerate(zip(pending, errors, strict=True)):
        if index % 4 == 3:
            assert isinstance(error, InvalidInputError), index
            assert "item 0" in str(error)
        else:
            assert error is None, index
            assert request.result()["label"].tolist() == [[b"7"]]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"glyph": np.zeros((1, 1, 28, 28), np.float64) + 1e300}, "glyph"),
        ({"glyph": np.zeros((1, 1, 28, 27), np.float32)}, "28"),
        ({"glyph": np.zeros((1, 28), np.float32)}, "glyph"),
        ({"glyph": np.array([[["one"]]], np.object_)}, "glyph"),
        ({}, "glyph"),
        ({"glyph": np.zeros((1, 1, 28, 28), np.float32), "extra": [1]}, "extra"),
    ],
    ids=["does not fit FP32", "shape", "rank", "text", "missing", "unknown"],
)
def test_the_client_refuses_wrong_tensors(
    client: Client, inputs: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        client.infer("digits_cnn", inputs)


@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
@pytest.mark.parametrize(
    ("datatype", "shape"), [("FP64", [1, 1, 28, 28]), ("FP32", [1, 1, 28, 27]), ("FP32", [1, 28])]
)
def test_the_server_refuses_wrong_tensors_of_other_clients(
    server: Server, module: object, datatype: str, shape: list[int]
) -> None:
    url = server.endpoints.http if module is tritonclient.http else server.endpoints.grpc
    dtype = {"FP32": np.float32, "FP64": np.float64}[datatype]
    tensor = module.InferInput("glyph", shape, datatype)  # type: ignore[attr-defined]
    tensor.set_data_from_numpy(np.zeros(shape, dtype))
    connected = module.InferenceServerClient(url.partition("://")[2])  # type: ignore[attr-defined]
    with connected, pytest.raises(tritonclient.utils.InferenceServerException, match="glyph"):
        connected.infer("digits_cnn", [tensor])


def test_image_and_pixels_together_or_neither_are_refused(
    client: Client, seven: Image.Image
) -> None:
    pixels = {"pixels": np.asarray(seven)[np.newaxis]}
    with pytest.raises(ClientError, match=r"image.*pixels"):
        client.infer("digits", {**image(encoded(seven)), **pixels})
    with pytest.raises(ClientError):
        client.infer("digits", {})


def test_an_unknown_model_and_version_are_named(client: Client) -> None:
    glyph = {"glyph": np.zeros((1, 1, 28, 28), np.float32)}
    with pytest.raises(ModelNotFoundError, match="'digit_cnn'"):
        client.infer("digit_cnn", glyph)
    with pytest.raises(ModelNotFoundError, match="4711"):
        client.infer("digits_cnn", glyph, version=4711)


def test_sixteen_clients_with_mixed_batches_get_what_the_reference_gives(
    server: Server, cases: dict[str, list[Case]]
) -> None:
    asked = [case for case in cases["digits"] if "image" in case.inputs]

    def one_client(number: int) -> list[str]:
        random = np.random.default_rng(number)
        url = (server.endpoints.http, server.endpoints.grpc)[number % 2]
        with Client(url) as client:
            return [problem(client, random) for _ in range(12)]

    def problem(client: Client, random: np.random.Generator) -> str:
        chosen = random.choice(len(asked), int(random.integers(1, 20)))
        together = {"image": np.concatenate([asked[i].inputs["image"] for i in chosen])}
        expected = {
            name: np.concatenate([asked[i].outputs[name] for i in chosen])
            for name in asked[0].outputs
        }
        return compare(client.infer("digits", together), expected, TOLERANCE).describe()

    with ThreadPoolExecutor(CLIENTS) as pool:
        problems = [text for texts in pool.map(one_client, range(CLIENTS)) for text in texts]
    assert len(problems) == CLIENTS * 12
    assert set(problems) == {""}
