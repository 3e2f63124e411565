"""`modelport doctor`: what is wrong in a model repository, before Triton finds out.

Every rule reads; none runs a model or changes a file. The rules stand in one
table, :data:`RULES`; those of one subject in one file. What may be mended
without asking is mended by :mod:`modelport.repository.doctor.mending`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from modelport.errors import PublishError
from modelport.repository import positions, publish
from modelport.repository.doctor import ignores
from modelport.repository.doctor import rules as table
from modelport.repository.doctor.finding import Finding, Problem, Report, Rule, Severity
from modelport.repository.doctor.hardware import Machine
from modelport.repository.doctor.ignores import Ignore
from modelport.repository.doctor.repair import DropComment, location
from modelport.repository.doctor.rules import RULES
from modelport.repository.doctor.server_options import ServerOptions
from modelport.repository.doctor.site import BYTECODE
from modelport.repository.doctor.subject import Site, Subject
from modelport.repository.layout import ModelFolder, Repository

__all__ = [
    "RULES",
    "Finding",
    "Machine",
    "Report",
    "Rule",
    "Severity",
    "check",
    "examine",
    "models",
]

_log = logging.getLogger(__name__)
_Examined = TypeVar("_Examined", Subject, Site)


def check(
    repository: Path,
    *,
    names: Sequence[str] | None = None,
    machine: Machine | None = None,
    digest_files: bool = True,
) -> list[Finding]:
    """Give the findings of :func:`examine` that no comment ignores."""
    return examine(repository, names=names, machine=machine, digest_files=digest_files).findings


def examine(
    repository: Path,
    *,
    names: Sequence[str] | None = None,
    machine: Machine | None = None,
    digest_files: bool = True,
    options: ServerOptions | None = None,
) -> Report:
    """Examine a model repository.

    Args:
        repository: the folder of model folders.
        names: models to report on; None for all. Others are read where an
            ensemble needs them.
        machine: cores and GPUs to judge instance groups by; None for this machine's.
        digest_files: compare contents with the manifests, not sizes alone.
        options: how the server is started; None where nobody said.

    Returns:
        The findings, by model and rule, those of the whole repository first; none for a
        healthy one.

    Raises:
        RepositoryError: the repository, or a model of ``names``, is not there.
    """

    def look() -> Report:
        return _examined(repository, names, machine, digest_files, options)

    Repository(repository).folders()  # raises where there is none
    before = publish.generation(repository)
    report = look()
    if report.findings and publish.generation(repository) != (before[0], False):
        # One model may have been read before a publication and another after it.
        with suppress(PublishError), publish.locked(repository, finishing=False):
            return look()
    return report


def _examined(
    repository: Path,
    names: Sequence[str] | None,
    machine: Machine | None,
    digest_files: bool,
    options: ServerOptions | None,
) -> Report:
    here = machine or Machine.detect()
    subjects: dict[str, Subject] = {}
    for folder in models(repository):
        subjects[folder.name] = Subject(folder, here, digest_files, subjects)
    wanted = sorted(set(names or subjects))
    for name in wanted:
        if name not in subjects:
            Repository(repository).model(name)  # raises, with near names
    report = Report(len(wanted), [], [])
    shown = {name: subjects[name] for name in wanted}
    site = list(_of_site(Site(repository, shown, options)))
    report.findings.extend(
        f for f in site if not f.model and (f.rule != table.NO_MODEL or not names)
    )
    for name in wanted:
        _of_model(subjects[name], [f for f in site if f.model == name], report)
        subjects[name].forget()
    return report


def models(repository: Path) -> list[ModelFolder]:
    """Every folder that Triton would take for a model, complete or not.

    Raises:
        RepositoryError: the repository is not there.
    """
    folders = Repository(repository).folders()
    return [folder for folder in folders if folder.name != BYTECODE]


def _of_site(site: Site) -> Iterator[Finding]:
    for rule, problem in _problems(site, table.SITE_RULES, site.repository):
        path = problem.path or site.repository
        subject = next(
            (s for s in site.subjects.values() if path.is_relative_to(s.folder.path)), None
        )
        line = _line(subject, problem) if subject else problem.line
        yield _finding(subject.name if subject else "", path, line, rule, problem)


def _of_model(subject: Subject, others: Sequence[Finding], report: Report) -> None:
    """Add what is wrong with a model, those of the ``others`` included that it does not ignore."""
    path = subject.folder.config_path
    rules = (r for r in table.MODEL_RULES if not r.needs_config or subject.config_or_none)
    findings = [
        _finding(subject.name, problem.path or path, _line(subject, problem), rule, problem)
        for rule, problem in _problems(subject, rules, subject.folder.path)
    ]
    found = sorted((*findings, *others), key=lambda finding: finding.rule)
    standing, ignored, idle = ignores.divide(found, ignores.of(subject))
    report.findings.extend(standing)
    report.findings.extend(_about_ignore(subject, ignore) for ignore in idle)
    report.ignored.extend(ignored)


def _problems(
    examined: _Examined, rules: Iterable[Rule[_Examined]], folder: Path
) -> Iterator[tuple[Rule[Any], Problem]]:
    for rule in rules:
        try:
            problems = list(rule.check(examined))
        except Exception as error:  # noqa: BLE001 - one broken rule must not hide the others
            _log.debug("rule %s failed on %s", rule.id, folder, exc_info=True)
            yield _own_rule(table.CRASHED), _crash(folder, rule, error)
            continue
        for problem in problems:
            yield rule, problem


def _crash(folder: Path, rule: Rule[_Examined], error: Exception) -> Problem:
    return Problem(
        path=folder,
        field=rule.id,
        expected=f"rule {rule.id} ({rule.title}) examines the model",
        got=f"{type(error).__name__}: {error}",
        fix="check that the files can be read; if they can, report this to Modelport",
    )


def _about_ignore(subject: Subject, ignore: Ignore) -> Finding:
    """Say of a comment that ignored nothing why it did not."""
    known = [rule.id for rule in RULES]
    rule = _own_rule(table.IDLE_IGNORE)
    expected, fix = f"a finding of {ignore.rule} here", "remove the comment"
    if ignore.rule not in known:
        near = difflib.get_close_matches(ignore.rule, known, n=1)
        rule, expected = _own_rule(table.BAD_IGNORE), "the id of a rule"
        fix = f"did you mean {near[0]}?" if near else rule.fix
    elif not ignore.reason:
        rule, expected = _own_rule(table.BAD_IGNORE), f"a reason after {ignore.rule}"
        fix = rule.fix
    drops = rule.id == table.IDLE_IGNORE and ignore.of_model
    problem = Problem(
        field="",
        expected=expected,
        got=f"ignore {ignore.rule} {ignore.reason}".rstrip(),
        fix=fix,
        repairs=(DropComment(ignore.line, ignore.column),) if drops else (),
    )
    return _finding(subject.name, ignore.path, ignore.line, rule, problem)


def _own_rule(name: str) -> Rule[object]:
    return next(rule for rule in table.OWN_RULES if rule.id == name)


def _finding(
    model: str,
    path: Path,
    line: int | None,
    rule: Rule[Any],
    problem: Problem,
) -> Finding:
    return Finding(
        rule=rule.id,
        severity=problem.severity or rule.severity,
        model=model,
        path=path,
        line=line,
        field=problem.field,
        expected=problem.expected,
        got=problem.got,
        why=rule.why,
        fix=problem.fix,
        repairs=problem.repairs,
    )


def _line(subject: Subject, problem: Problem) -> int | None:
    """Find the line of config.pbtxt that the problem's field stands on."""
    path = subject.folder.config_path
    if problem.line is not None or problem.path not in (None, path):
        return problem.line
    if subject.config_error is not None:
        line = subject.config_error.objects.get("line")
        return line if isinstance(line, int) else None
    text = subject.text(path)
    if text is None:
        return None
    position = positions.find(positions.locate(text), location(problem.field))
    return position.line if position else None
