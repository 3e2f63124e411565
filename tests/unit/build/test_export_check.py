"""Networks of which an export holds for its example only: each is refused, by its line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from modelport.build import export, export_check
from modelport.build.export_inputs import LARGER, OTHERS, Size, drawn
from modelport.errors import ExportError
from modelport.spec import Tensor, TorchModel
from modelport.verify import in_process

X = Tensor("x", "FP32", (-1, 4))
Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Network(nn.Module):
    """A network of one function, which gets what the network keeps."""

    def __init__(self, function: Forward) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(4))
        self.register_buffer("table", torch.ones(67, 4))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def declared(*, name: str = "tiny", inputs: Any = (X,), outputs: Any = None) -> TorchModel:
    outputs = outputs or (Tensor("y", "FP32", (-1, 4)),)
    return TorchModel(name=name, inputs=inputs, outputs=outputs, network=nn.Module)


def exported(function: Forward, path: Path, **more: Any) -> export.Exported:
    return export.export(declared(**more), Network(function).eval(), path / "model.onnx")


def refused(function: Forward, path: Path, **more: Any) -> ExportError:
    with pytest.raises(ExportError) as caught:
        exported(function, path, **more)
    assert caught.value.cause
    assert caught.value.next_step
    return caught.value


def named(error: ExportError) -> Iterator[str]:
    """The lines that the error names are of this file, and are shown with their numbers."""
    for line in error.objects["lines"]:  # type: ignore[attr-defined]
        assert Path(line.file) == Path(__file__)
        assert f":{line.number} `{line.source}`" in error.what
        yield line.source


# --- decisions on values ----------------------------------------------------------


def branches(_: Any, x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:
        return x * 2
    return x * 3


def scales(_: Any, x: torch.Tensor) -> torch.Tensor:
    greatest = x.max().item()
    return x * 2 if greatest > 1 else x


def counts(_: Any, x: torch.Tensor) -> torch.Tensor:
    times = int(x.abs().sum())
    return x + sum(range(times))


@pytest.mark.parametrize(
    ("function", "line", "kind"),
    [
        (branches, "if x.sum() > 0:", "(bool)"),
        (scales, "greatest = x.max().item()", "(number)"),
        (counts, "times = int(x.abs().sum())", "(int)"),
    ],
)
def test_python_on_values_of_a_tensor(
    function: Forward, line: str, kind: str, tmp_path: Path
) -> None:
    error = refused(function, tmp_path)
    assert list(named(error)) == [line]
    assert "values of a tensor become Python's" in error.what
    assert kind in error.what
    assert "torch.where" in str(error.next_step)
    assert error.exit_code == 13


# --- sizes -------------------------------------------------------------------------


def steps(_: Any, x: torch.Tensor) -> torch.Tensor:
    total = x[:, 0]
    for i in range(x.shape[1]):
        total = total * 0.5 + x[:, i]
    return x + total[:, None]


def root(_: Any, x: torch.Tensor) -> torch.Tensor:
    return x / math.sqrt(x.shape[1])


def rows(_: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([row * 2 for row in x])


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (steps, "total = total * 0.5 + x[:, i]"),
        (root, "return x / math.sqrt(x.shape[1])"),
        (rows, "return torch.stack([row * 2 for row in x])"),
    ],
)
def test_a_second_trace_differs(function: Forward, line: str, tmp_path: Path) -> None:
    error = refused(function, tmp_path)
    assert line in list(named(error))
    assert "with a batch of 3 and length 71, the graphs differ" in error.what
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def few(_: Any, x: torch.Tensor) -> torch.Tensor:
    if x.shape[1] > 5:
        return x * 2
    return x * 3


def many(_: Any, x: torch.Tensor) -> torch.Tensor:
    if x.shape[1] > 300:
        return x * 2
    return x * 3


def even(_: Any, x: torch.Tensor) -> torch.Tensor:
    return x * 2 if x.shape[1] % 2 else x * 3


def one(_: Any, x: torch.Tensor) -> torch.Tensor:
    return x * 2 if len(x) == 1 else x * 3


@pytest.mark.parametrize(
    ("function", "size", "lines"),
    [
        (few, "length 3", ["return x * 2", "return x * 3"]),
        (many, "length 301", ["return x * 2", "return x * 3"]),
        (even, "length 64", ["return x * 2 if x.shape[1] % 2 else x * 3"]),
        (one, "a batch of 1", ["return x * 2 if len(x) == 1 else x * 3"]),
    ],
)
def test_a_branch_on_a_size_that_torch_export_takes(
    function: Forward, size: str, lines: list[str], tmp_path: Path
) -> None:
    """It is silent on them; the file's answers tell, at sizes on the other side."""
    error = refused(function, tmp_path)
    assert size in error.what
    assert "the ONNX file answers otherwise than the network" in error.what
    assert list(named(error)) == lines


def squeezed(_: Any, x: torch.Tensor) -> torch.Tensor:
    mean = x.mean((1, 2), keepdim=True).squeeze()
    return x * (mean if len(x) == 1 else mean[:, None, None])


