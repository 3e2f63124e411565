"""Model folders that people wrote, as proven versions."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from workplace import Workplace

from modelport import cli
from modelport.build import folder_publish, rebuilding
from modelport.build.folder_publish import Published
from modelport.client import Client
from modelport.errors import (
    BuilderError,
    DataError,
    ModelportError,
    ParityError,
    RepositoryError,
)
from modelport.repository import edits
from modelport.repository.layout import Repository
from modelport.repository.samples import Samples
from modelport.runtime.server import Server
from modelport.spec import Tolerance
from modelport.verify import through_server

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(5, 2)).astype(np.float32)

CODE = """
    import os
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        def initialize(self, args):
            folder = os.path.join(args["model_repository"], args["model_version"])
            with open(os.path.join(folder, "data", "factor.txt")) as file:
                self.factor = float(file.read())

        def execute(self, requests):
            return [self.answer(request) for request in requests]

        def answer(self, request):
            y = pb_utils.get_input_tensor_by_name(request, "y").as_numpy()
            z = pb_utils.Tensor("z", (y * self.factor).astype("float32"))
            return pb_utils.InferenceResponse([z])
"""
PIPE = """
    name: "pipe"
    platform: "ensemble"
    max_batch_size: 8
    input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
    output [ { name: "z" data_type: TYPE_FP32 dims: [ 3 ] } ]
    ensemble_scheduling { step [
      { model_name: "matmul" model_version: -1
        input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } },
      { model_name: "double" model_version: -1
        input_map { key: "y" value: "y" } output_map { key: "z" value: "z" } }
    ] }
"""


def matmul(root: Path, *, version: int = 3, weights: np.ndarray = WEIGHTS) -> Path:
    """y = x @ weights, with a comment in its config.pbtxt and a policy that names its version."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    folder = root / "matmul"
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(made, folder / str(version) / "model.onnx")
    (folder / "classes.txt").write_text("a\nb\nc\n")
    (folder / "README.md").write_text("Notes of the team.\n")
    text = f"""
        # Tuned by hand: 8 is what our GPU held {{in 2021}}.
        name: "matmul"
        backend: "onnxruntime"
        max_batch_size: 8  # not more
        input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }} ]
        output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "classes.txt" }} ]
        version_policy: {{ specific: {{ versions: [ {version} ] }} }}
        instance_group [ {{ kind: KIND_CPU }} ]
    """
    (folder / "config.pbtxt").write_text(textwrap.dedent(text).lstrip())
    return folder


def double(root: Path) -> Path:
    folder = root / "double"
    (folder / "1" / "data").mkdir(parents=True)
    (folder / "1" / "data" / "factor.txt").write_text("2")
    (folder / "1" / "model.py").write_text(textwrap.dedent(CODE))
    text = """
        name: "double"
        backend: "python"
        max_batch_size: 8
        input [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
        output [ { name: "z" data_type: TYPE_FP32 dims: [ 3 ] } ]
    """
    (folder / "config.pbtxt").write_text(textwrap.dedent(text).lstrip())
    return folder


def pipe(root: Path) -> Path:
    (root / "pipe" / "1").mkdir(parents=True)
    (root / "pipe" / "config.pbtxt").write_text(textwrap.dedent(PIPE).lstrip())
    return root / "pipe"


def answers(workplace: Workplace, *, factor: float = 2) -> Path:
    path = workplace.path / f"times{factor:g}.npz"
    y = X @ WEIGHTS
    np.savez(path, y=y, z=np.float32(factor) * y)
    return path


def publish(workplace: Workplace, *folders: Path | str, **options: object) -> Published:
    sources = [str(folder) for folder in folders]
    return folder_publish.publish(sources, repository=workplace.repository, **options)


def numbers(done: Published) -> list[tuple[str, int, bool]]:
    return [(built.model, built.version, built.new) for built in done.built]


def test_an_onnx_folder_keeps_its_config_and_its_policy_waits(workplace: Workplace) -> None:
    folder = matmul(workplace.path)
    written = (folder / "config.pbtxt").read_bytes()
    assert numbers(publish(workplace, folder, dry_run=True)) == [("matmul", 1, True)]
    assert not workplace.repository.exists()
    assert numbers(publish(workplace, folder)) == [("matmul", 1, True)]

    published = workplace.model("matmul")
    assert published.version_dir(1).joinpath("config.pbtxt").read_bytes() == written
    text = published.config_path.read_text()
    assert "Tuned by hand: 8 is what our GPU held {in 2021}." in text
    assert "max_batch_size: 8  # not more" in text
    # Version 3 of the folder is version 1 here, so a policy that names 3 would serve nothing.
    assert published.config().version_policy is None
    manifest = published.manifest(1)
    assert (manifest.kind, manifest.public) == ("onnx", True)
    assert manifest.builder.path == "matmul/config.pbtxt"
    assert manifest.proof.through_server.reference == "onnxruntime in process"
    assert manifest.proof.through_server.batch_sizes[:3] == [1, 2, 3]
    assert {entry.path for entry in manifest.files} == {
        "classes.txt",
        "config.pbtxt",
        "environment.json",
        "model.onnx",
        "samples.json",
    }
    assert (published.path / "classes.txt").read_text() == "a\nb\nc\n"
    assert not (published.path / "README.md").exists()

    before = workplace.content()
    assert numbers(publish(workplace, folder)) == [("matmul", 1, False)]
    assert numbers(publish(workplace, "matmul")) == [("matmul", 1, False)]
    assert workplace.content() == before
    with pytest.raises(BuilderError, match="published from a model folder"):
        rebuilding.rebuild(
            Repository(workplace.repository), "matmul", 1, builders=workplace.builders
        )


