"""Python models and ensembles: proven through the server, edited by hand, spoilt on purpose."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from workplace import Workplace

from modelport.build import proof
from modelport.client import Client
from modelport.errors import (
    ClientError,
    ConfigError,
    LoadError,
    ParityError,
    PublishError,
    ServerFaultError,
)
from modelport.runtime.server import Server

BUILDER = """\
import numpy as np
from modelport.spec import Ensemble, PythonModel, Sample, Step, Tensor

X = Tensor("x", "FP32", (2,))
Y = Tensor("y", "FP32", (2,))


def double(inputs):
    return {"y": inputs["x"] * 2}


def questions():
    items = [np.array([n, -n], np.float32) for n in range(5)]
    known = {"y": np.array([6, -6], np.float32)}
    return [Sample({"x": x}) for x in items] + [
        Sample({"x": items[3]}, title="three doubled", truth=known)
    ]


double_part = PythonModel(
    name="double", inputs=(X,), outputs=(Y,), reference=double, samples=questions
)
models = (
    double_part,
    Ensemble(
        name="fourfold",
        inputs=(X,),
        outputs=(Y,),
        samples=questions,
        steps=(
            Step("double", {"x": "x"}, {"y": "between"}),
            Step("double", {"x": "between"}, {"y": "y"}),
        ),
    ),
)
"""
# The ensemble's truth is another: three is twelve, fourfold.
SOUND = BUILDER.replace("        samples=questions,\n", "")

CODE = """\
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, lambda inputs: {"y": inputs["x"] * 2})
"""

# Right for a request of one item, wrong for every larger one.
MIXING = CODE.replace('inputs["x"] * 2', 'inputs["x"][:1].repeat(len(inputs["x"]), 0) * 2')


def test_a_model_that_mixes_its_batch_is_found_through_the_server(workplace: Workplace) -> None:
    assert MIXING != CODE
    workplace.builder("twice", SOUND)
    workplace.code("double", MIXING)
    before = workplace.content()
    with pytest.raises(ParityError) as caught:
        workplace.build()
    error = caught.value
    assert "model 'double': answers through the server differ from the reference" in error.what
    assert "outside the tolerance" in error.what
    (stage,) = workplace.staged()
    assert error.objects["stage"] == stage
    assert str(stage) in str(error.next_step)
    assert (stage / "double" / "1" / "model.py").read_text() == MIXING
    assert not any("(batch 1)" in problem for problem in error.objects["problems"])
    assert workplace.content() == before

    # Mended, it is published, and what the failed proof left is cleared away.
    workplace.code("double", CODE)
    built = workplace.build()
    assert [(b.model, b.version, b.new) for b in built] == [
        ("double", 1, True),
        ("fourfold", 1, True),
    ]
    check_published(workplace)


def test_a_part_that_is_removed_during_the_proof(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gc does with a version that nothing keeps: nothing without a manifest takes its place."""
    workplace.builder("twice", SOUND)
    workplace.code("double", CODE)
    workplace.build()
    real = proof.prove

    def prove_then_remove(*given: Any) -> Iterator[Any]:
        yield from real(*given)
        shutil.rmtree(workplace.model("double").version_dir(1))

    changed = SOUND.replace('name="fourfold",', 'name="fourfold", tolerance=Tolerance(absolute=1),')
    workplace.builder("twice", changed.replace("Tensor\n", "Tensor, Tolerance\n", 1))
    with monkeypatch.context() as patch:
        patch.setattr(proof, "prove", prove_then_remove)
        with pytest.raises(PublishError, match="double/1 was removed meanwhile"):
            workplace.build()
    assert workplace.model("double").versions() == []
    assert workplace.model("fourfold").versions() == [1]
    assert [(b.model, b.version) for b in workplace.build()] == [("double", 1), ("fourfold", 2)]


def check_published(workplace: Workplace) -> None:
    double, fourfold = workplace.model("double"), workplace.model("fourfold")
    assert (double.manifest(1).kind, fourfold.manifest(1).kind) == ("python", "ensemble")
    assert (double.manifest(1).public, fourfold.manifest(1).public) == (False, True)
    assert {e.path for e in double.manifest(1).files} == {
        "config.pbtxt",
        "environment.json",
        "model.py",
        "samples.json",
    }
    assert not list(workplace.repository.rglob("__pycache__"))
    assert (workplace.repository / "double/1/model.py").read_text() == CODE
    # The stages of this process are kept as long as it lives; nothing else is.
    assert all((stage / "double").is_dir() for stage in workplace.staged())
    assert not any(built.new for built in workplace.build())


