"""``modelport build``: from builder files to published versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from modelport.build import pipeline, selection, workers
from modelport.build.steps import Built
from modelport.cli import building, judged, options
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import Board, StepPrinter
from modelport.repository import publish
from modelport.repository.layout import Repository


@click.command(name="build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.BUILDERS
@options.REPOSITORY
@click.option(
    "--data",
    type=click.Path(path_type=Path),  # some builders take a name that is no file here
    help="Your file or folder in place of the first source of the one builder file named.",
)
@click.option(
    "--choose",
    metavar="GOAL",
    help="Make and judge the variants that builders declare, and publish the best one for"
    " throughput, latency or size; or the name of one, such as int8.",
)
@click.option("--keep-config", is_flag=True, help="Keep config.pbtxt files edited by hand.")
@options.JOBS
@options.AS_JSON
@pass_output
def command(out: Output, /, **given: Any) -> None:
    """Train, export, prove and publish models; what is unchanged is skipped.

    NAME is a model or the stem of a builder file. Without one, or with `all`, every builder
    file is built, but for those that say `BY_NAME_ONLY = True`.

    Builder files are built side by side, each in a process of its own; one that fails leaves
    the others alone. With --choose they are built one after the other, so that none is timed
    while another trains.
    """
    chosen = selection.chosen(given["builders"], given["names"])
    if given["data"] and len(chosen) != 1:
        raise click.UsageError(
            f"--data is for one builder file, not {len(chosen)}: modelport build NAME --data PATH"
        )
    built, failures = _build(out, chosen, given)
    _show(out, built, given)
    if failures:
        raise building.gathered(failures, len(chosen), "built")


def _build(
    out: Output, chosen: Sequence[Path], given: dict[str, Any]
) -> tuple[list[Built], list[tuple[str, Exception]]]:
    """Build the files that have changed; gives all models, and what went wrong by file."""
    repository: Path = given["repository"]
    publish.finish(repository)
    target = Repository(repository)
    anew = given["data"] or given["choose"]
    built = {p: [] if anew else pipeline.unchanged(p, target) for p in chosen}
    changed = [path for path, models in built.items() if not models]
    side_by_side = workers.count(given["jobs"])
    if len(changed) == 1 or given["jobs"] == 1 or given["choose"]:
        return _build_here(out, built, given)
    jobs = [
        workers.Job(str(path), str(repository), keep_edits=given["keep_config"]) for path in changed
    ]
    failures = []
    board = Board(out, changed)
    try:
        with board.shown(), workers.Workers(jobs, side_by_side, board.heard) as working:
            for _ in changed:
                outcome = working.outcomes.get()
                board.ended(outcome)
                built[outcome.builder] = outcome.built
                if out.verbose and outcome.log:
                    out.note(outcome.log.rstrip())
                if outcome.error is not None:
                    failures.append((outcome.builder.stem, outcome.error))
    finally:
        # One that was interrupted while it published has left its journal.
        publish.finish(repository)
    return [one for models in built.values() for one in models], failures


def _build_here(
    out: Output, built: dict[Path, list[Built]], given: dict[str, Any]
) -> tuple[list[Built], list[tuple[str, Exception]]]:
    """Build in this process, where a debugger can follow, one file after the other."""
    failures: list[tuple[str, Exception]] = []
    for path in [path for path, models in built.items() if not models]:
        built[path], error = _build_one(out, path, given)
        if error is not None:
            failures.append((path.stem, error))
    return [one for models in built.values() for one in models], failures


def _build_one(
    out: Output, path: Path, given: dict[str, Any]
) -> tuple[list[Built], Exception | None]:
    try:
        built = pipeline.build_file(
            path,
            Repository(given["repository"]),
            StepPrinter(out),
            keep_edits=given["keep_config"],
            data=given["data"],
            choose=given["choose"],
            names=given["names"],
        )
    except Exception as error:  # noqa: BLE001 - raised at the end, after the other files
        out.end_bar()
        return [], error
    return built, None


def _show(out: Output, built: Sequence[Built], given: dict[str, Any]) -> None:
    if given["as_json"]:
        out.json([_facts(one) for one in built])
        return
    for one in built:
        if one.judgement is not None:
            judged.show(out, one.model, one.judgement)
    rows = [(b.model, b.version, "published" if b.new else "unchanged") for b in built]
    if not rows:
        return
    out.table("", ("model", "version", ""), rows)
    building.left_out(out, given["builders"], given["names"])
    out.note(f"next: modelport serve --repository {given['repository']}")


def _facts(built: Built) -> dict[str, Any]:
    facts = {"model": built.model, "version": built.version, "new": built.new}
    if built.judgement is not None:
        facts["judgement"] = built.judgement.model_dump(mode="json")
    return facts
