"""What is loaded in the place of what config.pbtxt names, on machines with and without a GPU."""

from __future__ import annotations

from pathlib import Path

import plan_versions
import pytest
from plan_versions import HERE

from modelport.errors import IntegrityError
from modelport.repository import keys, signing
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import EngineEntry
from modelport.repository.plans import Place
from modelport.runtime import accelerator, admission, plan, stand_ins
from modelport.runtime.stand_ins import Chosen

ELSEWHERE = Place()


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return plan_versions.onnx_version(tmp_path / "repository", "tiny", 1)


def choose(folder: ModelFolder, here: Place) -> tuple[Chosen, list[str]]:
    said: list[str] = []
    made = plan.make([folder.path.parent])
    return stand_ins.choose(made, lambda: here, lambda event: said.append(event.text)), said


def test_a_plan_that_fits_is_loaded_with_what_config_says_of_the_rest(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 1)
    text = folder.config_path.read_text()
    folder.config_path.write_text(text + "dynamic_batching { max_queue_delay_microseconds: 7 }\n")
    chosen, said = choose(folder, HERE)
    model = chosen.plan.models["tiny"]
    assert (model.instead, model.in_place_of, model.versions()) == (2, 1, [2])
    assert model.override is not None
    assert model.override.backend == "tensorrt"
    assert model.override.serves([1, 2]) == [2]
    assert model.override.dynamic_batching is not None
    assert said == [
        "tiny: plan 2 serves in place of version 1 (TensorRT 10.5.0, NVIDIA A100)",
    ]


def test_on_a_cpu_nobody_is_told_of_plans_that_nobody_wants(folder: ModelFolder) -> None:
    chosen, said = choose(folder, ELSEWHERE)
    assert (chosen.plan.models["tiny"].override, said) == (None, [])


def test_a_plan_that_the_builder_wants_is_named_with_its_command(tmp_path: Path) -> None:
    folder = plan_versions.onnx_version(tmp_path, "tiny", 1, engine=EngineEntry())
    chosen, said = choose(folder, ELSEWHERE)
    assert chosen.lacking == ["tiny"]
    assert said == [
        "from ONNX, because no TensorRT plan is there for this machine (no GPU): tiny; it is built"
        " where the GPU is, by modelport plan tiny"
    ]
    plan_versions.onnx_version(tmp_path, "other", 1)
    assert choose(folder, HERE)[0].lacking == ["other", "tiny"]


def test_a_plan_that_does_not_fit_gives_way_to_its_onnx_version(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 2)
    assert choose(folder, HERE)[0].plan.models["tiny"].override is None
    chosen, said = choose(folder, ELSEWHERE)
    model = chosen.plan.models["tiny"]
    assert (model.instead, model.in_place_of) == (1, 2)
    assert model.override is not None
    assert model.override.backend == "onnxruntime"
    assert said == [
        "tiny: plan 2 is refused: built for TensorRT 10.5.0 on NVIDIA A100 (sm_80); this machine"
        " has no GPU; version 1 serves in its place"
    ]


def test_without_its_onnx_version_a_plan_is_refused_by_name(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 2)
    (folder.version_dir(1) / "manifest.json").unlink()
    chosen, _ = choose(folder, ELSEWHERE)
    failure = chosen.refused["tiny"]
    assert "built for TensorRT 10.5.0 on NVIDIA A100 (sm_80)" in failure.reason
    assert failure.cause is not None
    assert failure.cause.startswith("version 1, from which it comes, is gone")


def test_a_plan_that_nobody_proved_is_judged_by_its_head(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 2)
    (folder.version_dir(2) / "manifest.json").unlink()
    head = b"ftrt" + bytes(20) + bytes((10, 5, 0, 18)) + bytes(8)
    (folder.version_dir(2) / "model.plan").write_bytes(head)
    assert choose(folder, HERE)[0].refused == {}
    newer = Place(HERE.gpu, "10.16.1")
    assert "built for TensorRT 10.5.0" in choose(folder, newer)[0].refused["tiny"].reason
    assert "needs a GPU" in choose(folder, ELSEWHERE)[0].refused["tiny"].reason


def test_a_version_that_others_call_by_its_number_stays(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 1)
    over = folder.path.parent / "over"
    (over / "1").mkdir(parents=True)

    def write(version: int) -> None:
        step = (
            f'step {{ model_name: "tiny" model_version: {version}'
            ' input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }'
        )
        (over / "config.pbtxt").write_text(
            'name: "over" platform: "ensemble" max_batch_size: 8\n'
            'input { name: "x" data_type: TYPE_FP32 dims: 2 }\n'
            'output { name: "y" data_type: TYPE_FP32 dims: 2 }\n'
            f"ensemble_scheduling {{ {step} }}\n"
        )

    write(1)
    assert choose(folder, HERE)[0].plan.models["tiny"].instead is None
    write(-1)
    assert choose(folder, HERE)[0].plan.models["tiny"].instead == 2


def test_what_is_loaded_instead_must_be_signed_too(folder: ModelFolder, tmp_path: Path) -> None:
    key = tmp_path / "team.key"
    trusted = [keys.generate(key).path]
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 1)
    signing.sign(folder.path.parent, [(folder, 1)], key)
    chosen, _ = choose(folder, HERE)
    admission.check([folder], trusted)
    with pytest.raises(IntegrityError, match="nobody has signed"):
        admission.check_stand_ins(chosen.plan.stand_ins(), trusted)


def test_the_version_of_tensorrt_is_that_of_the_library_that_would_be_loaded(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, version in ((first, "10.5.0"), (second, "10.16.1")):
        folder.mkdir()
        (folder / f"libnvinfer.so.{version}").touch()
        (folder / "libnvinfer.so.10").symlink_to(f"libnvinfer.so.{version}")
        (folder / "libnvinfer_plugin.so.9.9.9").touch()
    assert accelerator.library_version([tmp_path / "gone", first, second]) == "10.5.0"
    assert accelerator.library_version([second]) == "10.16.1"
    assert accelerator.library_version([tmp_path]) is None
