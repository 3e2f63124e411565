"""What a promotion would change, and what stands against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from policies import pin

from modelport import cli
from modelport.errors import IntegrityError, RepositoryError
from modelport.repository.layout import Repository
from modelport.repository.settings import Settings
from modelport.rollout import history, outlook
from modelport.rollout.history import Switched

Publish = Callable[..., None]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.command, [str(a) for a in arguments], prog_name="modelport")


def told(repository: Repository, *arguments: str) -> str:
    result = run("diff", *arguments, "--repository", repository.path)
    assert result.exit_code == 0, result.output
    return result.stdout


def entry(repository: Repository, action: str, before: int, after: int, reason: str = "") -> None:
    _, text = history.appended(
        repository.path,
        action=action,  # type: ignore[arg-type]
        model="m",
        version=after,
        changes={"m": Switched(before=[before], after=after)},
        reason=reason,
    )
    (repository.path / history.FILE_NAME).write_text(text)


@pytest.fixture
def waiting(repository: Repository, publish: Publish) -> Repository:
    """Version 1 serves, version 2 is a little better."""
    publish("m", 1, accuracy=0.9)
    publish("m", 2, accuracy=0.95)
    pin(repository, m=1)
    return repository


def test_what_serves_is_compared_with_the_newest(waiting: Repository) -> None:
    (one,) = outlook.pending(waiting)
    assert (one.model, one.served, one.after.version) == ("m", (1,), 2)
    assert one.before is not None
    assert one.before.figures == {"accuracy": (0.9, None)}
    assert one.after.figures == {"accuracy": (0.95, None)}
    assert one.gates == {"accuracy": ">= 0.5"}
    assert outlook.advice(waiting, [one]) == [outlook.Advice("m", 2)]
    assert told(waiting, "--format", "list") == "m 2\n"


def test_where_the_newest_serves_nothing_waits(waiting: Repository) -> None:
    pin(waiting, m=2)
    assert outlook.pending(waiting) == []
    assert "of each model the newest proven version serves" in told(waiting)
    assert "Nothing: of each model" in told(waiting, "--format", "markdown")
    assert "m: the newest proven version serves" in told(waiting, "m")
    assert told(waiting, "--format", "list") == ""


def test_without_promotions_the_newest_serves_and_waits_for_nobody(
    repository: Repository, publish: Publish
) -> None:
    publish("m", 1)
    publish("m", 2)
    assert outlook.pending(repository) == []


def test_the_first_version_is_new_and_needs_no_promotion(
    repository: Repository, publish: Publish
) -> None:
    publish("m", 1, accuracy=0.9)
    (one,) = outlook.pending(repository)
    assert one.is_new
    assert one.before is None
    assert outlook.advice(repository, [one]) == []
    assert "| `m` | 1 | `accuracy` 0.9, gate >= 0.5 | " in told(repository, "--format", "markdown")
    assert "nothing to compare with" in told(repository, "m")


def test_a_version_that_is_worse_is_marked_and_left_out(waiting: Repository) -> None:
    pin(waiting, m=2)
    (waiting.folder("m").version_dir(1)).rename(waiting.folder("m").version_dir(3))
    manifest = waiting.folder("m").version_dir(3) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 3'))
    table = told(waiting, "--format", "markdown")
    assert "✗ `accuracy` is worse by 0.05, allowed is 0.005" in table
    result = run("diff", "--format", "list", "--repository", waiting.path)
    assert result.stdout == ""
    assert "m 3 is left out: m: accuracy is 0.9 in version 3 and 0.95" in result.stderr
    (waiting.path / "modelport.toml").write_text("[models.m]\nmost_worse = 0.1\n")
    assert told(waiting, "--format", "list") == "m 3\n"


def test_what_was_rolled_back_does_not_come_again_by_itself(waiting: Repository) -> None:
    entry(waiting, "promote", 1, 2)
    entry(waiting, "rollback", 2, 1, "slow at night | <b>")
    (one,) = outlook.pending(waiting)
    assert one.rolled_back == "slow at night | <b>"
    result = run("diff", "--format", "list", "--repository", waiting.path)
    assert result.stdout == ""
    assert "m 2 is left out: m 2 was rolled back: slow at night" in result.stderr
    table = told(waiting, "--format", "markdown")
    assert "✗ was rolled back: <code>slow at night &#124; &#60;b&#62;</code> |" in table
    # Until somebody means it all the same.
    entry(waiting, "promote", 1, 2)
    assert outlook.pending(waiting)[0].rolled_back is None


def test_parts_come_along_with_what_runs_them(family: Repository) -> None:
    pin(family, part_a=1, part_b=1, whole=1, other=1)
    compared = outlook.pending(family)
    assert [one.model for one in compared] == ["other", "part_a", "part_b", "whole"]
    assert told(family, "--format", "list") == "other 2\nwhole 2\n"


def test_what_no_other_model_fits_is_left_out(family: Repository, publish: Publish) -> None:
    pin(family, part_a=2, part_b=2, whole=2, other=2)
    publish("part_a", 3, accuracy=0.9)
    publish("whole", 3, {"part_a": 3, "part_b": 2})
    result = run("diff", "--format", "list", "--repository", family.path)
    assert result.stdout == ""
    assert "whole 3 is left out: other runs part_a 3 too" in result.stderr


def test_other_data_is_said_and_not_counted(repository: Repository, publish: Publish) -> None:
    publish("m", 1, accuracy=0.9)
    publish("m", 2, accuracy=0.6, data="f" * 64)
    pin(repository, m=1)
    table = told(repository, "--format", "markdown")
    assert "0.9 → 0.6, gate" in table
    assert "measured on other data: not compared" in table
    assert told(repository, "--format", "list") == "m 2\n"


def test_a_version_without_a_proof_is_no_candidate(waiting: Repository) -> None:
    (waiting.folder("m").version_dir(2) / "manifest.json").unlink()
    assert outlook.pending(waiting) == []
    (waiting.folder("m").version_dir(1) / "manifest.json").rename(
        waiting.folder("m").version_dir(2) / "manifest.json"
    )
    manifest = waiting.folder("m").version_dir(2) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    assert "what serves was never proven" in told(waiting, "--format", "markdown")


def test_the_table_and_the_list_in_json(waiting: Repository) -> None:
    (one,) = json.loads(told(waiting, "--json"))["models"]
    assert (one["model"], one["serves"], one["new"], one["worse"]) == ("m", [1], False, [])
    assert one["after"]["figures"] == {"accuracy": {"value": 0.95, "low": None, "high": None}}
    detail = json.loads(told(waiting, "m", "--json"))
    assert (detail["before"], detail["after"]) == (1, 2)
    assert detail["figures"] == {"accuracy": [0.9, 0.95]}
    named = json.loads(told(waiting, "m", "2", "1", "--format", "json"))
    assert named["figures"] == {"accuracy": [0.95, 0.9]}


def test_two_versions_as_a_table(waiting: Repository) -> None:
    table = told(waiting, "m", "2", "1", "--format", "markdown")
    assert table.startswith("### Two versions\n")
    assert "| `m` | 2 → 1 | " in table
    assert "worse by 0.05" in table
    assert "worse by" not in told(waiting, "m", "1", "2", "--format", "markdown")


@pytest.mark.parametrize(
    "arguments", [["m", "1"], ["m", "1", "2", "--format", "list"], ["m", "0", "1"]]
)
def test_half_a_question_is_refused(waiting: Repository, arguments: list[str]) -> None:
    result = run("diff", *arguments, "--repository", waiting.path)
    assert result.exit_code == 2
    assert "Usage: modelport diff [OPTIONS] [NAME] [V1] [V2]" in result.output


def test_names_that_are_not_there_are_refused(waiting: Repository, tmp_path: Path) -> None:
    for arguments, kind in (
        (["n"], RepositoryError),
        (["m", "1", "7"], RepositoryError),
        (["--repository", str(tmp_path / "none")], RepositoryError),
    ):
        given = arguments if "--repository" in arguments else [*arguments, "--repository",
                                                               str(waiting.path)]  # fmt: skip
        assert isinstance(run("diff", *given).exception, kind)


def test_a_log_that_was_tampered_with_stops_it(waiting: Repository) -> None:
    entry(waiting, "promote", 1, 2)
    path = waiting.path / history.FILE_NAME
    path.write_text(path.read_text().replace('"after":2', '"after":1'))
    with pytest.raises(IntegrityError, match="line 1"):
        outlook.pending(waiting)


def test_of_several_that_serve_the_newest_is_compared(
    repository: Repository, publish: Publish
) -> None:
    for version in (1, 2, 3):
        publish("m", version, accuracy=0.7 + version / 10)
    one = outlook.between(repository.folder("m"), (1, 2), 3, Settings())
    assert one.before is not None
    assert one.before.version == 2
    assert one.served == (1, 2)
