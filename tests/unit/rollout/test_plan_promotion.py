"""A plan as the version that shall serve, where no server can try it."""

from __future__ import annotations

import plan_versions

from modelport.repository.layout import Repository
from modelport.repository.settings import Settings
from modelport.rollout import change, cleaning, trial


def test_a_plan_for_another_machine_stands_against_its_promotion(repository: Repository) -> None:
    """There is no GPU where tests run; --force overrules it, for servers that have one."""
    folder = plan_versions.onnx_version(repository.path, "tiny", 1)
    plan_versions.plan_version(folder, 2, of=1)
    target = change.target(repository, "tiny", 2)
    found = trial.run(target, Settings.read(repository.path), lambda _: None)
    assert found.objections == [
        "tiny 2 is a plan that cannot be tried here: built for TensorRT 10.5.0 on NVIDIA A100"
        " (sm_80); this machine has no GPU"
    ]


def test_what_a_kept_plan_falls_back_to_stays(repository: Repository) -> None:
    folder = plan_versions.onnx_version(repository.path, "tiny", 1)
    for version in (2, 3):
        plan_versions.onnx_version(repository.path, "tiny", version, factor=version)
    plan_versions.plan_version(folder, 4, of=1)
    plan_versions.plan_version(folder, 5, of=2)
    plan_versions.pin(folder, 4)
    found = cleaning.look(repository, keep=1)
    assert [(one.model, one.version) for one in found.removable] == [("tiny", 2), ("tiny", 5)]
    assert found.kept["tiny", 1] == "what serves where plan 4 does not fit"
    assert found.kept["tiny", 3] == "one of the 1 newest"