def test_a_promotion_keeps_the_comments(workplace: Workplace) -> None:
    publish(workplace, matmul(workplace.path))
    promote = ["promote", "matmul", "--repository", "repository", "--reason", "tried"]
    done = workplace.run([*promote[:2], "1", *promote[2:]])
    assert done.returncode == 0, done.stderr
    text = workplace.model("matmul").config_path.read_text()
    assert "max_batch_size: 8  # not more" in text
    assert workplace.model("matmul").served_versions() == [1]

    # What serves was promoted, so a newer version waits, and nothing beside it changes.
    newer = matmul(workplace.path / "new", weights=-WEIGHTS)
    assert numbers(publish(workplace, newer)) == [("matmul", 2, True)]
    assert workplace.model("matmul").config_path.read_text() == text
    assert workplace.model("matmul").served_versions() == [1]


def test_python_code_needs_expected_answers_that_are_right(workplace: Workplace) -> None:
    folder = double(workplace.path)
    with pytest.raises(DataError, match="nothing says what it must answer") as caught:
        publish(workplace, folder)
    assert "numpy.savez('answers.npz', y=…, z=…)" in str(caught.value.next_step)
    with pytest.raises(
        ParityError, match="differ from the reference in 54 of 54 requests"
    ) as wrong:
        publish(workplace, folder, samples={"": answers(workplace, factor=3)})
    assert "the expected answers in times3.npz are not this version's" in str(wrong.value.cause)
    assert workplace.content() == {}

    right = answers(workplace)
    assert numbers(publish(workplace, folder, samples={"": right})) == [("double", 1, True)]
    manifest = workplace.model("double").manifest(1)
    assert manifest.proof.through_server.reference == "expected answers in times2.npz"
    assert [entry.source for entry in manifest.data] == ["times2.npz"]
    assert "data/factor.txt" in {entry.path for entry in manifest.files}
    assert numbers(publish(workplace, folder, samples={"": right})) == [("double", 1, False)]


def test_an_ensemble_is_published_with_its_parts(workplace: Workplace) -> None:
    publish(workplace, matmul(workplace.path))
    folders = pipe(workplace.path), double(workplace.path)
    with pytest.raises(RepositoryError, match="'pipe' runs 'double', and"):
        publish(workplace, folders[0])
    requests = [{"x": row.tolist()} for row in X]
    expected = [{"z": row.tolist()} for row in 2 * X @ WEIGHTS]
    document = workplace.path / "pipe.json"
    document.write_text(json.dumps({"data": requests, "validation_data": expected}))
    command = ["publish", "pipe", "double", "--repository", "repository", "--json"]
    samples = ["--samples", "pipe.json", "--samples", f"double={answers(workplace).name}"]
    done = workplace.run([*command, *samples])
    assert json.loads(done.stdout) == {
        "models": [
            {"model": "pipe", "version": 1, "new": True},
            {"model": "double", "version": 1, "new": True},
        ],
        "dry_run": False,
    }, done.stderr
    manifest = workplace.model("pipe").manifest(1)
    assert manifest.parts == {"double": 1, "matmul": 1}
    assert manifest.kind == "ensemble"
    assert not workplace.model("double").manifest(1).public
    with Server.start(workplace.repository) as server, Client(server.endpoints.grpc) as client:
        np.testing.assert_allclose(client.infer("pipe", {"x": X})["z"], 2 * X @ WEIGHTS, 1e-5)


def test_an_ensemble_of_onnx_models_needs_no_answers(workplace: Workplace) -> None:
    folder = pipe(workplace.path)
    text = (folder / "config.pbtxt").read_text()
    # Once through the one part: x → y.
    one = text.partition(",\n")[0].replace('"z"', '"y"') + "\n] }\n"
    (folder / "config.pbtxt").write_text(one)
    done = publish(workplace, folder, matmul(workplace.path))
    assert numbers(done) == [("pipe", 1, True), ("matmul", 1, True)]
    reference = workplace.model("pipe").manifest(1).proof.through_server.reference
    assert reference == "graph of references"

    # The ensemble was proven with version 1 of its part, which no longer is the newest.
    newer = publish(workplace, matmul(workplace.path / "new", weights=-WEIGHTS))
    assert newer.outdated == {"pipe": "matmul"}