def test_code_that_does_not_load_publishes_nothing(workplace: Workplace) -> None:
    workplace.builder("twice", SOUND)
    workplace.code("double", "import no_such_package\n" + CODE)
    before = workplace.content()
    with pytest.raises(LoadError) as caught:
        workplace.build()
    (stage,) = workplace.staged()
    assert "no_such_package" in caught.value.what
    assert f"nothing is published; what was staged is in {stage}" in str(caught.value.next_step)
    assert workplace.content() == before


def test_code_that_raises_is_told_from_code_that_answers_wrong(workplace: Workplace) -> None:
    workplace.builder("twice", SOUND)
    workplace.code("double", CODE.replace('inputs["x"]', 'inputs["z"]'))
    with pytest.raises(ParityError) as caught:
        workplace.build()
    assert "no answer: ServerFaultError" in caught.value.what
    assert "KeyError in the model's code" in caught.value.what
    assert str(caught.value.cause).startswith("the model's code raises an exception")


def test_edits_by_hand_are_refused_or_kept_never_lost(workplace: Workplace) -> None:
    workplace.builder("twice", SOUND)
    workplace.code("double", CODE)
    workplace.build()
    config = workplace.repository / "double" / "config.pbtxt"
    edited = config.read_text().replace("count: 1", "count: 2")
    assert edited != config.read_text()
    config.write_text(edited)
    after_edit = workplace.content()

    with pytest.raises(ConfigError) as caught:
        workplace.build()
    assert caught.value.objects["path"] == config
    assert f"{config} was edited by hand" in caught.value.what
    assert "-  count: 2" in caught.value.what
    assert "+  count: 1" in caught.value.what
    assert "--keep-config" in str(caught.value.next_step)
    assert "staging" not in str(caught.value)
    assert workplace.content() == after_edit
    assert workplace.staged() == []

    workplace.build(keep_edits=True)
    assert config.read_text() == edited
    assert workplace.model("double").config().instance_group[0].count == 2


def test_a_truth_that_the_model_does_not_meet_ends_up_with_a_code_of_its_own(
    workplace: Workplace,
) -> None:
    """`questions` says 6 for three doubled; the ensemble answers 12."""
    workplace.builder("twice", BUILDER)
    workplace.code("double", CODE)
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    place = ["--builders", "builders", "--repository", "repository"]
    done = workplace.run(["up", "--once", "--json", *place, *ports])
    assert done.returncode == ParityError.exit_code == 15, done.stderr
    assert "1 of 1 answers were wrong" in done.stderr
    (answer,) = json.loads(done.stdout)["answers"]
    assert (answer["model"], answer["outputs"]["y"]) == ("fourfold", [12, -12])
    assert answer["truth"]["y"] == [6, -6]
    assert "12, expected 6" in answer["problem"]


def test_a_full_disk_leaves_the_repository_as_it_was(workplace: Workplace) -> None:
    """RLIMIT_FSIZE stands for the full disk: one file of the version is over it."""
    workplace.builder("twice", SOUND)
    workplace.code("double", CODE + "# " + "x" * 200_000)
    before = workplace.content()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(PublishError) as caught:
            workplace.build()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not stage" in caught.value.what
    assert "ulimit -f" in str(caught.value.cause)
    assert workplace.content() == before
    assert workplace.staged() == []


CAREFUL = """\
from modelport.serving.python_model import BadItemError, answer_each


def roots(inputs):
    for item, row in enumerate(inputs["x"]):
        if row.min() < 0:
            raise BadItemError("negative", item=item)
    if inputs["x"].max() > 1e6:
        raise KeyError("secret of another user")
    return {"y": inputs["x"] ** 0.5}


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, roots)
"""


def test_each_request_gets_its_own_answer(workplace: Workplace) -> None:
    """Bad requests are told why, faults of the model tell nothing, and good ones are answered."""
    workplace.code("roots/1", CAREFUL)
    (workplace.repository / "roots" / "config.pbtxt").write_text(
        'name: "roots" backend: "python" max_batch_size: 8\n'
        'input [{ name: "x" data_type: TYPE_FP32 dims: [ 1 ] }]\n'
        'output [{ name: "y" data_type: TYPE_FP32 dims: [ 1 ] }]\n'
        "dynamic_batching { max_queue_delay_microseconds: 50000 }\n"
    )
    with Server.start(workplace.repository) as server, Client(server.endpoints.grpc) as client:
        assert ask(client, 4.0, 9.0) == [[2.0], [3.0]]
        with pytest.raises(ClientError, match="item 1: negative") as caught:
            ask(client, 4.0, -9.0)
        assert not isinstance(caught.value, ServerFaultError)
        with pytest.raises(ServerFaultError, match="KeyError in the model's code") as fault:
            ask(client, 1e9)
        assert "secret" not in str(fault.value)
        assert ask(client, 16.0) == [[4.0]]


def ask(client: Client, *values: float) -> object:
    x = np.array(values, np.float32)[:, np.newaxis]
    return client.infer("roots", {"x": x})["y"].tolist()
