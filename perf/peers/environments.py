"""A virtual environment for each server, with the exact versions of its requirements.txt."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ToolchainError
from modelport.runtime import cache

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Installed:
    """A server's virtual environment.

    Attributes:
        name: of the server's folder.
        package: the server itself, as ``name==version``.
        folder: the environment.
        size_mib: on disk, everything it needs included.
    """

    name: str
    package: str
    folder: Path
    size_mib: int

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def requirements(name: str) -> Path:
    """Say where a server's pinned requirements are."""
    return HERE / name / "requirements.txt"


def package(text: str) -> str:
    """Give the first requirement, which is the server itself."""
    lines = (line.strip() for line in text.splitlines())
    return next(line for line in lines if line and not line.startswith("#"))


def install(name: str) -> Installed:
    """Make the environment of a server, once for each content of its requirements.

    Raises:
        ToolchainError: pip could not install them; its words are on stderr.
    """
    text = requirements(name).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    tag = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache.folder("peers", "environments") / f"{name}-{tag}-{digest}"
    if not (folder / "done").exists():
        with cache.lock(f"peer-{name}"):
            if not (folder / "done").exists():  # another process may have made it meanwhile
                _make(name, folder)
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return Installed(name, package(text), folder, size // 2**20)


def _make(name: str, folder: Path) -> None:
    venv.create(folder, clear=True, with_pip=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, "-r", requirements(name)], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise ToolchainError(
            f"{name}: pip could not install {requirements(name)} (exit status {error.returncode})",
            cause="no package index is reached, or a version has no wheel for this Python",
            next_step="read pip's words above; Python 3.11 is what the versions were chosen on",
        ) from error
    (folder / "done").touch()
