"""Which plans fit a machine, and how they are found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import plan_versions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_versions import A100, H100, HERE

from modelport.repository import doctor, keys, plans, signing, trust
from modelport.repository.doctor import Machine
from modelport.repository.gpus import Gpu
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import EngineEntry, Manifest, PlanEntry
from modelport.repository.plans import Key, Place
from modelport.repository.stores import open_store
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.spec.precision import Plan

NUMBERS = st.integers(0, 20)
VERSIONS = st.tuples(st.integers(1, 11), NUMBERS, NUMBERS).map(lambda v: ".".join(map(str, v)))
CAPABILITIES = st.sampled_from(["7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"])


def entry(tensorrt: str = "10.5.0", capability: str = "8.0", **options: object) -> PlanEntry:
    return PlanEntry(
        library="tensorrt",
        tensorrt=tensorrt,
        compute_capability=capability,
        gpu="GPU",
        onnx_sha256="0" * 64,
        graph_sha256="0" * 64,
        options=EngineEntry.model_validate(options),
        profile={"x": ([1, 2], [4, 2], [8, 2])},
    )


def place(tensorrt: str, capability: str) -> Place:
    return Place(Gpu("GPU", capability), tensorrt)


@given(VERSIONS, CAPABILITIES, VERSIONS, CAPABILITIES)
def test_a_plain_plan_fits_its_own_tensorrt_and_gpu_alone(
    built: str, capability: str, have: str, here: str
) -> None:
    fits = not plans.misfit(entry(built, capability), place(have, here))
    assert fits == ((built, capability) == (have, here))
    assert not plans.misfit(entry(built, capability), place(built, capability))


@given(VERSIONS, VERSIONS)
def test_a_version_compatible_plan_runs_on_later_ones_of_its_major_version(
    built: str, have: str
) -> None:
    def numbers(version: str) -> list[int]:
        return [int(n) for n in version.split(".")]

    fits = not plans.misfit(entry(built, version_compatible=True), place(have, "8.0"))
    same_major = numbers(built)[0] == numbers(have)[0]
    assert fits == (same_major and numbers(have) >= numbers(built))


@pytest.mark.parametrize(("here", "fits"), [("7.5", False), ("8.0", True), ("10.0", True)])
def test_a_hardware_compatible_plan_runs_since_ampere(here: str, fits: bool) -> None:
    plan = entry(capability="8.6", hardware_compatible=True)
    assert (not plans.misfit(plan, place("10.5.0", here))) == fits


def test_a_build_number_that_only_one_side_says_does_not_count() -> None:
    assert not plans.misfit(entry("10.5.0"), place("10.5.0.18", "8.0"))
    assert plans.misfit(entry("10.5.0.26"), place("10.5.0.18", "8.0"))


@pytest.mark.parametrize(
    ("here", "words"),
    [
        (Place(), "built for TensorRT 10.5.0 on GPU (sm_80); this machine has no GPU"),
        (Place(H100, "10.5.0"), "this machine has TensorRT 10.5.0 and NVIDIA H100 (sm_90)"),
        (Place(A100), "this machine has no TensorRT and NVIDIA A100 (sm_80)"),
    ],
)
def test_a_refusal_names_what_was_wanted_and_what_there_is(here: Place, words: str) -> None:
    assert words in plans.misfit(entry(), here)


def test_an_engine_of_another_library_is_no_plan() -> None:
    other = entry().model_copy(update={"library": "tensorrt_rtx"})
    assert plans.misfit(other, HERE) == "an engine of tensorrt_rtx, which Triton cannot load"


def test_a_configuration_with_larger_batches_than_the_profile_is_refused() -> None:
    config = plan_versions.config("tiny")
    assert not plans.misfit(entry(), HERE, config)
    wider = dataclasses.replace(config, max_batch_size=16)
    assert plans.misfit(entry(), HERE, wider).startswith("built for batches up to 8;")


def test_what_a_builder_declares_comes_back_from_a_manifest() -> None:
    plan = Plan(of="int8", batch=4, lengths={"ids": ((1, 8, 64),)}, version_compatible=True)
    kept = EngineEntry.model_validate_json(EngineEntry.declared(plan).model_dump_json())
    assert kept.plan == plan


def test_the_key_tells_options_gpus_and_libraries_apart() -> None:
    entries = [entry(), entry("10.6.0"), entry(capability="9.0"), entry(batch=4)]
    keys = [Key.of(one) for one in entries]
    assert len(set(keys)) == 4
    assert Key.of(entry()) == keys[0]


def test_the_configuration_of_a_plan_leaves_the_device_to_triton() -> None:
    config = plans.config_for_plan(plan_versions.config("tiny"))
    assert (config.backend, config.parameters) == ("tensorrt", {})
    assert [(group.kind, group.count) for group in config.instance_group] == [("KIND_AUTO", 1)]
    assert config.max_batch_size == 8


# --- in a repository ----------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return plan_versions.onnx_version(tmp_path / "repository", "tiny", 1)


def stand_in(folder: ModelFolder, version: int, here: Place = HERE) -> int | None:
    found = plans.stand_in(folder, version, here, folder.config_of(version))
    return found[0] if found else None


def test_the_plan_that_fits_stands_in(folder: ModelFolder) -> None:
    assert stand_in(folder, 1) is None
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.plan_version(folder, 3, of=1, place=Place(H100, "10.5.0"))
    assert stand_in(folder, 1) == 2
    assert stand_in(folder, 1, Place(H100, "10.5.0")) == 3
    assert stand_in(folder, 1, Place(A100, "10.16.1")) is None


def test_a_plan_stands_in_for_whatever_has_its_network(folder: ModelFolder) -> None:
    """The digest of the ONNX file counts, not the number of a version."""
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.onnx_version(folder.path.parent, "tiny", 3, factor=3.0)
    plan_versions.onnx_version(folder.path.parent, "tiny", 4)
    assert [stand_in(folder, version) for version in (3, 4)] == [None, 2]


def test_of_several_plans_that_of_the_builders_wish_comes_first(tmp_path: Path) -> None:
    wish = EngineEntry(batch=4)
    folder = plan_versions.onnx_version(tmp_path, "tiny", 1, engine=wish)
    plan_versions.plan_version(folder, 2, of=1, batch=4)
    plan_versions.plan_version(folder, 3, of=1)
    assert stand_in(folder, 1) == 2
    plan_versions.plan_version(folder, 4, of=1, batch=4, hardware_compatible=True)
    assert stand_in(folder, 1) == 2


def test_a_plan_made_for_just_this_machine_comes_before_one_that_runs_anywhere(
    folder: ModelFolder,
) -> None:
    plan_versions.plan_version(folder, 2, of=1, batch=4)
    plan_versions.plan_version(folder, 3, of=1, batch=4, hardware_compatible=True)
    assert stand_in(folder, 1) == 2


def test_old_manifests_stay_readable(folder: ModelFolder) -> None:
    path = folder.version_dir(1) / "manifest.json"
    text = path.read_text().replace('  "engine": null,\n  "plan": null,\n', "")
    assert '"plan"' not in text
    path.write_text(text)
    manifest = Manifest.read(path.parent)
    assert (manifest.engine, manifest.plan) == (None, None)


def test_answers_may_differ_by_what_the_plan_of_a_part_may(tmp_path: Path) -> None:
    folder = plan_versions.onnx_version(tmp_path, "part", 1)
    plan_versions.plan_version(folder, 2, of=1)
    whole = plan_versions.onnx_version(tmp_path, "whole", 1)
    manifest = whole.manifest(1).model_copy(update={"parts": {"part": 1, "gone": 1}})
    manifest.write(whole.version_dir(1))
    assert plans.tolerance(whole, 1, {"part": [1]}).absolute == 1e-6
    assert plans.tolerance(whole, 1, {"part": [2]}).absolute == 0.01


def test_a_plan_is_signed_sent_and_fetched_as_any_version(
    folder: ModelFolder, tmp_path: Path
) -> None:
    repository = folder.path.parent
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 1)
    public = keys.generate(tmp_path / "team.key")
    signing.sign(repository, [(folder, 1), (folder, 2)], tmp_path / "team.key")
    store = open_store(str(tmp_path / "store"))
    push(repository, store)
    fetched = tmp_path / "fetched"
    pull(fetched, store)
    copy = ModelFolder(fetched / "tiny")
    assert (copy.versions(), copy.served_versions()) == ([1, 2], [1])
    assert [trust.examine(copy, v, [public], live=False).state for v in (1, 2)] == ["ok", "ok"]
    assert stand_in(copy, 1) == 2


# --- what the doctor says ------------------------------------------------------


def examined(folder: ModelFolder, gpu: Gpu | None, tensorrt: str) -> dict[str, str]:
    machine = Machine(cores=4, gpus=1 if gpu else 0, tensorrt=tensorrt, gpu=gpu)
    found = doctor.check(folder.path.parent, machine=machine)
    return {finding.rule: finding.severity for finding in found}


def test_the_doctor_holds_a_plan_against_the_machine(folder: ModelFolder) -> None:
    plan_versions.plan_version(folder, 2, of=1)
    plan_versions.pin(folder, 2)
    assert examined(folder, A100, "10.5.0") == {}
    # What `modelport serve` has something to take instead of, it serves.
    assert examined(folder, H100, "10.5.0") == {"MP313": "warning"}
    assert examined(folder, A100, "10.16.1") == {"MP310": "warning"}
    for file in folder.version_dir(1).iterdir():
        file.unlink()
    folder.version_dir(1).rmdir()
    assert examined(folder, H100, "10.5.0") == {"MP313": "error", "MP314": "warning"}
