"""Findings as SARIF 2.1.0, which GitHub, GitLab and editors show beside the lines.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelport import __version__
from modelport.repository import pbtxt
from modelport.repository.doctor import repair as repairs
from modelport.repository.doctor.finding import Finding, Ignored, Report, Rule
from modelport.repository.doctor.repair import TextRepair
from modelport.repository.doctor.rules import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"
_ROOT = "SRCROOT"


def log(report: Report, *, base: Path) -> dict[str, Any]:
    """Give a report as a SARIF log of one run.

    Args:
        report: what was found.
        base: the folder that paths are relative to, such as a checkout's; files outside
            it get absolute addresses.
    """
    driver = {
        "name": "modelport doctor",
        "semanticVersion": __version__,
        "rules": [_descriptor(rule) for rule in RULES],
    }
    root = base.resolve()
    results = [_result(finding, root) for finding in report.findings]
    results += [_suppressed(ignored, root) for ignored in report.ignored]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"uri": f"{root.as_uri().rstrip('/')}/"}},
        "results": results,
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _descriptor(rule: Rule[Any]) -> dict[str, Any]:
    markdown = f"{rule.why}.\n\n**Fix:** {rule.fix}\n\n**Source:** {rule.source}"
    descriptor = {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": f"{rule.why}."},
        "help": {"text": f"{rule.why}. Fix: {rule.fix}", "markdown": markdown},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"source": rule.source},
    }
    return descriptor | ({"helpUri": rule.url} if rule.url else {})


def _result(finding: Finding, root: Path) -> dict[str, Any]:
    of = f"{finding.model}: " if finding.model else ""
    field = f"{finding.field}: " if finding.field else ""
    text = f"{of}{field}expected {finding.expected}; got {finding.got}. Fix: {finding.fix}"
    result = {
        "ruleId": finding.rule,
        "ruleIndex": next(i for i, rule in enumerate(RULES) if rule.id == finding.rule),
        "level": finding.severity,
        "message": {"text": text},
        "locations": [_location(finding, root)],
    }
    fixes = list(_fixes(finding, root))
    return result | ({"fixes": fixes} if fixes else {})


def _suppressed(ignored: Ignored, root: Path) -> dict[str, Any]:
    suppression = {
        "kind": "inSource",
        "justification": ignored.reason,
        "location": {
            "physicalLocation": {
                "artifactLocation": _artifact(ignored.path, root),
                "region": {"startLine": ignored.line},
            }
        },
    }
    return {**_result(ignored.finding, root), "suppressions": [suppression]}


def _location(finding: Finding, root: Path) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": _artifact(finding.path, root)}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.model:
        name = f"{finding.model}.{finding.field}" if finding.field else finding.model
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "resource"}]
    return location


def _artifact(path: Path, root: Path) -> dict[str, Any]:
    # Not resolved: a link into a store would be shown where nobody looks for it.
    absolute = Path.cwd() / path
    if absolute.is_relative_to(root):
        relative = absolute.relative_to(root)
        # as_uri() quotes what a URI cannot hold, and takes absolute paths only.
        return {"uri": (Path("/") / relative).as_uri()[8:] or ".", "uriBaseId": _ROOT}
    return {"uri": absolute.as_uri()}


def _fixes(finding: Finding, root: Path) -> Iterator[dict[str, Any]]:
    """Give the edit that `--fix` would make, as characters to replace."""
    if not any(isinstance(repair, TextRepair) for repair in finding.repairs):
        return
    text = pbtxt.read_text(finding.path)
    replacements = [
        {
            "deletedRegion": {"charOffset": splice.start, "charLength": splice.end - splice.start},
            "insertedContent": {"text": splice.text},
        }
        for splice in repairs.splices(text, finding.repairs)
    ]
    if replacements:
        change = {
            "artifactLocation": _artifact(finding.path, root),
            "replacements": replacements,
        }
        yield {"description": {"text": finding.fix}, "artifactChanges": [change]}
