"""Every graph of the zoo, variants included, against TensorRT's compiler: nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from modelport.build import half, loader, selection, tensorrt
from modelport.build.tensorrt.graph import foreign
from modelport.build.work import Choice, Work
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.samples import FILE_NAME, Samples
from modelport.spec.model import TorchModel
from modelport.spec.precision import FULL, Bf16, Fp16, Plan

# A support vector machine in ONNX's operators for classic methods.
CLASSIC = "tabular"
BUILDERS = Path(__file__).parents[3] / "builders"
# Operators of ONNX Runtime alone: these variants are for CPUs.
FOR_CPUS = {"int8-dynamic", "int8-weights", "int4-weights"}


def test_every_published_graph_compiles_or_is_of_another_runtime(repository: Repository) -> None:
    """A compile check, not an execution: no GPU has run any of them."""
    pytest.importorskip("tensorrt_rtx")
    verdicts = list(tensorrt.check(repository))
    failed = [
        f"{v.model} {v.versions} {v.precision}: {v.reason}"
        for v in verdicts
        if v.outcome == "failed"
    ]
    assert not failed, "\n".join(failed)
    foreign = [v for v in verdicts if v.outcome == "foreign" and v.precision not in FOR_CPUS]
    assert {v.model for v in foreign} == {CLASSIC}
    assert all("ai.onnx.ml.SVMClassifier" in v.operators for v in foreign)
    compiled = {v.model for v in verdicts if v.outcome == "compiled"}
    networks = {folder.name for folder in _networks(repository)}
    assert {v.model for v in verdicts if v.precision == FULL} - compiled == {CLASSIC}
    assert compiled >= networks - {CLASSIC}


def test_every_declared_variant_compiles_or_is_for_cpus(repository: Repository) -> None:
    """A compile check, not an execution: no GPU has run any of them."""
    pytest.importorskip("tensorrt_rtx")
    seen: set[str] = set()
    for path in selection.chosen(BUILDERS, ()):
        builder = loader.load(path)
        models = [m for m in builder.models if isinstance(m, TorchModel) and m.variants]
        if not models:
            continue
        work = Work(builder, repository, lambda _: None, keep_edits=True)
        work.decide({model.name: Choice(FULL) for model in models})
        work.candidates()
        for model in models:
            folder = repository.folder(model.name)
            version = _full(folder)
            config, samples = folder.config_of(version), folder.version_dir(version) / FILE_NAME
            plan = Plan(lengths=tensorrt.lengths(config, samples))
            shapes = tensorrt.profile_of(config.input, config.max_batch_size, plan)
            for build in work.variants(model):
                seen.add(build.precision)
                if build.precision in FOR_CPUS:
                    assert foreign(build.onnx_file), (model.name, build.precision)
                else:
                    engine = tensorrt.compile(build.onnx_file, shapes, tensorrt.EngineOptions())
                    assert engine.data, (model.name, build.precision)
    assert seen == {"fp32", "int8", "int8-dynamic", "fp16", "pruned"}


@pytest.mark.parametrize("variant", [Fp16(), Bf16()], ids=["fp16", "bf16"])
def test_every_network_compiles_in_16_bits(
    repository: Repository, tmp_path: Path, variant: Fp16 | Bf16
) -> None:
    """A compile check, not an execution: no GPU has run any of them."""
    pytest.importorskip("tensorrt_rtx")
    for folder in _networks(repository):
        if folder.name == CLASSIC:
            continue
        version = _full(folder)
        config, place = folder.config_of(version), folder.version_dir(version)
        batches = [case.inputs for case in Samples.read(place / FILE_NAME).cases[:3]]
        target = tmp_path / f"{folder.name}.onnx"
        facts = half.convert(
            place / "model.onnx", target, batches or [_drawn(folder, version)], variant
        )
        assert facts["converted"], folder.name
        plan = Plan(lengths=tensorrt.lengths(config, place / FILE_NAME))
        shapes = tensorrt.profile_of(config.input, config.max_batch_size, plan)
        assert tensorrt.compile(target, shapes, tensorrt.EngineOptions()).data, folder.name
        target.unlink()


def _networks(repository: Repository) -> list[ModelFolder]:
    return [
        folder
        for folder in repository.models()
        if any((folder.version_dir(v) / "model.onnx").is_file() for v in folder.versions())
    ]


def _full(folder: ModelFolder) -> int:
    proven = folder.proven_versions()
    return max(version for version in proven if folder.manifest(version).precision == FULL)


def _drawn(folder: ModelFolder, version: int) -> Mapping[str, np.ndarray]:
    """Make a batch of a model whose samples are too large to be kept: pictures, bytes."""
    rng = np.random.default_rng(1)
    return {
        tensor.name: rng.integers(0, 256, (1, *tensor.dims), np.uint8)
        for tensor in folder.config_of(version).input
    }
