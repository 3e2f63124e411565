"""``modelport verify``: whether every version is what was published, and who signed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from modelport.cli import options, versions_named
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError
from modelport.repository import trust
from modelport.repository.layout import Repository
from modelport.repository.settings import Settings
from modelport.repository.trust import Verdict


@click.command(name="verify")
@versions_named.NAME
@versions_named.VERSION
@options.REPOSITORY
@options.PUBLIC_KEYS
@options.AS_JSON
@pass_output
def command(
    out: Output,
    name: str | None,
    version: int | None,
    repository: Path,
    trusted: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check versions: one, all of a model, or all there are.

    Files are compared with the manifest, the manifest with the signature, and what lies beside
    a version that serves (config.pbtxt, labels) with the version's own. Without --key, the keys of
    [trust] are taken; an unsigned version is an error only where signatures are demanded.
    """
    known = trust.known_keys(repository, trusted)
    is_demanded = bool(trusted) or Settings.read(repository).trust.require
    if is_demanded:
        trust.demanded(repository, trusted)  # refuses a demand without a key
    found = [
        trust.examine(folder, number, known, live=number in folder.served_versions())
        for folder, number in versions_named.named(Repository(repository), name, version)
    ]
    wrong = [verdict for verdict in found if verdict.is_wrong(demanded=is_demanded)]
    if as_json:
        out.json([_as_json(verdict, verdict in wrong) for verdict in found])
    else:
        rows = [(v.model, v.version, "serves" if v.serves else None, _state(v)) for v in found]
        out.table("", ("model", "version", "", "found"), rows)
    _refuse(repository, found, wrong)


def _state(verdict: Verdict) -> str:
    if verdict.file is not None:
        return f"altered {verdict.file}: {verdict.problem}"
    return f"{verdict.state}: {verdict.problem}" if verdict.problem else verdict.state


def _as_json(verdict: Verdict, is_wrong: bool) -> dict[str, object]:
    return {**asdict(verdict), "wrong": is_wrong}


def _refuse(repository: Path, found: Sequence[Verdict], wrong: Sequence[Verdict]) -> None:
    if not wrong:
        return
    listing = "\n".join(f"  {v.model} version {v.version}: {_state(v)}" for v in wrong)
    raise IntegrityError(
        f"{repository}: {len(wrong)} of {len(found)} versions are not to be trusted\n{listing}",
        next_step="sign those that you published (modelport sign), restore those that changed,"
        " or build them anew",
        path=repository,
        versions=[(v.model, v.version) for v in wrong],
    )
