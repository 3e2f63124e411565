"""Train, evaluate, gates, export and parity of one network, from its builder file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.build import loader, steps
from modelport.build.network import NetworkBuild
from modelport.build.references import References
from modelport.build.steps import Done, Progress, Report
from modelport.errors import BuilderError, DataError, GateError, ParityError
from modelport.repository.samples import Samples
from modelport.spec import TorchModel

Write = Callable[..., Path]

TINY = """
def network():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

def data():
    random = np.random.default_rng(0)
    targets = np.arange(150) % 3
    points = np.array([[0, 0], [4, 0], [0, 4]])[targets] + random.normal(size=(150, 2))
    return Dataset.split({"x": points.astype(np.float32)}, targets.astype(np.int64))

model = TorchModel(
    name="tiny",
    inputs=(X,),
    outputs=(Y,),
    network=network,
    data=data,
    training=Training(epochs=4, learning_rate=0.05),
    gates=(Gate("accuracy", at_least=0.8),),
)
"""


def build(path: Path, events: list[Report | Progress] | None = None) -> NetworkBuild:
    builder = loader.load(path)
    (model,) = builder.models
    assert isinstance(model, TorchModel)
    heard = [] if events is None else events
    return NetworkBuild(builder, model, [], heard.append)


def cases(network: NetworkBuild) -> Done:
    """The requests of the proof: the first test items."""
    references = References(network.builder, lambda _: network.network)
    samples = network.dataset.test.samples(4)
    made = Samples(tuple(references.cases(network.model, samples)))

    def work(folder: Path) -> dict[str, object]:
        made.write(folder / "samples.json")
        return {}

    return steps.run("reference", {"train": network.trained.key}, work)


def reports(events: list[Report | Progress]) -> dict[str, Report]:
    return {event.step: event for event in events if isinstance(event, Report)}


def test_the_whole_way_and_then_nothing_again(write: Write) -> None:
    path = write(TINY)
    events: list[Report | Progress] = []
    network = build(path, events)
    network.run(cases(network))
    assert network.metrics is not None
    assert network.metrics.values["accuracy"] >= 0.8
    assert network.metrics.gates == {"accuracy": ">= 0.8"}
    assert network.metrics.count == 30
    assert network.parity_found is not None
    assert network.parity_found.worst_absolute < 1e-5
    assert network.onnx_file.is_file()
    said = reports(events)
    assert list(said) == ["train", "evaluate", "export", "slim", "parity"]
    assert all(report.duration_s is not None for report in said.values())
    assert sum(isinstance(event, Progress) for event in events) == 4

    events.clear()
    again = build(path, events)
    again.run(cases(again))
    assert again.metrics == network.metrics
    assert again.onnx_file == network.onnx_file
    assert all(report.duration_s is None for report in reports(events).values())
    assert not any(isinstance(event, Progress) for event in events)


def test_a_comment_trains_nothing_anew_and_a_setting_does(write: Write) -> None:
    first = build(write(TINY)).trained
    commented = build(write("# why\n" + TINY)).trained
    changed = build(write(TINY.replace("epochs=4", "epochs=5"))).trained
    assert commented.cached
    assert commented.key == first.key
    assert not changed.cached


def test_a_missed_gate_stops_with_all_figures(write: Write) -> None:
    network = build(write(TINY.replace("at_least=0.8", "at_least=1.01")))
    with pytest.raises(GateError) as caught:
        network.check_gates()
    error = caught.value
    assert "accuracy is " in error.what
    assert "on 30 test items; the gate is >= 1.01" in error.what
    for figure in ("accuracy_low", "accuracy_high", "precision", "recall", "f1"):
        assert figure in error.what
    assert error.objects["metrics"] == network.metrics.values  # type: ignore[union-attr]
    assert error.exit_code == 14


def test_an_undefined_figure_meets_no_gate(write: Write) -> None:
    changed = TINY.replace("gates=(", "evaluate=lambda o, t: {'accuracy': float('nan')}, gates=(")
    with pytest.raises(GateError, match="accuracy is nan"):
        build(write(changed)).check_gates()


def test_a_gate_on_a_figure_that_nobody_measures(write: Write) -> None:
    network = build(write(TINY.replace('Gate("accuracy"', 'Gate("acuracy"')))
    with pytest.raises(BuilderError, match="gate on 'acuracy', but the evaluation gives accuracy"):
        network.check_gates()


def test_an_upper_bound(write: Write) -> None:
    path = write(TINY.replace('Gate("accuracy", at_least=0.8)', 'Gate("accuracy", at_most=0.1)'))
    with pytest.raises(GateError, match=r"the gate is <= 0\.1"):
        build(path).check_gates()


def test_a_network_that_does_not_fit_is_refused_before_training(write: Write) -> None:
    events: list[Report | Progress] = []
    network = build(write(TINY.replace("nn.Linear(8, 3)", "nn.Linear(8, 4)")), events)
    with pytest.raises(BuilderError, match=r"the spec says \[3\], the network gives \[4\]"):
        network.trained  # noqa: B018 - each property does its step when asked
    assert events == []


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("nn.Sequential(nn.Linear(2, 8), ", "nn.Sequence(", BuilderError, "`network` failed: Attr"),
        ("return nn.Sequential", "return str, nn.Sequential", BuilderError, "got tuple"),
        ("random = ", "random = 1 / 0 #", DataError, "`data` failed: ZeroDivisionError"),
        ("return Dataset.split", "return 3, Dataset.split", BuilderError, "got tuple"),
        ('split({"x":', 'split({"points":', BuilderError, "the dataset has no input 'x'"),
        ("targets.astype(np.int64)", "targets[:9]", DataError, "`data` failed: "),
        ("targets.astype(np.int64)", "targets + 3", BuilderError, "training failed: "),
        ("targets.astype(np.int64)", "targets + 0.5", BuilderError, "training failed: "),
        ("random.normal(size=(150, 2))", "np.nan", BuilderError, "never a finite number"),
        (
            "gates=(",
            "evaluate=lambda o, t: 1 / 0, gates=(",
            BuilderError,
            "evaluation failed: Zero",
        ),
        ("gates=(", "evaluate=lambda o, t: {'a': 'x'}, gates=(", BuilderError, "evaluation failed"),
    ],
)
def test_mistakes_in_the_builders_own_functions_are_told_as_its_own(
    write: Write, old: str, new: str, kind: type[Exception], words: str
) -> None:
    assert old in TINY
    path = write(TINY.replace(old, new))
    with pytest.raises(kind) as caught:
        build(path).check_gates()
    assert words in str(caught.value)
    assert f"{path}: model 'tiny'" in str(caught.value)


def test_an_export_that_says_something_else_is_found(write: Write) -> None:
    """The same lines of Python and other numbers in the graph: only the proof can tell."""
    lying = """
import torch

class Lying(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
    def forward(self, x):
        factor = torch.full((), 2.0 if torch.compiler.is_exporting() else 1.0)
        return self.layer(x) * factor

def network():
    return Lying()
"""
    head, _, tail = TINY.partition("def data")
    network = build(write(f"{lying}\ndef data{tail}".replace("at_least=0.8", "at_least=0")))
    assert head
    with pytest.raises(ParityError) as caught:
        network.run(cases(network))
    assert "the ONNX file differs from torch" in caught.value.what
    assert "outside the tolerance" in caught.value.what
    assert str(network.builder.path) in str(caught.value.next_step)
    assert network.exported.facts()["exporter"] == "dynamo"
