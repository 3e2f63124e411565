"""Values of other packages, as those packages really give them."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import pathlib
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import DTYPES, prepare
from modelport.errors import InvalidInputError


def model(
    *inputs: tuple[str, str, tuple[int, ...]],
    batch: int = 8,
) -> ModelMetadata:
    tensors = tuple(TensorMetadata(name, datatype, shape) for name, datatype, shape in inputs)
    return ModelMetadata("m", ("1",), "", tensors, (), batch)


def one(
    value: object, datatype: str, shape: tuple[int, ...] = (-1, 1), batch: int = 8
) -> np.ndarray:
    (tensor,) = prepare(model(("x", datatype, shape), batch=batch), {"x": value})
    assert tensor.array.dtype == DTYPES[datatype]
    assert type(tensor.array) is np.ndarray
    return tensor.array


def refusal(value: object, datatype: str, shape: tuple[int, ...] = (-1, 1)) -> str:
    with pytest.raises(InvalidInputError) as caught:
        one(value, datatype, shape)
    assert caught.value.objects["tensor"] == "x"
    return str(caught.value)


def test_none_of_the_packages_is_loaded_by_us() -> None:
    code = (
        "import sys, numpy as np\n"
        "from modelport.client.tensors import prepare\n"
        "from modelport.client import ModelMetadata, TensorMetadata\n"
        "m = ModelMetadata('m', (), '', (TensorMetadata('x', 'FP32', (-1,)),), (), 0)\n"
        "class Odd: pass\n"
        "prepare(m, {'x': [1.0]})\n"
        "try: prepare(m, {'x': Odd()})\n"
        "except Exception as error: print(error)\n"
        "print([n for n in ('PIL', 'pandas', 'polars', 'torch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "an element of type Odd" in done.stdout
    assert done.stdout.endswith("[]\n")


# --- Pillow ------------------------------------------------------------------


def picture(mode: str, size: tuple[int, int] = (5, 4)) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_an_image_for_a_bytes_tensor_is_a_png_that_loses_nothing(mode: str) -> None:
    image = Image.new(mode, (5, 4), 7) if mode == "I;16" else picture(mode)
    read = Image.open(io.BytesIO(one(image, "BYTES").item()))
    assert (read.format, read.mode, read.size) == ("PNG", mode, (5, 4))
    assert np.array_equal(np.asarray(read), np.asarray(image))


def test_an_image_from_a_camera_keeps_its_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture("CMYK").save(file, "JPEG", exif=exif)
    sent = Image.open(io.BytesIO(one(Image.open(file), "BYTES").item()))
    assert (sent.mode, sent.getexif()[0x0112]) == ("RGB", 6)


@pytest.mark.parametrize(
    ("mode", "shape", "expected", "same_as"),
    [
        ("L", (-1, -1, -1), (1, 4, 5), "L"),
        ("L", (-1, 4, 5), (1, 4, 5), "L"),
        ("RGB", (-1, -1, -1, 3), (1, 4, 5, 3), "RGB"),
        ("RGB", (-1, -1, -1, -1), (1, 4, 5, 3), "RGB"),
        ("RGB", (-1, 3, 4, 5), (1, 3, 4, 5), "RGB"),
        ("L", (-1, -1, -1, 3), (1, 4, 5, 3), "RGB"),
        ("P", (-1, -1, -1, 3), (1, 4, 5, 3), "RGB"),
        ("RGB", (-1, 4, -1, -1), (1, 4, 4, 5), "RGBA"),
        ("L", (-1, 4, 5, 1), (1, 4, 5, 1), "L"),
        ("L", (-1, 1, 4, 5), (1, 1, 4, 5), "L"),
        ("1", (-1, 4, 5), (1, 4, 5), "L"),
    ],
)
def test_an_image_for_any_other_tensor_is_its_pixels(
    mode: str, shape: tuple[int, ...], expected: tuple[int, ...], same_as: str
) -> None:
    sent = one(picture(mode), "UINT8", shape)
    assert sent.shape == expected
    pixels = np.asarray(picture(mode).convert(same_as))
    assert sorted(sent.ravel()) == sorted(pixels.ravel())
    if expected[1:] == pixels.shape:
        assert np.array_equal(sent[0], pixels)


def test_pixels_are_never_scaled_resized_or_thrown_away() -> None:
    assert "got UINT8 (uint8)" in refusal(picture("RGB"), "FP32", (-1, -1, -1, 3))
    assert "expected [-1, 8, 8, 3], got [4, 5, 3]" in refusal(
        picture("RGB"), "UINT8", (-1, 8, 8, 3)
    )
    assert "got [4, 5, 4]" in refusal(picture("RGBA"), "UINT8", (-1, 4, 5, 3))
    assert "got [4, 5, 3]" in refusal(picture("RGB"), "UINT8", (-1, 4, 5))


def test_a_list_of_images_is_a_batch() -> None:
    images = [picture("RGB"), picture("L")]
    assert one(images, "UINT8", (-1, -1, -1, 3)).shape == (2, 4, 5, 3)
    sent = one(images, "BYTES")
    assert sent.shape == (2, 1)
    assert all(item.startswith(b"\x89PNG") for item in sent.ravel())
    images = [picture("L"), picture("L", (6, 4))]
    assert "different shapes: [4, 5], [4, 6]" in refusal(images, "UINT8", (-1, -1, -1))


def test_a_truncated_image_is_refused() -> None:
    file = io.BytesIO()
    picture("RGB", (64, 64)).save(file, "PNG")
    for datatype in ("BYTES", "UINT8"):
        cut = Image.open(io.BytesIO(file.getvalue()[:2000]))
        assert "an image that fails" in refusal(cut, datatype)


# --- files -------------------------------------------------------------------


def test_a_path_is_the_content_of_its_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"one\0")
    (tmp_path / "b").write_bytes(b"two")
    assert one(tmp_path / "a", "BYTES").tolist() == [[b"one\0"]]
    assert one([tmp_path / "a", tmp_path / "b"], "BYTES").tolist() == [[b"one\0"], [b"two"]]
    assert "No such file" in refusal(tmp_path / "c", "BYTES")
    assert "Is a directory" in refusal(tmp_path, "BYTES")
    assert "got the path" in refusal(tmp_path / "a", "FP32")


# --- pandas ------------------------------------------------------------------


def test_pandas_series() -> None:
    pd = pytest.importorskip("pandas")
    assert one(pd.Series([1.0, 2.0]), "FP32").tolist() == [[1], [2]]
    assert one(pd.Series([1, 2]), "INT32").tolist() == [[1], [2]]
    assert one(pd.Series(["a", "ä"]), "BYTES").tolist() == [[b"a"], ["ä".encode()]]
    assert one(pd.Series([b"a\0"]), "BYTES").tolist() == [[b"a\0"]]
    assert one(pd.Series(["a", "b"], dtype="category"), "BYTES").tolist() == [[b"a"], [b"b"]]
    assert one(pd.Series([1, 2], dtype="Int64"), "INT64").tolist() == [[1], [2]]
    assert one(pd.Series([1.5, 2], dtype="Float32"), "FP32").tolist() == [[1.5], [2]]
    assert one(pd.Series([True, False], dtype="boolean"), "BOOL").tolist() == [[True], [False]]
    assert one(pd.Index([3, 4]), "INT64").tolist() == [[3], [4]]
    assert np.isnan(one(pd.Series([1.0, float("nan")]), "FP32")[1, 0])  # an ordinary float
    assert "got INT64" in refusal(pd.Series([1, 2]), "FP32")
    assert "has 1 missing value\nnext: " in refusal(pd.Series([1, None], dtype="Int64"), "INT64")
    assert "has 2 missing values" in refusal(pd.Series(["a", None, None]), "BYTES")
    dates = pd.Series(pd.to_datetime(["2026-01-01"]))
    assert "got datetime64" in refusal(dates, "INT64")
    assert "got an element of type Timestamp" in refusal(dates.dt.tz_localize("UTC"), "BYTES")


def test_pandas_frames() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": [1.5, 2], "name": ["a", "b"]})
    two = model(("age", "FP32", (-1, 1)), ("name", "BYTES", (-1, 1)))
    assert [(t.name, t.array.tolist()) for t in prepare(two, frame)] == [
        ("age", [[1.5], [2]]),
        ("name", [[b"a"], [b"b"]]),
    ]
    table = pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4]})
    (tensor,) = prepare(model(("x", "FP32", (-1, 2))), table)
    assert tensor.array.tolist() == [[1, 3], [2, 4]]
    assert one(table, "FP32", (-1, 2)).tolist() == [[1, 3], [2, 4]]
    assert "columns of different types: age float64, name" in refusal(frame, "FP32", (-1, 2))
    with pytest.raises(InvalidInputError, match=r"rows of the shape \[3\].*has 2 columns"):
        prepare(model(("x", "FP32", (-1, 3))), table)
    with pytest.raises(InvalidInputError, match=r"no input 'nmae'(.|\n)*mean 'name'"):
        prepare(two, frame.rename(columns={"name": "nmae"}))


# --- polars ------------------------------------------------------------------


def test_polars_series() -> None:
    pl = pytest.importorskip("polars")
    assert one(pl.Series([1.0, 2.0]), "FP32").tolist() == [[1], [2]]
    assert one(pl.Series([1, 2]), "INT32").tolist() == [[1], [2]]
    assert one(pl.Series(["a", "ä"]), "BYTES").tolist() == [[b"a"], ["ä".encode()]]
    assert one(pl.Series([b"a\0"]), "BYTES").tolist() == [[b"a\0"]]
    rows = pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float32, 2))
    assert one(rows, "FP32", (-1, 2)).tolist() == [[1, 2], [3, 4]]
    assert "got INT64" in refusal(pl.Series([1, 2]), "FP32")
    assert "has 1 missing value" in refusal(pl.Series([1.0, None]), "FP32")
    assert "has 1 missing value" in refusal(pl.Series(["a", None]), "BYTES")
    assert "got datetime64" in refusal(pl.Series([dt.datetime(2026, 1, 1)]), "INT64")


def test_polars_frames() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"age": [1.5, 2], "name": ["a", "b"]})
    two = model(("age", "FP32", (-1, 1)), ("name", "BYTES", (-1, 1)))
    assert [t.array.tolist() for t in prepare(two, frame)] == [[[1.5], [2]], [[b"a"], [b"b"]]]
    table = pl.DataFrame({"a": [1.0, 2], "b": [3.0, 4]})
    assert prepare(model(("x", "FP32", (-1, 2))), table)[0].array.tolist() == [[1, 3], [2, 4]]
    assert "has 1 missing value" in refusal(pl.DataFrame({"a": [1.0, None]}), "FP32")
    with pytest.raises(InvalidInputError, match=r"LazyFrame\nnext: collect\(\) it"):
        prepare(model(("x", "FP32", (-1, 2))), table.lazy())


# --- torch and DLPack --------------------------------------------------------


@given(data=st.data())
def test_torch_tensors_arrive_with_their_values(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["BOOL", "UINT8", "INT8", "INT16", "INT64", "FP16", "FP64"]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    source = np.random.default_rng(3).integers(0, 2, shape).astype(DTYPES[name])
    tensor = torch.from_numpy(source)
    sent = one(tensor, name, (-1,) * len(shape))
    assert np.array_equal(sent, source)
    assert np.shares_memory(sent, source)


def test_torch_tensors_of_every_kind() -> None:
    learnt = torch.tensor([[1.5, -2.0]], requires_grad=True)
    assert one(learnt, "FP32", (-1, 2)).tolist() == [[1.5, -2]]
    half = torch.tensor([[0.5], [-2.0]], dtype=torch.bfloat16, requires_grad=True).T
    assert one(half, "BF16", (-1, 2)).tolist() == [[ml_dtypes.bfloat16(0.5), -2]]
    assert one(torch.tensor(3), "INT64").tolist() == [[3]]
    assert one([learnt[0], learnt[0]], "FP32", (-1, 2)).shape == (2, 2)
    assert one(torch.nn.Parameter(torch.ones(1, 2)), "FP32", (-1, 2)).tolist() == [[1, 1]]
    assert one(torch.ones(2, 3).T, "FP32", (-1, 2)).shape == (3, 2)
    assert "got INT64" in refusal(torch.tensor([[1]]), "FP32")
    assert "got BF16" in refusal(half, "INT8", (-1, 2))
    assert "on meta" in refusal(torch.ones(1, 1, device="meta"), "FP32")
    assert "torch.sparse_coo" in refusal(torch.eye(2).to_sparse(), "FP32", (-1, 2))


class Exporter:
    """Speaks DLPack and nothing else, as the arrays of many packages do."""

    def __init__(self, tensor: torch.Tensor, device: int = 1) -> None:
        self._tensor, self._device = tensor, device

    def __dlpack__(self, **options: object) -> object:
        if options.get("dl_device") not in (None, (1, 0)) or self._device != 1:
            raise BufferError("stays on the accelerator")
        return self._tensor.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self._device, 0)


def test_whatever_speaks_dlpack() -> None:
    source = torch.tensor([[1.5, 2.5]])
    assert one(Exporter(source), "FP32", (-1, 2)).tolist() == [[1.5, 2.5]]
    assert one([Exporter(source[0])], "FP32", (-1, 2)).tolist() == [[1.5, 2.5]]
    assert "stays on the accelerator" in refusal(Exporter(source, device=2), "FP32", (-1, 2))


# --- numpy and the standard library --------------------------------------------


def test_other_arrays_of_numpy() -> None:
    column = np.arange(6, dtype=np.float32).reshape(3, 2)[:, 1]
    assert one(column, "FP32").tolist() == [[1], [3], [5]]
    assert one(np.array([1, 2], ">i4"), "INT32").tolist() == [[1], [2]]
    assert one(np.float32(2), "FP32").tolist() == [[2]]
    assert one(np.ma.masked_array([1.0, 2.0], [False, False]), "FP64").tolist() == [[1], [2]]
    assert "1 missing value" in refusal(np.ma.masked_array([1.0, 2.0], [False, True]), "FP64")
    assert type(one(np.bytes_(b"ab"), "BYTES").item()) is bytes
    assert one([np.str_("ab")], "BYTES").tolist() == [[b"ab"]]
    assert one(range(3), "FP32").tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (dt.datetime(2026, 1, 1), "an element of type datetime"),
        ([decimal.Decimal(1)], "an element of type Decimal"),
        (
            np.array(["2026-01-01"], "datetime64[s]"),
            "datetime64[s]\nnext: give the number of seconds",
        ),
        (1 + 2j, "complex128"),
        ({1, 2}, "an element of type set\nnext: give an array, a list, or a number"),
        ((n for n in range(2)), "an element of type generator"),
        ([1.0, None], "an element of type NoneType"),
        (None, "an element of type NoneType"),
    ],
)
def test_what_is_no_number_is_refused(value: object, said: str) -> None:
    assert said in refusal(value, "FP32")
