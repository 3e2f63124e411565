"""The order of loading, and what hangs on what."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.errors import RepositoryError
from modelport.runtime import plan


def _write(repository: Path, name: str, *parts: str, text: str = 'backend: "python"') -> None:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    steps = "".join(
        f'step {{ model_name: "{part}" model_version: -1 '
        'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }'
        for part in parts
    )
    scheduling = f'platform: "ensemble" ensemble_scheduling {{ {steps} }}' if parts else text
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\n{scheduling}\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 1 }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
    )


def test_parts_come_before_the_ensembles_over_them(tmp_path: Path) -> None:
    _write(tmp_path, "a_outer", "b_inner", "d_part")
    _write(tmp_path, "b_inner", "c_part")
    _write(tmp_path, "c_part")
    _write(tmp_path, "d_part")
    made = plan.make([tmp_path])
    assert made.waves() == [["c_part", "d_part"], ["b_inner"], ["a_outer"]]
    assert made.users("c_part") == ["b_inner", "a_outer"]
    assert made.users("d_part") == ["a_outer"]
    assert made.users("a_outer") == []


def test_a_wanted_ensemble_brings_its_parts(tmp_path: Path) -> None:
    _write(tmp_path, "whole", "part")
    _write(tmp_path, "part")
    _write(tmp_path, "other")
    assert list(plan.make([tmp_path], ["whole"]).models) == ["part", "whole"]


def test_a_part_that_is_not_there_is_left_to_triton(tmp_path: Path) -> None:
    _write(tmp_path, "whole", "absent")
    assert plan.make([tmp_path]).waves() == [["whole"]]


def test_ensembles_of_one_another_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a", "b")
    _write(tmp_path, "b", "a")
    with pytest.raises(RepositoryError, match="a, b are made of one another"):
        plan.make([tmp_path]).waves()


def test_a_name_in_two_repositories_is_refused(tmp_path: Path) -> None:
    for repository in ("one", "two"):
        _write(tmp_path / repository, "m")
    with pytest.raises(RepositoryError, match="'m' is in"):
        plan.make([tmp_path / "one", tmp_path / "two"])


@pytest.mark.parametrize(
    ("text", "complete"), [('backend: "python"', True), ("max_batch_size: 4", False)]
)
def test_auto_completion_is_off_only_when_every_config_is_complete(
    tmp_path: Path, text: str, complete: bool
) -> None:
    _write(tmp_path, "sure")
    _write(tmp_path, "m", text=text)
    assert plan.make([tmp_path]).complete is complete


def test_python_versions_without_code_are_found(tmp_path: Path) -> None:
    _write(tmp_path, "m")
    (model,) = plan.make([tmp_path]).models.values()
    assert model.lacking_code() == [1]
    (tmp_path / "m" / "1" / "model.py").touch()
    assert model.lacking_code() == []
