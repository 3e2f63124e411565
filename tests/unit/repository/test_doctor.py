"""Each folder of tests/broken is broken in one way, and the doctor finds that one."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelport.cli.doctor import command
from modelport.cli.output import Output
from modelport.errors import RepositoryError, UnhealthyRepositoryError
from modelport.repository import doctor
from modelport.repository.doctor import Machine, rules, server_options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BROKEN = Path(__file__).parents[2] / "broken"
CASES = sorted(path.parent for path in BROKEN.glob("*/expected.toml"))
MACHINE = Machine(cores=4, gpus=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_broken_repository_yields_exactly_its_finding(case: Path) -> None:
    expected = tomllib.loads((case / "expected.toml").read_text())
    started = expected.pop("server_options", None)
    options = server_options.read(started) if started is not None else None
    findings = doctor.examine(case / "repository", machine=MACHINE, options=options).findings
    assert len(findings) == bool(expected), findings
    for finding in findings:
        got = {**vars(finding), "path": str(finding.path)}
        assert {name: got[name] for name in expected} == expected
        assert finding.severity == expected.get("severity", "error")
        assert finding.why
        assert finding.fix


def test_every_rule_about_text_files_has_its_broken_folder() -> None:
    shown = {tomllib.loads((c / "expected.toml").read_text()).get("rule") for c in CASES}
    # What does not lie well in git, or depends on the machine, is made by the tests themselves.
    elsewhere = {"MP001", "MP214", "MP602", "MP603", "MP606", "MP703"}
    assert {r.id for r in doctor.RULES if not r.id.startswith("MP3")} == (
        shown - {None}
    ) | elsewhere


def test_the_doctor_runs_without_what_runs_networks() -> None:
    program = (
        "import sys; from pathlib import Path; from modelport.repository import doctor; "
        f"doctor.check(Path({str(BROKEN / 'healthy_ensemble' / 'repository')!r})); "
        "print(*({'torch', 'onnxruntime', 'onnx', 'sklearn', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_rule_ids_are_unique_and_in_order() -> None:
    ids = [rule.id for rule in doctor.RULES]
    assert ids == sorted(set(ids))


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    repository = tmp_path / "repository"
    shutil.copytree(BROKEN / "healthy" / "repository", repository)
    return repository


def test_instances_and_threads_beyond_the_cores(healthy: Path) -> None:
    config = healthy / "adder" / "config.pbtxt"
    text = config.read_text().replace('"python"', '"onnxruntime"')
    (healthy / "adder" / "1" / "model.py").unlink()
    threads = 'parameters { key: "intra_op_thread_count" value { string_value: "3" } }\n'
    config.write_text(text + threads + "instance_group { kind: KIND_CPU count: 2 }\n")
    found = [f for f in doctor.check(healthy, machine=MACHINE) if f.rule == "MP214"]
    assert [(f.severity, f.field, f.expected, f.got) for f in found] == [
        (
            "warning",
            "parameters.intra_op_thread_count",
            "at most 4 threads on 4 cores",
            "2 instances with 3 threads",
        )
    ]
    assert not [
        f for f in doctor.check(healthy, machine=Machine(cores=6, gpus=0)) if f.rule == "MP214"
    ]


def test_a_gpu_that_is_there_is_no_finding(healthy: Path) -> None:
    config = healthy / "adder" / "config.pbtxt"
    config.write_text(config.read_text() + "instance_group { kind: KIND_GPU gpus: [ 0, 1 ] }\n")
    assert not doctor.check(healthy, machine=Machine(cores=4, gpus=2))
    (finding,) = doctor.check(healthy, machine=Machine(cores=4, gpus=1))
    assert (finding.rule, finding.expected) == ("MP212", "GPU 1 on this machine")


def test_a_rule_that_crashes_is_a_finding_and_hides_no_other(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(subject: object) -> None:
        raise RuntimeError("boom")

    crashing = tuple(
        dataclasses.replace(rule, check=crash) if rule.id == "MP104" else rule
        for rule in rules.MODEL_RULES
    )
    monkeypatch.setattr(rules, "MODEL_RULES", crashing)
    config = healthy / "adder" / "config.pbtxt"
    config.write_text(config.read_text() + 'name: "other"\n')
    findings = doctor.check(healthy, machine=MACHINE)
    assert [(f.rule, f.field, f.got) for f in findings] == [
        ("MP001", "MP104", "RuntimeError: boom"),
        ("MP103", "name", "other"),
    ]


def test_unreadable_things_are_findings_not_crashes(healthy: Path) -> None:
    (healthy / "adder" / "config.pbtxt").write_bytes(b"\xff\xfe\x00")
    (healthy / "adder" / "1" / "model.py").write_bytes(b"\x00\xff")
    (healthy / "empty").mkdir()
    (healthy / "config_is_a_folder" / "config.pbtxt").mkdir(parents=True)
    (healthy / "dangling").mkdir()
    (healthy / "dangling" / "config.pbtxt").symlink_to("nowhere")
    findings = doctor.check(healthy, machine=MACHINE)
    assert {(f.model, f.rule) for f in findings} == {
        ("adder", "MP101"),
        ("empty", "MP102"),
        ("config_is_a_folder", "MP102"),
        ("dangling", "MP102"),
    }


def test_names_limit_the_report_and_unknown_ones_are_refused() -> None:
    repository = BROKEN / "ensemble_with_instances" / "repository"
    assert doctor.check(repository, names=["adder"], machine=MACHINE) == []
    assert len(doctor.check(repository, names=["twice", "twice"], machine=MACHINE)) == 1
    with pytest.raises(RepositoryError, match="did you mean adder"):
        doctor.check(repository, names=["ader"])
    with pytest.raises(RepositoryError, match="no such model repository"):
        doctor.check(repository / "nowhere")


def _run(*arguments: str) -> tuple[object, str]:
    result = CliRunner().invoke(command, arguments, obj=Output(), catch_exceptions=True)
    return result.exception, result.stdout


def test_the_command_says_that_all_is_well() -> None:
    error, stdout = _run(str(BROKEN / "healthy_ensemble" / "repository"))
    assert (error, stdout) == (None, "2 models, no problems\n")
    error, stdout = _run("--repository", str(BROKEN / "healthy_ensemble" / "repository"), "adder")
    assert (error, stdout) == (None, "1 model, no problems\n")


def test_the_command_raises_after_showing_the_findings() -> None:
    repository = BROKEN / "preferred_batch_too_large" / "repository"
    error, stdout = _run(str(repository))
    assert isinstance(error, UnhealthyRepositoryError)
    assert error.exit_code == 1
    for part in ("MP203", "adder", "dynamic_batching.preferred_batch_size[1]", "got       16"):
        assert part in stdout
    error, stdout = _run("--json", str(repository))
    report = json.loads(stdout)
    assert report["models"] == 1
    assert report["findings"][0]["rule"] == "MP203"
    assert report["findings"][0]["path"].endswith("adder/config.pbtxt")


def test_warnings_alone_are_no_failure() -> None:
    error, stdout = _run(str(BROKEN / "batching_without_batches" / "repository"))
    assert error is None
    assert "MP204" in stdout
