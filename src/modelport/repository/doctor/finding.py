"""What a rule is, what it reports, and what the doctor makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from modelport.repository.doctor.subject import Subject

Severity = Literal["error", "warning"]


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
    severity: Severity | None = None
    """Where this case weighs differently from the rule."""


@dataclass(frozen=True)
class Rule:
    """One way in which a model repository can be wrong."""

    id: str
    """Stable name, such as MP303."""
    severity: Severity
    """error: Triton refuses or answers wrongly; warning: it may be meant."""
    title: str
    """What is wrong, in a few words."""
    why: str
    """Why it matters: what Triton would do."""
    source: str
    """Where that is documented or implemented."""
    check: Callable[[Subject], Iterator[Problem]]
    """Gives every place of a model where the rule is broken."""
    needs_config: bool = True
    """Whether the rule makes sense only where config.pbtxt parses."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong in a repository."""

    rule: str
    severity: Severity
    model: str
    path: Path
    line: int | None
    field: str
    expected: str
    got: str
    why: str
    fix: str

    @property
    def where(self) -> str:
        """File, with the line where it is known."""
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    def as_json(self) -> dict[str, Any]:
        """Give the finding as values that JSON can hold."""
        return {**asdict(self), "path": str(self.path)}
