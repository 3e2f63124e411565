"""`modelport doctor` on model folders that are to be published, wherever they lie."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from modelport.build.model_source import ModelSource
from modelport.errors import UnhealthyRepositoryError
from modelport.repository import doctor, edits
from modelport.repository.doctor import Finding
from modelport.repository.layout import CONFIG, ModelFolder


def examine(sources: Sequence[ModelSource], parts: Sequence[ModelSource]) -> list[Finding]:
    """Examine folders beside the models that they run, as they would lie in one repository.

    Returns:
        What is no error, with the paths that the user knows.

    Raises:
        UnhealthyRepositoryError: there are errors; the message lists them.
    """
    with tempfile.TemporaryDirectory(prefix="modelport-doctor-") as place:
        view = Path(place)
        for source in (*sources, *parts):
            _link(source, view / source.name)
        names = [source.name for source in sources]
        found = doctor.check(view, names=names, digest_files=False)
        known = {source.name: source.folder.path for source in sources}
        findings = [_moved(finding, view, known) for finding in found]
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return findings
    listing = "\n".join(f"  {finding.brief}" for finding in errors)
    raise UnhealthyRepositoryError(
        f"{', '.join(names)}: {len(errors)} error{'s' * (len(errors) > 1)}, so nothing is"
        f" published\n{listing}",
        next_step=errors[0].fix,
        findings=errors,
    )


def _link(source: ModelSource, view: Path) -> None:
    """Show a folder with the one version that is meant, and all that lies beside it."""
    view.mkdir()
    others = {str(version) for version in source.folder.versions() if version != source.version}
    for entry in source.folder.path.iterdir():
        if entry.name not in others and entry.name != CONFIG:
            (view / entry.name).symlink_to(entry.resolve())
    path = source.folder.config_path
    (view / CONFIG).write_bytes(path.read_bytes())
    if source.version not in ModelFolder(view).served_versions():
        text = edits.with_version_policy(path, None)
        (view / CONFIG).write_text(text, encoding="utf-8", newline="")


def _moved(finding: Finding, view: Path, known: dict[str, Path]) -> Finding:
    """Name the file where the user has it."""
    inside = finding.path.relative_to(view).parts if finding.path.is_relative_to(view) else ()
    if not inside or inside[0] not in known:
        return finding
    return dataclasses.replace(finding, path=known[inside[0]].joinpath(*inside[1:]))
