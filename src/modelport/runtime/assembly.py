"""The backend folder that tritonserver is started with, assembled in the cache.

It joins what the server brings (the python backend) and what Modelport brings
(backends written in Python), and puts ``modelport`` beside the python backend,
from where every stub can import it. It is keyed by content, so several
checkouts and versions of Modelport do not disturb one another.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import modelport
from modelport.errors import ToolchainError
from modelport.runtime import cache

PACKAGE = Path(modelport.__file__).resolve().parent
_OURS = Path(__file__).resolve().parent / "backends"
_STUB = "triton_python_backend_stub"


def own_backends() -> dict[str, Path]:
    """Find the backends that Modelport brings: name to folder."""
    return {folder.parent.name: folder.parent for folder in sorted(_OURS.glob("*/model.py"))}


def key(backends: Path, stub: Path) -> str:
    """Give the name of the folder: a digest of all that it is made from."""
    digest = hashlib.sha256()
    for part in (backends, stub, PACKAGE):
        digest.update(f"{part}\0".encode())
    # This file says how they are put together: with another way, another folder.
    digest.update(Path(__file__).read_bytes())
    for name, folder in own_backends().items():
        for file in sorted(folder.glob("*.py")):
            digest.update(f"{name}/{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def expected(backends: Path, stub: Path) -> Path:
    """Give the folder for this server and this Modelport, assembled or not."""
    return cache.root() / "backends" / key(backends, stub)


def ensure(backends: Path, stub: Path) -> Path:
    """Give the backend folder, assembled first when it is not there yet.

    Args:
        backends: the server's own backend folder.
        stub: the python backend's stub for the Python version in use.

    Raises:
        ToolchainError: the cache cannot be written.
    """
    target = expected(backends, stub)
    if target.is_dir():
        return target
    partial = cache.folder("backends") / f"{target.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _fill(partial, backends, stub)
        # Another process may have been faster; its folder is the same, by its key.
        with contextlib.suppress(FileExistsError, OSError):
            partial.rename(target)
    except OSError as error:
        raise ToolchainError(
            f"{target}: the backend folder cannot be written ({error.strerror})", path=target
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _fill(folder: Path, backends: Path, stub: Path) -> None:
    python = folder / "python"
    python.mkdir(parents=True)
    # Copies: Triton refuses a library whose real path lies outside its backend's folder.
    for file in [*(backends / "python").iterdir(), stub]:
        if file.is_file():
            shutil.copy2(file, python / file.name)
    (python / _STUB).chmod(0o755)
    (python / "modelport").symlink_to(PACKAGE, target_is_directory=True)
    for backend in backends.iterdir():
        if backend.name != "python":
            (folder / backend.name).symlink_to(backend, target_is_directory=True)
    for name, source in own_backends().items():
        # A server that brings the backend in C++ keeps it.
        if not (folder / name).exists():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
