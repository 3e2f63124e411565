"""`modelport doctor`: what is wrong in a model repository, before Triton finds out.

Every rule reads; none runs a model or changes a file. The rules stand in one
table, :data:`RULES`; those of one subject in one file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelport.repository import pbtxt, positions
from modelport.repository.doctor.finding import Finding, Problem, Rule, Severity
from modelport.repository.doctor.rules import RULES
from modelport.repository.doctor.subject import Machine, Subject
from modelport.repository.layout import ModelFolder, Repository

__all__ = ["RULES", "Finding", "Machine", "Rule", "Severity", "check", "models"]

_CRASHED = "MP001"
_log = logging.getLogger(__name__)


def check(
    repository: Path,
    *,
    names: Sequence[str] | None = None,
    machine: Machine | None = None,
    digest_files: bool = True,
) -> list[Finding]:
    """Examine a model repository.

    Args:
        repository: the folder of model folders.
        names: models to report on; None for all. Others are read where an
            ensemble needs them.
        machine: cores and GPUs to judge instance groups by; None for this machine's.
        digest_files: compare contents with the manifests, not sizes alone.

    Returns:
        The findings, by model and rule; empty for a healthy repository.

    Raises:
        RepositoryError: the repository, or a model of ``names``, is not there.
    """
    here = machine or Machine.detect()
    subjects: dict[str, Subject] = {}
    for folder in models(repository):
        subjects[folder.name] = Subject(folder, here, digest_files, subjects)
    wanted = names or list(subjects)
    for name in wanted:
        if name not in subjects:
            Repository(repository).model(name)  # raises, with near names
    return [finding for name in sorted(set(wanted)) for finding in _examine(subjects[name])]


def models(repository: Path) -> list[ModelFolder]:
    """Every folder that Triton would take for a model, complete or not.

    Raises:
        RepositoryError: the repository is not there.
    """
    Repository(repository).models()
    folders = (entry for entry in sorted(repository.iterdir()) if entry.is_dir())
    return [ModelFolder(path) for path in folders if not path.name.startswith(".")]


def _examine(subject: Subject) -> Iterator[Finding]:
    for rule in RULES:
        try:
            if rule.needs_config and subject.config_or_none is None:
                continue
            problems = list(rule.check(subject))
        except Exception as error:  # noqa: BLE001 - one broken rule must not hide the others
            _log.debug("rule %s failed on %s", rule.id, subject.name, exc_info=True)
            yield _crash(subject, rule, error)
            continue
        for problem in problems:
            yield _finding(subject, rule, problem)


def _finding(subject: Subject, rule: Rule, problem: Problem) -> Finding:
    return Finding(
        rule=rule.id,
        severity=problem.severity or rule.severity,
        model=subject.name,
        path=problem.path or subject.folder.config_path,
        line=_line(subject, problem),
        field=problem.field,
        expected=problem.expected,
        got=problem.got,
        why=rule.why,
        fix=problem.fix,
    )


def _line(subject: Subject, problem: Problem) -> int | None:
    """Find the line of config.pbtxt that the problem's field stands on."""
    if problem.path is not None or not subject.folder.config_path.is_file():
        return None
    if subject.config_error is not None:
        line = subject.config_error.objects.get("line")
        return line if isinstance(line, int) else None
    location = [int(p) if p.isdecimal() else p for p in re.findall(r"\w+", problem.field)]
    text = pbtxt.read_text(subject.folder.config_path)
    position = positions.find(positions.locate(text), location)
    return position.line if position else None


def _crash(subject: Subject, rule: Rule, error: Exception) -> Finding:
    return Finding(
        rule=_CRASHED,
        severity="error",
        model=subject.name,
        path=subject.folder.path,
        line=None,
        field=rule.id,
        expected=f"rule {rule.id} ({rule.title}) examines the model",
        got=f"{type(error).__name__}: {error}",
        why="the rule could not finish, so nothing is known about what it looks for",
        fix="check that the files can be read; if they can, report this to Modelport",
    )
