"""Published versions are built again, apart from everything, and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from workplace import Workplace

from modelport.build import rebuilding
from modelport.build.rebuilding import Rebuilt
from modelport.errors import BuilderError, ParityError, RepositoryError
from modelport.repository import sbom
from modelport.repository.build_environment import BuildEnvironment
from modelport.repository.layout import Repository

# Networks are trained, several times.
pytestmark = pytest.mark.slow

BUILDER = """\
import numpy as np
from sklearn.datasets import load_iris
from torch import nn

from modelport.build import Dataset
from modelport.spec import Ensemble, PythonModel, Sample, Step, Tensor, TorchModel, Training

FLOWER = Tensor("flower", "FP32", (4,))
SCORES = Tensor("scores", "FP32", (3,))


def data():
    iris = load_iris()
    return Dataset.split({"flower": iris.data.astype(np.float32)}, iris.target)


def flowers():
    return [Sample({"flower": np.array([5.1, 3.5, 1.4, n], np.float32)}) for n in range(3)]


network = TorchModel(
    name="iris_network",
    inputs=(FLOWER,),
    outputs=(SCORES,),
    network=lambda: nn.Linear(4, 3),
    data=data,
    training=Training(epochs=3, learning_rate=0.05),
)
half = PythonModel(
    name="iris_half",
    inputs=(Tensor("x", "FP32", (3,)),),
    outputs=(Tensor("y", "FP32", (3,)),),
    reference=lambda inputs: {"y": inputs["x"] / 2},
    max_batch_size=64,
)
whole = Ensemble(
    name="iris",
    inputs=(FLOWER,),
    outputs=(SCORES,),
    samples=flowers,
    steps=(
        Step("iris_network", {"flower": "flower"}, {"scores": "raw"}),
        Step("iris_half", {"x": "raw"}, {"y": "scores"}),
    ),
)
models = (network, half, whole)
"""

CODE = """\
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, lambda inputs: {"y": inputs["x"] / 2})
"""


@pytest.fixture
def built(workplace: Workplace) -> Workplace:
    workplace.builder("flowers", BUILDER)
    workplace.code("iris_half", CODE)
    workplace.build()
    return workplace


def rebuilt(workplace: Workplace) -> Rebuilt:
    workplace.events.clear()
    return rebuilding.rebuild(
        Repository(workplace.repository),
        "iris",
        1,
        builders=workplace.builders,
        listener=workplace.events.append,
    )


def test_a_version_is_built_again(built: Workplace) -> None:
    before = built.content()
    found = rebuilt(built)
    assert found.same
    assert found.reasons == []
    assert [model.model for model in found.models] == ["iris", "iris_half", "iris_network"]
    # It has trained again, though the step lies in the cache.
    assert "iris_network: train" in built.steps()
    assert built.content() == before
    check_bill(built)

    # Other settings, the same answers: the configuration is a file of the version.
    builder = built.builders / "flowers.py"
    builder.write_text(BUILDER.replace("max_batch_size=64", "max_batch_size=65"))
    found = rebuilt(built)
    assert (found.same, found.equal) == (False, True)
    assert [list(model.files) for model in found.models] == [[], ["config.pbtxt"], []]
    assert found.reasons[0] == "builders/flowers.py has changed since"

    # Other training: other answers. Code beside the versions is not that of the version.
    builder.write_text(BUILDER.replace("epochs=3", "epochs=9"))
    built.code("iris_half", CODE.replace("/ 2", "/ 3"))
    done = built.run(
        ["rebuild", "iris", "1", "--check", "--json", "--repository", str(built.repository)]
    )
    assert done.returncode == ParityError.exit_code, done.stderr
    told = json.loads(done.stdout)
    assert (told["same"], told["equal"]) == (False, False)
    differing = {model["model"]: list(model["files"]) for model in told["models"]}
    assert differing["iris_half"] == []
    assert "model.onnx" in differing["iris_network"]
    assert "answers differ by more than its tolerance" in done.stderr
    assert built.content().keys() == before.keys()


def check_bill(workplace: Workplace) -> None:
    """What a real build leaves is enough for a bill of materials."""
    bill = sbom.bill(workplace.model("iris"), 1)
    listed = {(c["type"], c["name"], c.get("version")) for c in bill["components"]}
    assert {one for one in listed if one[0] != "library"} == {
        ("machine-learning-model", "iris_half", "1"),
        ("machine-learning-model", "iris_network", "1"),
        ("file", "builders/flowers.py", None),
    }
    environment = BuildEnvironment.read(workplace.model("iris").version_dir(1))
    assert environment is not None
    assert ("library", "scikit-learn", environment.packages["scikit-learn"]) in listed


def test_what_cannot_be_rebuilt_is_said_at_once(built: Workplace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.py").write_text("")
    repository = Repository(built.repository)
    with pytest.raises(BuilderError, match=re.escape("there is no flowers.py")):
        rebuilding.rebuild(repository, "iris", 1, builders=elsewhere)
    with pytest.raises(RepositoryError, match="there is no proven version 2"):
        rebuilding.rebuild(repository, "iris", 2, builders=built.builders)
