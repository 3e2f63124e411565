"""A plan from its ONNX version to a published one, with a compiler and engines that are fake."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import fake_engine
import plan_versions
import pytest
from plan_versions import A100, HERE

from modelport.build import plans, proof
from modelport.build.plans import Order, Workshop
from modelport.build.tensorrt import Engine
from modelport.errors import ParityError
from modelport.repository import doctor
from modelport.repository.doctor import Machine
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.placing import only
from modelport.rollout import cleaning, outlook
from modelport.runtime.server import Server
from modelport.runtime.toolchain import Toolchain


class Compiler:
    """Writes the factor of its choice for an engine, and counts."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.calls = 0

    def __call__(self, onnx: Path, shapes: object, options: object, **_: object) -> Engine:
        assert onnx.is_file()
        self.calls += 1
        return Engine(json.dumps({"factor": self.factor}).encode(), "tensorrt", "10.5.0")


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    return fake_engine.toolchain_in(tmp_path)


def workshop(compiler: Compiler, toolchain: Toolchain) -> Workshop:
    return Workshop(
        gpu=A100,
        compile=compiler,
        library=lambda: ("tensorrt", "10.5.0"),
        image="tritonserver:24.10-py3",
        prove=partial(proof.prove, toolchain=toolchain, here=HERE),
    )


def test_a_plan_is_proven_and_published_and_nothing_else_changes(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    folder = plan_versions.onnx_version(tmp_path / "repository", "tiny", 1)
    plan_versions.onnx_version(tmp_path / "repository", "tiny", 2, factor=3.0)
    repository, compiler = Repository(tmp_path / "repository"), Compiler(3.0005)
    steps: list[str] = []

    def build(order: Order) -> list[tuple[int, bool]]:
        made = workshop(compiler, toolchain)
        done = plans.build(repository, order, made, lambda event: steps.append(event.step))
        return [(one.version, one.new) for one in done]

    config = folder.config()
    assert build(Order(["tiny"], wish={"of": "fp16"})) == [(3, True)]
    assert list(dict.fromkeys(steps)) == ["convert", "compile", "prove", "publish"]
    # The newest serves no more: what served before does, by name.
    assert folder.served_versions() == [2]
    assert folder.config() == dataclasses.replace(config, version_policy=only(2))
    _check_manifest(folder)
    assert build(Order(["tiny"], wish={"of": "fp16"})) == [(3, False)]
    assert compiler.calls == 1
    assert build(Order(["tiny"], wish={"of": "fp16", "batch": 2})) == [(4, True)]
    _check_the_rest(repository)
    with Server.start(repository.path, toolchain=toolchain, here=HERE, listed=False) as server:
        assert server.versions == {"tiny": "4"}


def _check_manifest(folder: ModelFolder) -> None:
    manifest = folder.manifest(3)
    assert (manifest.kind, manifest.precision, manifest.derived_from) == ("plan", "plan", 2)
    assert manifest.builder == folder.manifest(2).builder
    assert manifest.changed_files(folder.version_dir(3)) == {}
    assert 0 < manifest.proof.through_server.worst_absolute < 0.01
    plan = manifest.plan
    assert plan is not None
    assert (plan.tensorrt, plan.gpu, plan.compute_capability) == ("10.5.0", "NVIDIA A100", "8.0")
    assert (plan.image, plan.options.of) == ("tritonserver:24.10-py3", "fp16")
    weights = {f.path: f.sha256 for f in folder.manifest(2).files}["model.onnx"]
    assert plan.onnx_sha256 == weights != plan.graph_sha256
    assert plan.profile == {"x": ([1, 2], [8, 2], [8, 2])}
    config = folder.config_of(3)
    assert (config.backend, config.instance_group[0].kind) == ("tensorrt", "KIND_AUTO")


def _check_the_rest(repository: Repository) -> None:
    """It is a version like any other; it waits for no promotion, and stays with its source."""
    machine = Machine(cores=8, gpus=1, tensorrt="10.5.0", gpu=A100)
    assert doctor.check(repository.path, machine=machine) == []
    assert outlook.pending(repository) == []
    removable = cleaning.look(repository, keep=0).removable
    assert [(one.model, one.version) for one in removable] == [("tiny", 1)]


def test_a_plan_that_answers_otherwise_is_not_published(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    folder = plan_versions.onnx_version(tmp_path / "repository", "tiny", 1)
    before = folder.config_path.read_bytes()
    with pytest.raises(ParityError, match="answers through the server differ"):
        plans.build(
            Repository(tmp_path / "repository"),
            Order(["tiny"], wish={"of": "fp32"}),
            workshop(Compiler(2.5), toolchain),
            lambda _: None,
        )
    assert (folder.versions(), folder.config_path.read_bytes()) == ([1], before)
