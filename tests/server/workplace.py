"""A folder with builders and a repository, as a user has it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelport.build import pipeline
from modelport.build.steps import Built, Progress, Report
from modelport.repository.layout import ModelFolder, Repository


@dataclass
class Workplace:
    """A folder with ``builders`` and ``repository``, as a user has it."""

    path: Path
    events: list[Report | Progress] = field(default_factory=list)

    @property
    def builders(self) -> Path:
        return self.path / "builders"

    @property
    def repository(self) -> Path:
        return self.path / "repository"

    def builder(self, name: str, text: str) -> Path:
        self.builders.mkdir(exist_ok=True)
        path = self.builders / f"{name}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def code(self, name: str, text: str) -> Path:
        """Write the model.py of a Python model."""
        path = self.repository / name / "model.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def build(
        self,
        *names: str,
        keep_edits: bool = False,
        data: Path | None = None,
        choose: str | None = None,
    ) -> list[Built]:
        self.events.clear()
        return pipeline.build(
            names,
            builders=self.builders,
            repository=self.repository,
            listener=self.events.append,
            keep_edits=keep_edits,
            data=data,
            choose=choose,
        )

    def steps(self) -> list[str]:
        """Name the steps that the last build took anew, as ``model: step``."""
        done = (event for event in self.events if isinstance(event, Report))
        return [f"{event.model}: {event.step}" for event in done if event.duration_s is not None]

    def model(self, name: str) -> ModelFolder:
        return Repository(self.repository).model(name)

    def content(self) -> dict[str, bytes]:
        """Everything in the repository, to the byte."""
        files = (path for path in self.repository.rglob("*") if path.is_file())
        found = {path.relative_to(self.repository).as_posix(): path.read_bytes() for path in files}
        return {name: data for name, data in found.items() if not name.startswith(".modelport")}

    def staged(self) -> list[Path]:
        """Staging folders that were left behind."""
        root = self.path / ".repository.staging"
        return sorted(root.iterdir()) if root.is_dir() else []

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run ``modelport`` as a user would, in the folder of the workplace."""
        return subprocess.run(
            [sys.executable, "-m", "modelport.cli", *command],
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        )
