"""Plans up to the point where a GPU is needed."""

from __future__ import annotations

from pathlib import Path

import plan_versions
import pytest
from click.testing import CliRunner

from modelport.build import plan_source, plans
from modelport.build.plans import Order, Workshop
from modelport.cli import command
from modelport.errors import (
    AcceleratorError,
    BuilderError,
    ConfigError,
    IntegrityError,
    RepositoryError,
)
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import EngineEntry


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@pytest.fixture
def folder(repository: Repository) -> ModelFolder:
    return plan_versions.onnx_version(repository.path, "tiny", 1)


def found(repository: Repository, version: int | None = None, **wish: object):
    return plan_source.find(repository, "tiny", version, wish)


def build(repository: Repository, **given: object) -> None:
    plans.build(repository, Order(["tiny"], **given), Workshop(None), lambda _: None)


def tree(path: Path) -> list[str]:
    return sorted(str(file) for file in path.parent.rglob("*"))


def test_without_a_gpu_one_sentence_and_the_command(
    folder: ModelFolder, repository: Repository
) -> None:
    before = tree(repository.path)
    with pytest.raises(AcceleratorError) as raised:
        build(repository, wish={"of": "fp32"}, flags="--of fp32")
    error = raised.value
    assert error.exit_code == 16
    assert error.what == (
        "TensorRT compiles tiny on the GPU that will serve, and this machine has none"
    )
    assert error.objects["command"] == (
        f'docker run --rm --gpus all -v "{repository.path.parent}":/work -w /work'
        " nvcr.io/nvidia/tritonserver:24.10-py3 bash -c 'pip install"
        ' "modelport[tensorrt]==0.1.0" "tensorrt==${TRT_VERSION%.*}" &&'
        " modelport plan tiny --of fp32 --repository models'"
    )
    assert tree(repository.path) == before


def test_the_command_says_the_same_wishes_again(
    folder: ModelFolder, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.path.parent)
    arguments = "plan tiny --of fp32 --batch 4 --hardware-compatible --repository models"
    ran = CliRunner().invoke(command, [*arguments.split(), "--image", "26.07"])
    assert isinstance(ran.exception, AcceleratorError)
    told = str(ran.exception.objects["command"])
    assert told.startswith('docker run --rm --gpus all -v "$PWD":/work -w /work')
    assert "nvcr.io/nvidia/tritonserver:26.07-py3" in told
    assert told.endswith(f"&& modelport {arguments}'")


@pytest.mark.parametrize("length", ["x=1,2", "x=3,2,1", "x=0,1,2", "1,2,3", "x=1,b,3"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    ran = CliRunner().invoke(command, ["plan", "tiny", "--length", length])
    assert ran.exit_code == 2
    assert "expected INPUT=MIN,OPT,MAX" in ran.output


def test_what_the_builder_declares_holds_where_nobody_says_otherwise(
    repository: Repository,
) -> None:
    declared = EngineEntry(of="fp32", batch=4, workspace_mib=64)
    plan_versions.onnx_version(repository.path, "tiny", 1, engine=declared)
    assert found(repository).options == declared
    source = found(repository, batch=2)
    assert source.options == declared.model_copy(update={"batch": 2})
    assert source.profile == {"x": ((1, 2), (2, 2), (8, 2))}


def test_rounding_may_cost_a_share_of_the_largest_answer(
    folder: ModelFolder, repository: Repository
) -> None:
    """The samples answer 2 and 4."""
    assert found(repository).tolerance.absolute == pytest.approx(0.04)
    assert found(repository, of="fp32").tolerance.absolute == pytest.approx(0.008)


def test_a_plan_of_int8_needs_an_int8_version(folder: ModelFolder, repository: Repository) -> None:
    with pytest.raises(RepositoryError, match="version 1 has no int8 version beside it"):
        found(repository, of="int8")
    plan_versions.onnx_version(repository.path, "tiny", 2, factor=2.5)
    manifest = folder.manifest(2).model_copy(update={"precision": "int8", "derived_from": 1})
    manifest.write(folder.version_dir(2))
    source = found(repository, 1, of="int8")
    assert (source.version, source.compiled) == (1, 2)
    # What stands in for the INT8 version itself is of its graph, or of that in floating point.
    assert [found(repository, 2, of=of).compiled for of in ("int8", "fp16")] == [2, 1]


def test_a_plan_of_a_plan_is_one_of_what_that_comes_from(
    folder: ModelFolder, repository: Repository
) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 2)
    assert found(repository).version == 1


def test_what_is_no_onnx_model_is_refused_with_its_parts(
    folder: ModelFolder, repository: Repository
) -> None:
    text = folder.config_path.read_text().replace("onnxruntime", "python")
    for path in (folder.config_path, folder.version_dir(1) / "config.pbtxt"):
        path.write_text(text + 'parameters { key: "calls" value: { string_value: "other" } }')
    plan_versions.onnx_version(repository.path, "other", 1)
    with pytest.raises(ConfigError, match="version 1 of tiny is no ONNX model") as raised:
        found(repository)
    assert raised.value.next_step == "modelport plan other"


def test_an_altered_version_is_not_compiled(folder: ModelFolder, repository: Repository) -> None:
    (folder.version_dir(1) / "model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="not what was proven"):
        build(repository)


def test_lengths_of_a_tensor_that_is_not_there_are_refused(
    folder: ModelFolder, repository: Repository
) -> None:
    with pytest.raises(BuilderError, match="tiny: plan: `lengths` names 'y'"):
        found(repository, lengths={"y": [(1, 2, 3)]})


def test_a_build_after_a_plan_finds_that_nothing_changed(folder: ModelFolder) -> None:
    """The newest version is the plan; what the builder's state is compared with is its source."""
    from modelport.repository import plans as in_repository

    plan_versions.plan_version(folder, 2, of=1)
    assert in_repository.others(folder) == [1]


def test_plans_are_built_without_torch() -> None:
    import subprocess
    import sys

    script = "import sys, modelport.cli.plan, modelport.build.plans; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
