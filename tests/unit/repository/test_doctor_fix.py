"""`doctor --fix`: mends what is safe, touches nothing else, and loses nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from modelport.cli.doctor import command
from modelport.cli.output import Output
from modelport.errors import ConfigError
from modelport.repository import doctor, edits, pbtxt
from modelport.repository.doctor import Machine, mending, repair
from modelport.repository.doctor.repair import DropField, SetField

BROKEN = Path(__file__).parents[2] / "broken"
MACHINE = Machine(cores=4, gpus=0)
# Broken folders whose fault has one right answer; afterwards nothing is found in them.
MENDED = (
    "batching_without_batches",
    "cache_for_decoupled",
    "cache_of_python_model",
    "cache_of_sampling_code",
    "ensemble_step_without_version",
    "ensemble_with_instances",
    "gpus_on_cpu",
    "ignore_of_nothing",
    "name_differs",
    "warmup_never_runs",
)


def copied(case: str, folder: Path) -> Path:
    repository = folder / "repository"
    shutil.copytree(BROKEN / case / "repository", repository)
    return repository


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], obj=Output())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("case", MENDED)
def test_what_is_safe_is_mended_and_comments_stay(case: str, tmp_path: Path) -> None:
    repository = copied(case, tmp_path)
    (config,) = {finding.path for finding in doctor.check(repository, machine=MACHINE)}
    config.write_text("# Kept.\n" + config.read_text() + "# Kept too.\n")
    findings = doctor.check(repository, machine=MACHINE)
    plan = mending.plan(findings)
    assert plan.changes
    mending.carry_out(repository, plan.changes)
    assert doctor.check(repository, machine=MACHINE) == []
    lines = config.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("# Kept.", "# Kept too.")


def test_a_dry_run_shows_the_difference_and_changes_nothing(tmp_path: Path) -> None:
    repository = copied("warmup_never_runs", tmp_path)
    before = contents(repository)
    result = run("--fix", "--dry-run", repository)
    assert contents(repository) == before
    assert "+model_warmup" in result.stdout
    assert "batch_size: 1 }" in result.stdout
    assert "MP208" in result.stdout, "what is not mended yet is still reported"
    assert run("--fix", repository).stdout.endswith("1 model, no problems\n")
    changed = {name for name, data in contents(repository).items() if before.get(name) != data}
    assert changed <= {"adder/config.pbtxt", ".modelport.lock"}


def test_a_dry_run_needs_fix(tmp_path: Path) -> None:
    assert run("--dry-run", copied("healthy", tmp_path)).exit_code == 2


def test_json_names_what_changes(tmp_path: Path) -> None:
    repository = copied("gpus_on_cpu", tmp_path)
    document = json.loads(run("--fix", "--dry-run", "--json", repository).stdout)
    (change,) = document["changes"]
    assert change["rules"] == ["MP213"]
    assert document["findings"][0]["fixable"]


def test_a_config_that_a_builder_writes_is_left_to_it(tmp_path: Path) -> None:
    repository = copied("gpus_on_cpu", tmp_path)
    config = repository / "adder" / "config.pbtxt"
    edits.write(config, pbtxt.read(config), builder="builders/adder.py")
    before = contents(repository)
    result = run("--fix", repository)
    assert contents(repository) == before
    assert "builders/adder.py: mend it there" in result.stderr
    # Edited by hand, it belongs to who edited it, and stays theirs.
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 4"))
    run("--fix", repository)
    assert "gpus" not in config.read_text()
    assert "max_batch_size: 4" in config.read_text()
    assert edits.hand_edited(config)


def test_an_ensemble_gets_the_folder_that_git_cannot_hold(tmp_path: Path) -> None:
    repository = copied("healthy_ensemble", tmp_path)
    shutil.rmtree(repository / "twice" / "1")
    (finding,) = doctor.check(repository, machine=MACHINE)
    assert finding.rule == "MP106"
    assert run("--fix", repository).exit_code == 0
    assert (repository / "twice" / "1").is_dir()


def test_only_bytecode_is_removed(tmp_path: Path) -> None:
    repository = copied("healthy", tmp_path)
    folder = repository / "__pycache__"
    folder.mkdir()
    (folder / "model.cpython-311.pyc").write_bytes(b"")
    (folder / "notes.txt").write_text("not bytecode")
    (finding,) = doctor.check(repository, machine=MACHINE)
    assert (finding.rule, finding.repairs) == ("MP111", ())
    (folder / "notes.txt").unlink()
    assert run("--fix", repository).exit_code == 0
    assert not folder.exists()


def test_a_file_that_changes_meanwhile_stays_as_its_writer_left_it(tmp_path: Path) -> None:
    repository = copied("gpus_on_cpu", tmp_path)
    plan = mending.plan(doctor.check(repository, machine=MACHINE))
    config = repository / "adder" / "config.pbtxt"
    config.write_text(config.read_text() + "# more\n")
    with pytest.raises(ConfigError, match="changed meanwhile"):
        mending.carry_out(repository, plan.changes)
    assert config.read_text().endswith("# more\n")


LAYOUTS = (
    "a: 1\ninstance_group [ { count: 1 gpus: [ 0, 1 ] }, { gpus: 2 gpus: 3 } ]\nb: 2\n",
    "instance_group {\n  gpus: [ 0 ]  # first\n  count: 1\n}\ninstance_group <gpus: 0>\n",
    "instance_group { count: 2; gpus: [ 0 ]; }\r\ninstance_group {\r\n  gpus: 1\r\n}\r\n",
)


@pytest.mark.parametrize("text", LAYOUTS)
def test_a_field_is_dropped_wherever_and_however_it_is_written(text: str) -> None:
    once = repair.apply(text, [DropField("instance_group[0].gpus")])
    assert repair.apply(text, [DropField("instance_group[0].gpus")] * 2) == once
    twice = repair.apply(once, [DropField("instance_group[1].gpus")])
    assert "gpus" in once
    assert "gpus" not in twice
    assert twice.count("count") == text.count("count")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ('step { model_name: "a" }', 'step { model_name: "a" model_version: -1 }'),
        ("step {\n  x: 1\n}\n", "step {\n  x: 1\n  model_version: -1\n}\n"),
        ("step { model_version: 0 x: 1 }", "step { model_version: -1 x: 1 }"),
        ("step {}", "step { model_version: -1 }"),
        ("other: 1", "other: 1"),
    ],
)
def test_a_field_is_set_where_it_stands_or_put_where_it_belongs(text: str, mended: str) -> None:
    assert repair.apply(text, [SetField("step[0].model_version", "-1")]) == mended


@given(st.lists(st.sampled_from(["count", "gpus", "kind", "name"]), max_size=8), st.data())
def test_dropping_a_field_keeps_all_others(names: list[str], data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.sampled_from([" ", "\n", ", ", ";\n", " # x\n"]), min_size=8))
    body = "".join(f"{name}: {index}{ends[index]}" for index, name in enumerate(names))
    mended = repair.apply(f"group {{\n{body}\n}}\n", [DropField("group.gpus")])
    kept = [(name, index) for index, name in enumerate(names) if name != "gpus"]
    assert "gpus" not in mended
    assert all(f"{name}: {index}" in mended for name, index in kept)
    assert mended.count("#") == sum("#" in end for end in ends[: len(names)])