def test_an_unproven_version_gets_its_proof_in_its_place(workplace: Workplace) -> None:
    """The server that runs on it meanwhile answers on, and finds each file as it was."""
    matmul(workplace.repository)
    double(workplace.repository)
    before = workplace.content()
    with Server.start(workplace.repository) as server:
        assert numbers(publish(workplace, "matmul")) == [("matmul", 3, True)]
        cases = Samples.read(workplace.model("matmul").version_dir(3) / "samples.json")
        urls = [server.endpoints.grpc]
        found = through_server.parity(urls, "matmul", cases, Tolerance(), concurrencies=(4,))
        assert not found.problems
    after = workplace.content()
    assert {name: after[name] for name in before} == before
    assert sorted(name for name in after.keys() - before.keys() if "__pycache__" not in name) == [
        "matmul/3/classes.txt",
        "matmul/3/config.pbtxt",
        "matmul/3/environment.json",
        "matmul/3/manifest.json",
        "matmul/3/samples.json",
    ]
    assert workplace.staged() == []
    assert (
        not workplace.model("matmul")
        .manifest(3)
        .changed_files(workplace.model("matmul").version_dir(3))
    )


def test_a_model_that_a_builder_makes_is_left_to_it(workplace: Workplace) -> None:
    folder = matmul(workplace.path)
    (workplace.repository / "matmul").mkdir(parents=True)
    path = workplace.repository / "matmul" / "config.pbtxt"
    edits.write(path, Repository(workplace.path).model("matmul").config(), builder="b/mine.py")
    with pytest.raises(RepositoryError, match=r"'matmul' is built from b/mine\.py"):
        publish(workplace, folder)


def test_a_config_that_is_edited_in_the_repository_is_not_lost(workplace: Workplace) -> None:
    folder = matmul(workplace.path)
    publish(workplace, folder)
    path = workplace.model("matmul").config_path
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 4"))
    before = workplace.content()
    source = folder / "config.pbtxt"
    source.write_text(source.read_text().replace("max_batch_size: 8", "max_batch_size: 16"))
    said = refusal(workplace, ["matmul/"], 21)
    assert "-max_batch_size: 4" in said
    assert "+max_batch_size: 16" in said
    assert workplace.content() == before


def test_what_doctor_finds_names_the_users_files(workplace: Workplace) -> None:
    folder = matmul(workplace.path)
    path = folder / "config.pbtxt"
    path.write_text(path.read_text().replace('name: "y"', 'name: "why"'))
    said = refusal(workplace, ["./matmul"], 1)
    assert f"{path}:6:" in said
    assert "nothing is published" in said
    assert not workplace.repository.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 20, "there is no such folder"),
        (["."], 21, "name its models: modelport publish ./double ./matmul"),
        (["matmul/3/model.onnx"], 20, "modelport import matmul/3/model.onnx"),
        (["matmul", "--version", "7"], 20, "there is no version 7"),
        (["matmul", "--version", "0"], 2, "no number of a version"),
        (["matmul", "double", "--version", "1"], 20, "--version NAME=1"),
        (["matmul", "--samples", "other=x.npz"], 12, "not among matmul"),
        (["matmul", "double", "--samples", "x.npz"], 12, "whose samples are these"),
        (["matmul", "--samples", "x.npz"], 12, "there is no such file"),
    ],
)
def test_mistakes_on_the_command_line(
    workplace: Workplace, arguments: list[str], code: int, words: str
) -> None:
    matmul(workplace.path)
    double(workplace.path)
    assert words in refusal(workplace, arguments, code)
    assert not workplace.repository.exists()


def refusal(workplace: Workplace, arguments: list[str], code: int) -> str:
    """Give what the command says when it ends with this exit code, run in this process."""
    command = ["publish", *arguments, "--repository", "repository"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace.path)
        result = CliRunner().invoke(cli.command, command)
    error = result.exception
    if isinstance(error, ModelportError):
        assert error.exit_code == code, error
        return str(error)
    assert result.exit_code == code, result.output
    return result.output


def edited(folder: Path, old: str, new: str) -> None:
    path = folder / "config.pbtxt"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda f: (f / "config.pbtxt").unlink(), 21, "there is no config.pbtxt"),
        (lambda f: edited(f, "backend:", "backed:"), 21, "did you mean backend"),
        (lambda f: edited(f, "onnxruntime", "pytorch"), 21, "runs on 'pytorch'"),
        (lambda f: shutil.rmtree(f / "3"), 20, "put the model's file into 1/"),
        (lambda f: (f / "3/samples.json").touch(), 20, "give samples.json another name"),
        (lambda f: (f / "3/manifest.json").touch(), 20, "it has a proof already"),
    ],
)
def test_folders_that_cannot_be_published(
    workplace: Workplace, change: Callable[[Path], None], code: int, words: str
) -> None:
    change(matmul(workplace.path))
    assert words in refusal(workplace, ["matmul"], code)
    assert not workplace.repository.exists()
