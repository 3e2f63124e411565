"""Where a build comes from: library code, dependency versions, the git commit."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import modelport
from modelport.repository import digests
from modelport.repository.build_environment import BuildEnvironment

_PACKAGE = Path(modelport.__file__).parent
_BUILDERS_USE = ("modelport.families", "modelport.build", "modelport.serving")
_DEPENDENCIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "onnxslim", "torch")


@cache
def library(*parts: str) -> str:
    """Digest the library's own files: folders, files, or patterns such as ``serving/*.py``."""
    found = {file for part in parts for path in _PACKAGE.glob(part) for file in _files(path)}
    files = sorted(found)
    return digests.of_value({str(f.relative_to(_PACKAGE)): digests.of_file(f) for f in files})


def used_by(file: Path) -> str:
    """Digest the library's modules that a builder's own code runs on.

    These are what it imports from :mod:`modelport.families`, :mod:`modelport.build` and
    :mod:`modelport.serving`, and what those of families and serving import in their turn; what
    the pipeline's modules import has a place in the keys of its steps. A change of any other
    leaves the weights as they are.
    """
    waiting = _modules(file, _BUILDERS_USE)
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            of_a_family = path.is_relative_to(_PACKAGE / "families")
            waiting |= _modules(path, _BUILDERS_USE if of_a_family else ("modelport.serving",))
    return digests.of_value({str(f.relative_to(_PACKAGE)): digests.of_file(f) for f in found})


def _modules(file: Path, packages: tuple[str, ...]) -> set[Path]:
    """Find the module files of these packages that a file imports by name."""
    if file.suffix != ".py":
        return set()
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = {name for name in names if name.startswith(tuple(f"{p}." for p in packages))}
    places = [_PACKAGE.parent.joinpath(*name.split(".")) for name in inside]
    paths = {path for p in places for path in (p.with_suffix(".py"), p / "__init__.py")}
    return {path for path in paths if path.is_file()}


def _files(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@cache
def dependencies() -> dict[str, str]:
    """Versions of what a build runs on; a package that is not installed is left out."""
    versions = {name: _version(name) for name in _DEPENDENCIES}
    found = {name: version for name, version in versions.items() if version}
    return {"modelport": modelport.__version__, **found}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def environment() -> BuildEnvironment:
    """Describe this machine and everything that is installed for this Python."""
    libc = "".join(platform.libc_ver())
    found = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
    return BuildEnvironment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()} {libc}".strip(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        packages={name: found[name] for name in sorted(found) if name},
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def git_commit(file: Path) -> str | None:
    """Commit that a file stands in, ``-dirty`` when it was changed since; ``None`` outside git."""
    commit = _git(file, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if _git(file, "status", "--porcelain", "--", file.name) else commit


def _git(file: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(file.resolve().parent), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
