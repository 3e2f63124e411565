"""What `modelport doctor` says of model repositories that nobody here wrote.

    python perf/foreign.py CHECKOUT…     checkouts of triton-inference-server/server, tutorials, …

Every folder with a model folder in it is examined as a repository. Triton's own tests of
configurations (server/qa/L0_model_config) say which of theirs must be refused: those are the
measure of what is found, and the accepted ones of false alarms. docs/doctor.md holds the result.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from modelport.repository import doctor
from modelport.repository.doctor import Finding, Machine, server_options

# Say that something is not in the checkout: Triton's scripts add versions, weights and further
# models before they start a server.
ABSENT = frozenset(("MP102", "MP106", "MP108", "MP110", "MP401", "MP504"))
# The verdicts of Triton's tests of configurations.
REFUSED = ("qa/L0_model_config/autofill_noplatform", "qa/L0_model_config/noautofill_platform")
ACCEPTED = ("qa/L0_model_config/autofill_noplatform_success",)
MACHINE = Machine(cores=8, gpus=1)
STRICT = server_options.read("--disable-auto-complete-config")


@dataclass
class Checkout:
    """What was found in one checkout."""

    name: str
    commit: str
    repositories: int = 0
    models: int = 0
    crashes: int = 0
    absent: Counter[str] = field(default_factory=Counter)
    """Findings that only say what the checkout lacks, by rule."""
    findings: Counter[str] = field(default_factory=Counter)
    """All others outside Triton's tests of configurations, by rule and severity."""
    places: list[str] = field(default_factory=list)
    refused: int = 0
    refused_found: int = 0
    accepted: int = 0
    accepted_silent: int = 0
    lacking: int = 0
    """Refused ones that the doctor does not name and whose weights or code are not there."""
    missed: list[str] = field(default_factory=list)
    """Configurations that Triton refuses and the doctor does not, or the other way round."""


def repositories(root: Path) -> list[Path]:
    """Give every folder that holds a model folder."""
    folders = {config.parent for config in root.rglob("config.pbtxt")}
    folders |= {code.parents[1] for code in root.rglob("model.py") if code.parent.name.isdecimal()}
    # What lies in a version folder belongs to the model around it.
    models = {f.parent if f.name.isdecimal() else f for f in folders}
    return sorted({model.parent for model in models})


def examined(root: Path) -> Checkout:
    """Examine a checkout."""
    found = Checkout(root.name, _commit(root))
    tests = {root / place for place in (*REFUSED, *ACCEPTED)}
    for repository in repositories(root):
        report = doctor.examine(repository, machine=MACHINE)
        found.repositories += 1
        found.models += report.models
        found.crashes += sum(finding.rule == "MP001" for finding in report.findings)
        found.absent.update(f.rule for f in report.findings if f.rule in ABSENT)
        if tests.isdisjoint((repository, *repository.parents)):
            _note(found, root, report.findings)
    for verdict, places in (("refused", REFUSED), ("accepted", ACCEPTED)):
        for case in _cases(root, places):
            _judge(found, root, case, verdict)
    return found


def _note(found: Checkout, root: Path, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.rule not in ABSENT:
            found.findings[f"{finding.rule} {finding.severity}"] += 1
            place = finding.path.relative_to(root) if finding.path.is_relative_to(root) else ""
            line = f":{finding.line}" if finding.line else ""
            found.places.append(
                f"{finding.rule} {place}{line} {finding.field}: expected {finding.expected}; "
                f"got {finding.got}"
            )


def _cases(root: Path, places: Sequence[str]) -> Iterator[Path]:
    """Give each configuration of Triton's tests: a folder below the folder of its kind."""
    for place in places:
        # noautofill_platform/CASE, and autofill_…/BACKEND/CASE
        pattern = "*/" if place.startswith("qa/L0_model_config/noauto") else "*/*/"
        yield from sorted((root / place).glob(pattern))


def _judge(found: Checkout, root: Path, case: Path, verdict: str) -> None:
    # An ensemble's case is a repository of its own; any other is one model of the folder.
    inner = any(case.glob("*/config.pbtxt"))
    repository, names = (case, None) if inner else (case.parent, [case.name])
    # What does not fill in by itself runs without auto-completion.
    options = STRICT if case.parent.name.startswith("noauto") else None
    report = doctor.examine(repository, names=names, machine=MACHINE, options=options)
    errors = [finding for finding in report.findings if finding.rule not in ABSENT]
    setattr(found, verdict, getattr(found, verdict) + 1)
    right = bool(errors) if verdict == "refused" else not errors
    if right:
        count = "refused_found" if verdict == "refused" else "accepted_silent"
        setattr(found, count, getattr(found, count) + 1)
    elif verdict == "refused" and any(f.rule in ABSENT for f in report.findings):
        found.lacking += 1
    else:
        found.missed.append(f"{verdict}: {case.relative_to(root)}")


def _commit(root: Path) -> str:
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def show(found: Checkout, *, verbose: bool) -> None:
    """Print what was found in one checkout."""
    click.echo(f"{found.name} at {found.commit}")
    click.echo(
        f"  {found.repositories} repositories, {found.models} models, {found.crashes} crashes"
    )
    if found.refused:
        click.echo(f"  Triton refuses {found.refused}: the doctor names {found.refused_found}")
        click.echo(f"  and {found.lacking} it cannot judge: their files are not in the checkout")
        click.echo(f"  Triton accepts {found.accepted}: silent on {found.accepted_silent}")
    for title, counts in (("not in the checkout", found.absent), ("found", found.findings)):
        listed = ", ".join(f"{rule} × {count}" for rule, count in sorted(counts.items()))
        click.echo(f"  {title}: {listed or 'nothing'}")
    for line in (*found.missed, *found.places) if verbose else ():
        click.echo(f"    {line}")


@click.command(help=__doc__.split("\n")[0])
@click.argument("checkouts", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--places", is_flag=True, help="List every finding with its place.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(checkouts: Sequence[Path], places: bool, as_json: bool) -> None:
    """Examine and show."""
    found = [examined(root.resolve()) for root in checkouts]
    if as_json:
        click.echo(json.dumps([asdict(checkout) for checkout in found]))
        return
    for checkout in found:
        show(checkout, verbose=places)
    if any(checkout.crashes for checkout in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