def growing(kept: Any, x: torch.Tensor) -> torch.Tensor:
    if len(kept.table) < x.shape[1]:
        kept.table = torch.ones(x.shape[1], 4)
    return x + kept.table[: x.shape[1]]


def test_a_table_that_grows_when_it_is_called(tmp_path: Path) -> None:
    """What the network keeps of one call is not what it has in the next one's comparison."""
    error = refused(growing, tmp_path)
    assert "with a batch of 3 and length 71, the ONNX file fails (" in error.what
    assert "kept.table = torch.ones(x.shape[1], 4)" in list(named(error))


def test_a_file_that_fails_where_the_network_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refused(squeezed, tmp_path)
    assert "with a batch of 1 and length 64, the ONNX file fails (" in error.what
    assert "onnxruntime" not in error.what
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda _, x: x + torch.arange(67)[:, None], "torch.arange(67)"),
        (lambda _, x: x.reshape(2, -1, 4) * 2, "x.reshape(2, -1, 4)"),
        (lambda kept, x: x + kept.table[: x.shape[1]], "kept.table"),
        (lambda _, x: x + x.new_zeros(2, 67, 4), "x.new_zeros(2, 67, 4)"),
    ],
)
def test_a_size_of_the_example_in_the_network(function: Forward, line: str) -> None:
    with pytest.raises(ExportError) as caught:
        export_check.check_network(declared(), Network(function))
    (found,) = named(caught.value)
    assert line in found
    assert "fails with a batch of 3 and length 71" in caught.value.what


@pytest.mark.parametrize(
    ("function", "given"),
    [(lambda _, x: x[:2] * 2, [2, 71, 4]), (lambda _, x: x.transpose(1, 2), [3, 4, 71])],
)
def test_an_output_of_another_shape_than_declared(function: Forward, given: list[int]) -> None:
    with pytest.raises(ExportError) as caught:
        export_check.check_network(declared(), Network(function))
    assert f"output 'y' of the network is {given} for a batch of 3 and length 71" in str(
        caught.value
    )


# --- chance ------------------------------------------------------------------------


def counting(kept: Any, x: torch.Tensor) -> torch.Tensor:
    kept.calls += 1
    return x * kept.calls


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda _, x: functional.dropout(x, 0.5), "functional.dropout"),
        (lambda _, x: x + torch.rand_like(x), "torch.rand_like"),
        (lambda _, x: x * float(np.random.rand()), "np.random.rand"),
        (counting, "return x * kept.calls"),
    ],
)
def test_a_network_that_answers_differently_each_time(function: Forward, line: str) -> None:
    network = Network(function).eval()
    before = torch.random.get_rng_state()
    with pytest.raises(ExportError) as caught:
        export_check.check_network(declared(), network)
    (found,) = named(caught.value)
    assert line in found
    assert "answers the same input differently each time" in caught.value.what
    assert network.calls == 0
    assert torch.equal(torch.random.get_rng_state(), before)


# --- what is right is let through --------------------------------------------------


def asserting(_: Any, x: torch.Tensor) -> torch.Tensor:
    assert x.abs().max() < 1e6, "too large"
    if bool(torch.isinf(x).any()):
        raise ValueError("infinite")
    return x * 2


def of_sizes(kept: Any, x: torch.Tensor) -> torch.Tensor:
    """A parameter's value is no input's; sizes and values that stay tensors are right at any."""
    scaled = x * float(kept.weight.max()) * x.max().item() / x.shape[1] ** 0.5
    chosen = torch.where(x.sum() > 0, scaled * 2, scaled * 3)
    return chosen + x.new_zeros(x.shape) + torch.arange(x.shape[1])[:, None]


def strict(_: Any, x: torch.Tensor) -> torch.Tensor:
    windows = x.unfold(1, 20, 1)
    return torch.nn.functional.pad(windows.mean(-1), (0, 0, 0, 19))


@pytest.mark.parametrize(
    ("function", "exporter"),
    [
        (of_sizes, "dynamo"),
        (strict, "dynamo"),
        (asserting, "torchscript"),
    ],
)
def test_what_holds_for_every_input_is_exported(
    function: Forward, exporter: str, tmp_path: Path
) -> None:
    assert exported(function, tmp_path).exporter == exporter
    session = in_process.session(tmp_path / "model.onnx")
    x = drawn(declared(), Size(5, 33))[0]
    expected = Network(function)(x).detach().numpy()
    got = in_process.run(session, {"x": x.numpy()})["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_inputs_of_a_size() -> None:
    model = declared(inputs=(X, Tensor("ids", "INT64", (2, -1))))
    for size in (LARGER, *OTHERS):
        x, ids = drawn(model, size)
        assert x.shape == (size.items, size.length, 4)
        assert ids.shape == (size.items, 2, size.length)
        assert set(ids.unique().tolist()) <= {0, 1}
        assert torch.equal(x, drawn(model, size)[0])
