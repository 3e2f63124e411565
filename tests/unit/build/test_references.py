"""What models must answer: plain functions, graphs of them, and samples that nobody gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelport.build import loader
from modelport.build.references import References, drawn_samples
from modelport.errors import BuilderError
from modelport.spec import PythonModel, Sample, Tensor

Write = Callable[..., Path]

GRAPH = """
F = Tensor("f", "FP32", (2,))
G = Tensor("g", "FP32", (2,))

def part(name, source, target, function):
    return PythonModel(name=name, inputs=(source,), outputs=(target,),
                       reference=lambda i: {target.name: function(i[source.name])})

double = part("double", F, G, lambda a: 2 * a)
negate = part("negate", F, G, lambda a: -a)
models = (
    double,
    negate,
    # written against the order in which they run
    Ensemble(name="both", inputs=(X,), outputs=(Tensor("y", "FP32", (2,)),), steps=(
        Step("negate", {"f": "between"}, {"g": "y"}),
        Step("double", {"f": "x"}, {"g": "between"}),
    )),
)
"""


def references(path: Path) -> References:
    return References(
        loader.load(path),
        network=lambda _: pytest.fail("there is no network here"),
        files=lambda _: pytest.fail("there are no files here"),
    )


def test_a_graph_runs_its_steps_as_their_inputs_come(write: Write) -> None:
    path = write(GRAPH)
    model = loader.load(path).model("both")
    samples = [Sample({"x": np.array([1, 2], np.float32)}, title="one and two")]
    (case, *_) = references(path).cases(model, samples)
    assert case.title == "one and two"
    assert case.outputs["y"].tolist() == [[-2, -4]]
    assert set(case.outputs) == {"y"}


def test_a_step_that_nothing_feeds(write: Write) -> None:
    path = write(GRAPH.replace('Step("double", {"f": "x"}', 'Step("double", {"f": "z"}'))
    with pytest.raises(BuilderError, match="nothing feeds negate, double") as caught:
        references(path).cases(loader.load(path).model("both"), [Sample({"x": np.zeros(2)})])
    assert caught.value.objects["field"] == "steps"


def test_a_reference_that_fails_names_the_sample(write: Write) -> None:
    path = write(GRAPH.replace("lambda a: 2 * a", "lambda a: a.no_such_method()"))
    with pytest.raises(BuilderError) as caught:
        references(path).cases(loader.load(path).model("double"), [Sample({"f": np.zeros(2)})])
    assert "model 'double': its reference fails on a sample (f [1, 2]): AttributeError" in str(
        caught.value
    )


def test_an_output_that_the_reference_does_not_give(write: Write) -> None:
    path = write(GRAPH.replace("{target.name: function", "{'other': function"))
    with pytest.raises(BuilderError, match="expected 'g', but its reference gives other"):
        references(path).cases(loader.load(path).model("double"), [Sample({"f": np.zeros(2)})])


@pytest.mark.parametrize(
    "datatype",
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
     "FP32", "FP64", "BF16", "BYTES"],
)  # fmt: skip
def test_samples_are_drawn_in_the_declared_shapes(datatype: str) -> None:
    tensor = Tensor("x", datatype, (3, -1))  # type: ignore[arg-type]
    model = PythonModel(name="m", inputs=(tensor,), outputs=(tensor,), reference=dict)
    drawn, again = drawn_samples(model), drawn_samples(model)
    shapes = {sample.inputs["x"].shape for sample in drawn}
    assert {shape[0] for shape in shapes} == {3}
    # Several lengths, so that one that an export froze is found.
    assert len({shape[1] for shape in shapes}) > 1
    for one, other in zip(drawn, again, strict=True):
        assert one.inputs["x"].tolist() == other.inputs["x"].tolist()
    if datatype == "BYTES":
        assert all(isinstance(item, bytes) for item in drawn[0].inputs["x"].flat)
