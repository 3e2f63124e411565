"""``# modelport: ignore RULE reason``: findings that somebody has looked at and accepts.

In config.pbtxt the comment speaks of the whole model, in model.py of that file.
It demands a reason, and one that ignores nothing is itself a finding.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.repository.doctor.finding import Finding, Ignored
from modelport.repository.doctor.subject import Subject

# A `#` inside a string of the text format begins no comment.
_STRING_OR_COMMENT = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*")
_IGNORE = re.compile(r"#\s*modelport:\s*ignore\b[ \t:]*(\w*)[ \t:,-]*(.*)")


@dataclass(frozen=True)
class Ignore:
    """One such comment."""

    path: Path
    line: int
    column: int
    rule: str
    reason: str
    of_model: bool
    """Whether it speaks of the whole model."""

    def covers(self, finding: Finding) -> bool:
        """Tell whether it takes a finding of its model away."""
        here = self.of_model or finding.path == self.path
        return bool(self.reason) and here and finding.rule == self.rule


def of(subject: Subject) -> list[Ignore]:
    """Give the comments in a model's config.pbtxt and in its Python files, line by line."""
    found = []
    for path in (subject.folder.config_path, *sorted(subject.sources())):
        text = subject.text(path)
        if text is not None and "modelport:" in text:
            comments = _python_comments(text) if path.suffix == ".py" else _comments(text)
            found += [ignore for c in comments if (ignore := _ignore(path, *c)) is not None]
    return found


def divide(
    findings: Sequence[Finding], ignores: Sequence[Ignore]
) -> tuple[list[Finding], list[Ignored], list[Ignore]]:
    """Part a model's findings into those that stand and those that are ignored.

    Returns:
        The findings, what is ignored, and the comments that ignored nothing.
    """
    standing: list[Finding] = []
    ignored: list[Ignored] = []
    used: set[Ignore] = set()
    for finding in findings:
        covering = [ignore for ignore in ignores if ignore.covers(finding)]
        used.update(covering)
        if covering:
            first = covering[0]
            ignored.append(Ignored(finding, first.reason, first.path, first.line))
        else:
            standing.append(finding)
    return standing, ignored, [ignore for ignore in ignores if ignore not in used]


def _ignore(path: Path, line: int, column: int, comment: str) -> Ignore | None:
    match = _IGNORE.match(comment)
    if match is None:
        return None
    rule, reason = match.groups()
    return Ignore(path, line, column, rule, reason.strip(), of_model=path.suffix != ".py")


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        for match in _STRING_OR_COMMENT.finditer(line):
            if match.group().startswith("#"):
                yield number, match.start() + 1, match.group()


def _python_comments(text: str) -> Iterator[tuple[int, int, str]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.start[1] + 1, token.string
    except (tokenize.TokenError, SyntaxError):  # what stands before the break still counts
        return
