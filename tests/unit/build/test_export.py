"""From torch to ONNX: what is checked before, which exporter, and which dimensions vary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from modelport.build import export
from modelport.errors import BuilderError, ExportError
from modelport.spec import Tensor, TorchModel
from modelport.verify import in_process

BUILDER = Path("builders/tiny.py")
X = Tensor("x", "FP32", (4,))


class Function(nn.Module):
    """A network of one plain function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Weighed(nn.Module):
    """float32[batch, length, 2] and a weight to a total per item and three scores per token."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, tokens: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tokens.sum(dim=(1, 2))[:, None] * weight, self.layer(tokens)


def declared(*outputs: Tensor, inputs: tuple[Tensor, ...] = (X,), **more: Any) -> TorchModel:
    return TorchModel(name="tiny", inputs=inputs, outputs=outputs, network=nn.Module, **more)


def out(*dims: int, name: str = "y", datatype: Any = "FP32") -> Tensor:
    return Tensor(name, datatype, dims)


class TestCheckOutputs:
    """The network against its declaration, before anything is trained."""

    @pytest.mark.parametrize(
        ("outputs", "function"),
        [
            ((out(4),), lambda x: x),
            ((out(-1),), lambda x: x),
            ((out(4),), lambda x: [x]),
            ((out(datatype="INT64"),), lambda x: x.argmax(dim=1)),
            ((out(4), out(2, 2, name="z")), lambda x: (x, x.reshape(-1, 2, 2))),
        ],
    )
    def test_what_fits_is_let_through(self, outputs: tuple[Tensor, ...], function: Any) -> None:
        export.check_outputs(declared(*outputs), Function(function), BUILDER)

    @pytest.mark.parametrize(
        ("outputs", "function", "field", "expected", "got"),
        [
            ((out(4),), lambda x: (x, x), "outputs", "1 tensors", "2"),
            ((out(4), out(4, name="z")), lambda x: x, "outputs", "2 tensors", "1"),
            ((out(4),), lambda x: x.double(), "outputs[0] (y).datatype", "FP32", "torch.float64"),
            ((out(3),), lambda x: x, "outputs[0] (y).dims", "[3]", "[4]"),
            ((out(4),), lambda x: x[:, None], "outputs[0] (y).dims", "[4]", "[1, 4]"),
            (
                (out(4), out(4, name="z")),
                lambda x: (x, x[:, :3]),
                "outputs[1] (z).dims",
                "[4]",
                "[3]",
            ),
            ((out(4),), lambda x: {"y": x}, "outputs[0] (y)", "a tensor", "dict"),
        ],
    )
    def test_a_mismatch_names_field_expected_and_got(
        self, outputs: tuple[Tensor, ...], function: Any, field: str, expected: str, got: str
    ) -> None:
        with pytest.raises(BuilderError) as caught:
            export.check_outputs(declared(*outputs), Function(function), BUILDER)
        error = caught.value
        assert error.what == (
            f"{BUILDER}: model 'tiny': {field}: the spec says {expected}, the network gives {got}"
        )
        assert error.objects["field"] == field
        assert (error.objects["expected"], error.objects["got"]) == (expected, got)

    def test_inputs_that_the_network_does_not_take(self) -> None:
        with pytest.raises(BuilderError) as caught:
            export.check_outputs(declared(out(3)), nn.Linear(5, 3), BUILDER)
        assert "does not take its declared inputs (x [2, 4]): RuntimeError" in caught.value.what

    def test_without_batching_all_dimensions_count(self) -> None:
        model = declared(out(2, 4), inputs=(Tensor("x", "FP32", (2, 4)),), max_batch_size=0)
        export.check_outputs(model, Function(lambda x: x), BUILDER)
        with pytest.raises(BuilderError, match="dims"):
            export.check_outputs(model, Function(lambda x: x[0]), BUILDER)


def shapes(path: Path) -> dict[str, list[Any]]:
    """Dimensions of inputs and outputs; names for those that vary."""
    graph = onnx.load(path).graph
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def agree(model: TorchModel, network: nn.Module, path: Path, inputs: dict[str, Any]) -> None:
    got = in_process.run(in_process.session(path), inputs)
    for name, array in export.reference(model, network, inputs).items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)


def test_the_first_choice_with_dimensions_that_vary(tmp_path: Path) -> None:
    model = declared(
        out(1, name="total"),
        out(-1, 3, name="scores"),
        inputs=(Tensor("tokens", "FP32", (-1, 2)), Tensor("weight", "FP32", (1,))),
    )
    network = Weighed()
    done = export.export(model, network.eval(), tmp_path / "model.onnx")
    assert (done.exporter, done.reason) == ("dynamo", "")
    found = shapes(tmp_path / "model.onnx")
    assert list(found) == ["tokens", "weight", "total", "scores"]
    batch, length = found["tokens"][:2]
    assert isinstance(batch, str)
    assert isinstance(length, str)
    assert found["tokens"] == [batch, length, 2]
    assert found["scores"][-1] == 3
    random = np.random.default_rng(0)
    for items, tokens in ((1, 1), (1, 9), (5, 3)):
        inputs = {
            "tokens": random.normal(size=(items, tokens, 2)).astype(np.float32),
            "weight": random.normal(size=(items, 1)).astype(np.float32),
        }
        agree(model, network, tmp_path / "model.onnx", inputs)


def _refusing(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 1e6:
        raise ValueError("too much")
    return x * 2


def test_tracing_is_the_second_choice_and_the_reason_is_told(tmp_path: Path) -> None:
    """torch.export refuses a branch on the data; one that only raises is none for tracing."""
    model = declared(out(4))
    network = Function(_refusing).eval()
    done = export.export(model, network, tmp_path / "model.onnx")
    assert done.exporter == "torchscript"
    assert "data-dependent" in done.reason
    assert "\x1b" not in done.reason
    assert isinstance(shapes(tmp_path / "model.onnx")["x"][0], str)
    agree(model, network, tmp_path / "model.onnx", {"x": np.ones((3, 4), np.float32)})


def test_exporters_leave_the_terminal_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export.export(declared(out(4)), Function(_refusing).eval(), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_neither_exporter_takes_it(tmp_path: Path) -> None:
    network = Function(lambda x: torch.linalg.eigvalsh(x.unsqueeze(-1) * x.unsqueeze(-2)))
    with pytest.raises(ExportError) as caught:
        export.export(declared(out(4)), network.eval(), tmp_path / "model.onnx")
    what = caught.value.what
    assert "torch.export: " in what
    assert "_linalg_eigh" in what
    assert "tracing: UnsupportedOperatorError" in what
    assert "\x1b" not in what


def test_a_model_that_does_not_batch_has_fixed_dimensions(tmp_path: Path) -> None:
    model = declared(out(2, 4), inputs=(Tensor("x", "FP32", (2, 4)),), max_batch_size=0)
    export.export(model, Function(lambda x: x + 1).eval(), tmp_path / "model.onnx")
    assert shapes(tmp_path / "model.onnx") == {"x": [2, 4], "y": [2, 4]}


def test_a_slimmed_graph_answers_as_before(tmp_path: Path) -> None:
    model = declared(out(2))
    network = nn.Sequential(
        nn.Identity(), nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2)
    )
    network.eval()
    source, target = tmp_path / "exported.onnx", tmp_path / "slim.onnx"
    export.export(model, network, source)
    export.slim(source, target)
    assert len(onnx.load(target).graph.node) <= len(onnx.load(source).graph.node)
    for items in (1, 4):
        x = np.random.default_rng(items).normal(size=(items, 4)).astype(np.float32)
        agree(model, network, target, {"x": x})


class Recurrent(nn.Module):
    """An LSTM whose output has a step for each of the input's."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        steps: torch.Tensor = self.lstm(frames)[0]
        return steps


def test_the_length_of_an_lstm_varies_in_the_graph_too(tmp_path: Path) -> None:
    """Where it is noted as fixed, a server refuses the model beside its configuration."""
    model = declared(out(-1, 5), inputs=(Tensor("frames", "FP32", (-1, 3)),))
    network = Recurrent().eval()
    export.export(model, network, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    sizes = graph.output[0].type.tensor_type.shape.dim
    assert [dim.HasField("dim_value") for dim in sizes] == [False, False, True]
    session = in_process.session(tmp_path / "model.onnx")
    for length in (1, 4, 90):
        frames = np.random.default_rng(0).normal(size=(2, length, 3)).astype(np.float32)
        expected = export.reference(model, network, {"frames": frames})["y"]
        got = in_process.run(session, {"frames": frames})["y"]
        np.testing.assert_allclose(got, expected, atol=1e-6)
