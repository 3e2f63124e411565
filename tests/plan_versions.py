"""Small versions of a model y = factor * x: ONNX files, and plans that carry only what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from manifests import manifest, parity, proof
from onnx import TensorProto, helper

from modelport.repository import edits, plans
from modelport.repository.gpus import Gpu
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import (
    BuilderEntry,
    EngineEntry,
    Manifest,
    PlanEntry,
)
from modelport.repository.placing import only
from modelport.repository.plans import Place
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples
from modelport.spec.config import ModelConfig, ModelInput, ModelInstanceGroup, ModelOutput

A100, H100 = Gpu("NVIDIA A100", "8.0"), Gpu("NVIDIA H100", "9.0")
HERE = Place(A100, "10.5.0")
X = np.array([[1.0, 2.0]], np.float32)
BUILDER = "builders/small.py"


def config(name: str) -> ModelConfig:
    return ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=8,
        input=(ModelInput(name="x", data_type="TYPE_FP32", dims=(2,)),),
        output=(ModelOutput(name="y", data_type="TYPE_FP32", dims=(2,)),),
        instance_group=(ModelInstanceGroup(kind="KIND_CPU", count=1),),
        parameters={"intra_op_thread_count": "1"},
    )


def onnx_version(
    repository: Path,
    name: str,
    version: int,
    factor: float = 2.0,
    engine: EngineEntry | None = None,
) -> ModelFolder:
    """Publish y = factor * x; the newest serves."""
    folder = _version(repository, name, version, config(name), factor)
    tensors = [
        helper.make_tensor_value_info(t, TensorProto.FLOAT, ["batch", 2]) for t in ("x", "y")
    ]
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        name,
        tensors[:1],
        tensors[1:],
        [constant],
    )
    opset = helper.make_opsetid("", 17)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save(made, folder / "model.onnx")
    _manifest(name, version, folder, engine=engine).write(folder)
    path = repository / name / CONFIG
    if not path.is_file():
        edits.write(path, config(name), builder=BUILDER)
    return Repository(repository).folder(name)


def plan_version(
    folder: ModelFolder,
    version: int,
    of: int,
    place: Place = HERE,
    factor: float = 20.0,
    **options: object,
) -> None:
    """Publish a plan of an ONNX version, as `modelport plan` leaves it.

    Its file says what a fake engine computes: another factor, so that answers tell who serves.
    """
    assert place.gpu is not None
    assert place.tensorrt is not None
    made = plans.config_for_plan(folder.config_of(of))
    target = _version(folder.path.parent, folder.name, version, made, factor)
    (target / plans.MODEL_FILE).write_text(json.dumps({"factor": factor}))
    source = folder.manifest(of)
    digest = plans.onnx_digest(source, folder.config_of(of))
    entry = PlanEntry(
        library="tensorrt",
        tensorrt=place.tensorrt,
        compute_capability=place.gpu.compute_capability,
        gpu=place.gpu.name,
        onnx_sha256=digest,
        graph_sha256=digest,
        options=EngineEntry.model_validate(options),
        profile={"x": ([1, 2], [8, 2], [8, 2])},
    )
    _manifest(folder.name, version, target, derived_from=of, plan=entry).write(target)


def pin(folder: ModelFolder, version: int) -> None:
    """Have a version serve, with its own configuration, as promotion does."""
    text = edits.with_version_policy(folder.version_dir(version) / CONFIG, only(version))
    folder.config_path.write_text(text)


def _version(repository: Path, name: str, version: int, own: ModelConfig, factor: float) -> Path:
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    edits.write(folder / CONFIG, own, builder=BUILDER)
    Samples((Case({"x": X}, {"y": X * np.float32(factor)}, title="two numbers"),)).write(
        folder / SAMPLES
    )
    return folder


def _manifest(
    name: str,
    version: int,
    folder: Path,
    *,
    derived_from: int | None = None,
    engine: EngineEntry | None = None,
    plan: PlanEntry | None = None,
) -> Manifest:
    return manifest(
        folder,
        name,
        version,
        kind="plan" if plan else "onnx",
        builder=BuilderEntry(path=BUILDER, sha256="0" * 64),
        proof=proof(
            absolute=0.01 if plan else 1e-6,
            through_server=parity("torch", transports=["http", "grpc"]),
        ),
        precision="plan" if plan else "fp32",
        derived_from=derived_from,
        engine=engine,
        plan=plan,
    )
