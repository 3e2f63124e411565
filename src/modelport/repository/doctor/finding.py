"""What a rule is, what it reports, and what the doctor makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from modelport.repository.doctor.repair import Repair

Severity = Literal["error", "warning", "note"]
Examined = TypeVar("Examined", contravariant=True)

# Where the sources that rules name can be read.
_ONLINE = {
    name: f"https://github.com/triton-inference-server/{name}/blob/main/"
    for name in ("core", "server", "onnxruntime_backend", "python_backend", "tensorrt_backend")
} | {"onnx": "https://github.com/onnx/onnx/blob/main/"}
_ISSUES = "https://github.com/triton-inference-server/server/issues/"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a rule reports of one place; the rule itself knows the rest."""

    field: str
    """Field, tensor or version; empty for the whole file."""
    expected: str
    """What should be there."""
    got: str
    """What is there."""
    fix: str
    """How to mend it."""
    path: Path | None = None
    """File or folder; None for the model's config.pbtxt."""
    line: int | None = None
    """Line of ``path``; for config.pbtxt it is found by the field."""
    severity: Severity | None = None
    """Where this case weighs differently from the rule."""
    repairs: tuple[Repair, ...] = ()
    """What ``--fix`` may do about it; only what is right whatever the owner had in mind."""


@dataclass(frozen=True)
class Rule(Generic[Examined]):
    """One way in which a model, or a whole repository, can be wrong."""

    id: str
    """Stable name, such as MP303."""
    severity: Severity
    """error: Triton refuses or answers wrongly; warning: it may be meant; note: good to know."""
    title: str
    """What is wrong, in a few words."""
    why: str
    """Why it matters: what Triton would do."""
    fix: str
    """How it is mended."""
    source: str
    """Where that is documented or implemented."""
    check: Callable[[Examined], Iterator[Problem]]
    """Gives every place where the rule is broken."""
    needs_config: bool = True
    """Whether the rule makes sense only where config.pbtxt parses."""

    @property
    def url(self) -> str | None:
        """Address of the source, where it has one."""
        where, _, rest = self.source.partition(": ")
        path = rest.partition(",")[0]
        if path.startswith("issue "):
            return _ISSUES + path.removeprefix("issue ").split()[0]
        return _ONLINE[where] + path if where in _ONLINE else None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong in a repository."""

    rule: str
    severity: Severity
    model: str
    """Name of the model's folder; empty for the repository as a whole or the start options."""
    path: Path
    line: int | None
    field: str
    expected: str
    got: str
    why: str
    fix: str
    repairs: tuple[Repair, ...] = dataclasses.field(default=(), repr=False)

    @property
    def where(self) -> str:
        """File, with the line where it is known."""
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    @property
    def brief(self) -> str:
        """Put it into one line."""
        field = f" {self.field}:" if self.field else ""
        return f"{self.where}:{field} expected {self.expected}, got {self.got}"

    def as_json(self) -> dict[str, Any]:
        """Give the finding as values that JSON can hold."""
        values = {**vars(self), "path": str(self.path), "fixable": bool(self.repairs)}
        del values["repairs"]
        return values


@dataclass(frozen=True)
class Ignored:
    """A finding that a comment in the repository says to pass over."""

    finding: Finding
    reason: str
    path: Path
    """The file of the comment."""
    line: int

    def as_json(self) -> dict[str, Any]:
        """Give the finding and the reason as values that JSON can hold."""
        place = f"{self.path}:{self.line}"
        return {**self.finding.as_json(), "ignored": self.reason, "ignored_at": place}


@dataclass(frozen=True)
class Report:
    """All that an examination found."""

    models: int
    findings: list[Finding]
    ignored: list[Ignored]
