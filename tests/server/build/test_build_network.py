"""A network from its builder file to versions that carry their proof."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from workplace import Workplace

from modelport.repository import doctor
from modelport.repository.samples import Samples

TINY = """\
import numpy as np
from sklearn.datasets import load_iris
from torch import nn

from modelport.build import Dataset
from modelport.spec import Gate, Sample, Tensor, TorchModel, Training

NAMES = ("setosa", "versicolor", "virginica")


def data():
    iris = load_iris()
    return Dataset.split({"flower": iris.data.astype(np.float32)}, iris.target)


def questions():
    flower = np.array([5.1, 3.5, 1.4, 0.2], np.float32)
    return [Sample({"flower": flower}, title="a flower with short petals")]


model = TorchModel(
    name="iris",
    doc="Names an iris by its measures.",
    inputs=(Tensor("flower", "FP32", (4,), doc="cm"),),
    outputs=(Tensor("scores", "FP32", (3,), labels=NAMES),),
    network=lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)),
    data=data,
    samples=questions,
    training=Training(epochs=20, learning_rate=0.05),
    gates=(Gate("accuracy", at_least=0.8),),
)
"""

AGAIN = """
import json, sys
from pathlib import Path
from modelport.build import pipeline
built = pipeline.build((), builders=Path("builders"), repository=Path("repository"))
heavy = [name for name in ("torch", "onnx", "onnxruntime", "sklearn") if name in sys.modules]
print(json.dumps({"built": [[b.model, b.version, b.new] for b in built], "heavy": heavy}))
"""


def build_again(folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], cwd=folder, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def healthy(repository: Path) -> bool:
    return not [f for f in doctor.check(repository) if f.severity == "error"]


def test_the_life_of_a_model(workplace: Workplace) -> None:
    builder = workplace.builder("tiny", TINY)
    (built,) = workplace.build()
    assert (built.model, built.version, built.new) == ("iris", 1, True)
    assert workplace.steps() == [
        f"iris: {step}"
        for step in ("train", "evaluate", "export", "slim", "parity", "prove", "publish")
    ]
    check_first_version(workplace)
    first = workplace.content()

    # Nothing to do is found out without torch.
    assert build_again(workplace.path) == {"built": [["iris", 1, False]], "heavy": []}

    # A comment changes nothing.
    builder.write_text("# What an iris is called.\n" + TINY)
    (built,) = workplace.build()
    assert (built.version, built.new) == (1, False)
    assert workplace.steps() == []
    assert workplace.content() == first

    # Other training is another version; the first stays as it is.
    builder.write_text(TINY.replace("epochs=20", "epochs=21"))
    (built,) = workplace.build()
    assert (built.version, built.new) == (2, True)
    second = workplace.content()
    assert {name: data for name, data in second.items() if not name.startswith("iris/2/")} == first
    assert second["iris/2/model.onnx"] != second["iris/1/model.onnx"]
    assert workplace.model("iris").served_versions() == [2]

    # The builder of before: the newest version serves, so what it says is published again.
    builder.write_text(TINY)
    (built,) = workplace.build()
    assert (built.version, built.new) == (3, True)
    assert workplace.content()["iris/3/model.onnx"] == first["iris/1/model.onnx"]
    assert workplace.model("iris").served_versions() == [3]

    # A published file that is not what was proven is built again, as a new version.
    damaged = workplace.repository / "iris" / "3" / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (built,) = workplace.build()
    assert (built.version, built.new) == (4, True)
    assert workplace.content()["iris/4/model.onnx"] == first["iris/1/model.onnx"]
    assert workplace.staged() == []

    check_list(workplace)


def check_first_version(workplace: Workplace) -> None:
    folder = workplace.model("iris")
    manifest = folder.manifest(1)
    assert (manifest.model, manifest.version, manifest.kind) == ("iris", 1, "onnx")
    assert (manifest.public, manifest.seed, manifest.precision) == (True, 0, "fp32")
    assert manifest.builder.path == "builders/tiny.py"
    assert manifest.metrics is not None
    assert manifest.metrics.values["accuracy"] >= 0.8
    assert manifest.metrics.gates == {"accuracy": ">= 0.8"}
    served = manifest.proof.through_server
    assert served.transports == ["http", "grpc"]
    rounds = 2 * len(served.concurrencies)
    assert served.requests >= 5 * rounds
    assert served.requests % rounds == 0
    assert served.worst_absolute <= manifest.proof.tolerance.absolute + 1e-4
    assert {1, 2, 3, 64} <= set(served.batch_sizes)
    assert manifest.proof.in_process is not None
    assert {entry.path for entry in manifest.files} == {
        "config.pbtxt", "environment.json", "model.onnx", "samples.json", "scores_labels.txt"
    }  # fmt: skip
    assert manifest.changed_files(folder.version_dir(1)) == {}
    assert (folder.path / "scores_labels.txt").read_text() == "setosa\nversicolor\nvirginica\n"

    cases = Samples.read(folder.version_dir(1) / "samples.json").cases
    assert cases[0].title == "a flower with short petals"
    assert cases[0].inputs["flower"].tolist() == [np.float32([5.1, 3.5, 1.4, 0.2]).tolist()]
    assert cases[0].outputs["scores"].argmax() == 0
    onnx.checker.check_model(onnx.load(folder.version_dir(1) / "model.onnx"))
    assert healthy(workplace.repository)
    assert workplace.staged() == []


def check_list(workplace: Workplace) -> None:
    done = workplace.run(["models", "--repository", "repository", "--json"])
    (listed,) = json.loads(done.stdout)
    assert listed["name"] == "iris"
    assert listed["public"] is True
    assert listed["versions"] == listed["proven_versions"] == [1, 2, 3, 4]
    assert listed["served_versions"] == [4]
    assert listed["metrics"]["accuracy"] >= 0.8
    assert listed["gates"] == {"accuracy": ">= 0.8"}
    assert listed["doc"] == "Names an iris by its measures."
    table = workplace.run(["models", "--repository", "repository"]).stdout
    assert "iris" in table
    assert "1, 2, 3, 4" in table


def test_up_asks_and_shows_the_answers(workplace: Workplace) -> None:
    workplace.builder("tiny", TINY)
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    place = ["--builders", "builders", "--repository", "repository"]
    done = workplace.run(["up", "--once", "--json", *place, *ports])
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    (answer,) = shown["answers"]
    assert (answer["model"], answer["title"]) == ("iris", "a flower with short petals")
    assert answer["problem"] == ""
    assert len(answer["outputs"]["scores"]) == 3
    assert set(answer["latency_ms"]) == {"HTTP", "gRPC"}
    assert shown["endpoints"]["http"].startswith("http://127.0.0.1:")
    assert "✓ tiny  1 model, 1 published" in done.stderr


def test_labels_are_brought_up_to_date(workplace: Workplace) -> None:
    workplace.builder("tiny", TINY)
    workplace.build()
    before = workplace.content()
    (workplace.repository / "iris" / "scores_labels.txt").unlink()
    (built,) = workplace.build()
    assert not built.new
    assert workplace.content() == before

    # Other names for the classes are another answer, so they make a version, of the same weights.
    workplace.builder("tiny", TINY.replace('"setosa"', '"Iris setosa"'))
    (built,) = workplace.build()
    assert built.version == 2
    assert not any("train" in step for step in workplace.steps())
    labels = workplace.repository / "iris" / "scores_labels.txt"
    assert labels.read_text() == "Iris setosa\nversicolor\nvirginica\n"


def test_a_missed_gate_publishes_nothing(workplace: Workplace) -> None:
    workplace.builder("tiny", TINY.replace("at_least=0.8", "at_least=1.5"))
    done = workplace.run(["build", "--builders", "builders", "--repository", "repository"])
    assert done.returncode == 14
    assert "the gate is >= 1.5" in done.stderr
    assert not workplace.repository.exists() or workplace.content() == {}
