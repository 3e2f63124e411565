"""Says in config.pbtxt which versions serve."""

from __future__ import annotations

from modelport.repository.layout import Repository


def pin(repository: Repository, **versions: int) -> None:
    """Pin models to a version each."""
    for name, version in versions.items():
        repository.folder(name).config_path.write_text(
            f'name: "{name}"\nversion_policy {{ specific {{ versions: [{version}] }} }}\n'
        )
