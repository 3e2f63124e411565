"""SARIF: what GitHub and editors read of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modelport.cli.doctor import command
from modelport.cli.output import Output
from modelport.repository import doctor
from modelport.repository.doctor import Machine, sarif, server_options

BROKEN = Path(__file__).parents[2] / "broken"
MACHINE = Machine(cores=4, gpus=0)
LEVELS = {"none", "note", "warning", "error"}


def log(case: str, options: str | None = None) -> dict[str, Any]:
    started = server_options.read(options) if options else None
    report = doctor.examine(BROKEN / case / "repository", machine=MACHINE, options=started)
    found: dict[str, Any] = json.loads(json.dumps(sarif.log(report, base=BROKEN)))
    return found


def only_result(case: str, options: str | None = None) -> dict[str, Any]:
    (run,) = log(case, options)["runs"]
    (result,) = run["results"]
    return dict(result)


def test_every_rule_is_described() -> None:
    (run,) = log("healthy")["runs"]
    driver = run["tool"]["driver"]
    assert log("healthy")["version"] == "2.1.0"
    assert run["results"] == []
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in doctor.RULES]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"].endswith(".")
        assert "**Fix:**" in rule["help"]["markdown"]
        assert rule["defaultConfiguration"]["level"] in LEVELS
        assert rule.get("helpUri", "https://").startswith("https://")


def test_rules_that_rest_on_a_file_or_an_issue_point_at_it() -> None:
    addresses = {rule.id: rule.url for rule in doctor.RULES}
    server = "https://github.com/triton-inference-server/server"
    assert addresses["MP102"] == f"{server}/blob/main/docs/user_guide/model_repository.md"
    assert addresses["MP218"] == f"{server}/issues/8586"
    assert addresses["MP702"] == f"{server}/issues/7489"
    assert addresses["MP217"] is None


def test_a_result_points_at_its_line() -> None:
    (run,) = log("warmup_never_runs")["runs"]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("MP208", "warning")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "MP208"
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {
        "uri": "warmup_never_runs/repository/adder/config.pbtxt",
        "uriBaseId": "SRCROOT",
    }
    assert physical["region"] == {"startLine": 5}
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"] == f"{BROKEN.resolve().as_uri()}/"
    logical = result["locations"][0]["logicalLocations"][0]
    assert logical["fullyQualifiedName"] == "adder.model_warmup[0].batch_size"


def test_a_fix_is_the_edit_that_the_command_makes() -> None:
    result = only_result("gpus_on_cpu")
    ((change,),) = (fix["artifactChanges"] for fix in result["fixes"])
    text = (BROKEN / "gpus_on_cpu" / "repository" / "adder" / "config.pbtxt").read_text()
    (replacement,) = change["replacements"]
    region = replacement["deletedRegion"]
    deleted = text[region["charOffset"] :][: region["charLength"]]
    assert deleted.split() == ["gpus:", "[", "0", "]"]
    assert replacement["insertedContent"] == {"text": ""}


def test_what_is_ignored_is_suppressed_with_its_reason() -> None:
    (run,) = log("healthy_ignore")["runs"]
    reasons = {
        result["ruleId"]: result["suppressions"][0]["justification"] for result in run["results"]
    }
    assert reasons == {
        "MP212": "it serves on machines with GPUs",
        "MP503": "the sender in streaming.answer gives the replies",
    }


def test_start_options_have_a_place_of_their_own(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text("services:\n  triton:\n    command: tritonserver --strict-readiness=false\n")
    result = only_result("healthy", f"@{compose}")
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {"uri": compose.as_uri()}
    assert physical["region"] == {"startLine": 3}
    assert "logicalLocations" not in result["locations"][0]


def test_names_that_an_address_cannot_hold_are_quoted(tmp_path: Path) -> None:
    config = tmp_path / "ein Modell ü" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text("nonsense")
    report = doctor.examine(tmp_path, machine=MACHINE)
    (run,) = sarif.log(report, base=tmp_path)["runs"]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "ein%20Modell%20%C3%BC/config.pbtxt"


@pytest.mark.parametrize("form", ["sarif", "json"])
def test_the_command_prints_one_document_and_keeps_its_exit_code(form: str) -> None:
    repository = BROKEN / "preferred_batch_too_large" / "repository"
    result = CliRunner().invoke(command, ["--format", form, str(repository)], obj=Output())
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    found = document["runs"][0]["results"] if form == "sarif" else document["findings"]
    assert len(found) == 1
