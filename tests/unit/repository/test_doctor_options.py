"""Start options are found in whatever text holds them, and judged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelport.errors import RepositoryError
from modelport.repository import doctor
from modelport.repository.doctor import Machine, server_options

BROKEN = Path(__file__).parents[2] / "broken"
MACHINE = Machine(cores=4, gpus=0)

COMPOSE = """services:
  proxy:
    command: --listen=:80 --model-control-mod=nothing-of-ours
  triton:
    image: nvcr.io/nvidia/tritonserver:24.10-py3
    command: tritonserver --model-repository=/models --model-control-mode=explicit
      # --http-address=0.0.0.0
      --http-address=10.0.0.7 --allow-grpc false
"""
KUBERNETES = """containers:
- name: triton
  command: ["tritonserver"]
  args: ["--model-repository=s3://models/a,b", "--load-model", "*",
         "--disable-auto-complete-config", "--http-port", "8000"]
"""
LISTED = """args:
  - tritonserver
  - --model-control-mode
  - explicit
  - "--cache-config=local,size=1"
"""
SHELL = r"""docker run --gpus all --rm nvcr.io/nvidia/tritonserver:24.10-py3 \
  tritonserver --model-repository '/my models' \
  --log-verbose=1 --disable-auto-complete-config && echo done
"""


def read(text: str) -> dict[str, str]:
    return {option.name: option.value for option in server_options.parse(text)}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            COMPOSE,
            {
                "model-repository": "/models",
                "model-control-mode": "explicit",
                "http-address": "10.0.0.7",
                "allow-grpc": "false",
            },
        ),
        (
            KUBERNETES,
            {
                "model-repository": "s3://models/a,b",
                "load-model": "*",
                "disable-auto-complete-config": "",
                "http-port": "8000",
            },
        ),
        (LISTED, {"model-control-mode": "explicit", "cache-config": "local,size=1"}),
        (
            SHELL,
            {"model-repository": "/my", "log-verbose": "1", "disable-auto-complete-config": ""},
        ),
        ("", {}),
        ("--strict-readiness --http-port=1", {"strict-readiness": "", "http-port": "1"}),
        ("--id='a b' --log-info=false", {"id": "a b", "log-info": "false"}),
    ],
    ids=["compose", "kubernetes", "list", "shell", "empty", "flags", "quoted"],
)
def test_options_are_found(text: str, options: dict[str, str]) -> None:
    assert read(text) == options


def test_a_file_gives_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE)
    (finding,) = doctor.examine(
        BROKEN / "healthy" / "repository",
        machine=MACHINE,
        options=server_options.read(f"@{file}"),
    ).findings
    assert (finding.rule, finding.path, finding.line) == ("MP701", file, 8)
    assert finding.field == "--http-address"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(RepositoryError, match="No such file"):
        server_options.read("@nowhere/compose.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_this_machine_is_no_public_address(host: str) -> None:
    options = f"--model-control-mode=explicit --allow-grpc=false --http-address={host}"
    healthy = BROKEN / "healthy" / "repository"
    report = doctor.examine(healthy, machine=MACHINE, options=server_options.read(options))
    assert report.findings == []


def test_polling_wants_bytecode_beside_code(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(BROKEN / "healthy" / "repository", repository)
    options = server_options.read("--model-control-mode=poll")

    def found() -> list[tuple[str, str, str]]:
        report = doctor.examine(repository, machine=MACHINE, options=options)
        return [(f.rule, f.model, f.path.name) for f in report.findings]

    code = ("MP703", "adder", "model.py")
    assert found() == [("MP702", "", "--server-options"), code]
    (repository / "adder" / "1" / "__pycache__").mkdir()
    assert found() == [("MP702", "", "--server-options")]


def test_options_of_other_programs_are_theirs(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"{LISTED}---\nargs: [other, --listen=1, --grpc-adress=x]\n")
    healthy = BROKEN / "healthy" / "repository"
    report = doctor.examine(healthy, machine=MACHINE, options=server_options.read(f"@{file}"))
    unknown = [f.field for f in report.findings if f.rule == "MP704"]
    assert unknown == ["--grpc-adress"], "only what looks like a slip is named"
