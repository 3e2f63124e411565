"""What a running server costs in memory: the server itself, and each model's Python stubs.

Measured as PSS (proportional set size, proc(5)): memory that several processes share is divided
among them, so that the figures add up to what the machine has given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import NotReadyError
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.runtime import proc
from modelport.runtime.process import STUB_NAME
from modelport.runtime.stubs import model_of

SERVER = "tritonserver"
# What no model reads while it serves.
_ASIDE = {MANIFEST, SAMPLES}


@dataclass(frozen=True)
class Use:
    """What one model, or the server itself, uses.

    Attributes:
        name: of the model, or ``tritonserver``.
        processes: how many; one for each instance of a model, none for an ensemble.
        pss_bytes: of all of them.
        weights_bytes: files of the version that serves, which each process reads.
    """

    name: str
    processes: int
    pss_bytes: int
    weights_bytes: int

    @property
    def beyond_bytes(self) -> int:
        """What is used beyond the weights."""
        return max(0, self.pss_bytes - self.processes * self.weights_bytes)


def measure(pid: int, repositories: Sequence[Path]) -> list[Use]:
    """Measure a running server and the stubs of its models, the largest first.

    Args:
        pid: of tritonserver.
        repositories: the model repositories that it serves.

    Raises:
        NotReadyError: the process has ended, or belongs to somebody else.
    """
    models = [folder for path in repositories for folder in Repository(path).models()]
    folders = {str(folder.path.resolve()): folder.name for folder in models}
    found: dict[str, list[int]] = {}
    for process in proc.processes():
        if process.parent == pid and process.name == STUB_NAME:
            name = model_of(process.pid, folders)
            if name is not None and (size := proc.pss_bytes(process.pid)) is not None:
                found.setdefault(name, []).append(size)
    own = proc.pss_bytes(pid)
    if own is None:
        raise NotReadyError(
            f"the memory of process {pid} cannot be read",
            cause="tritonserver has ended, or another user runs it",
            next_step="modelport serve, or ask as the user who serves",
        )
    weights = {folder.name: _weights_bytes(folder) for folder in models if folder.name in found}
    uses = [Use(name, len(sizes), sum(sizes), weights[name]) for name, sizes in found.items()]
    uses.sort(key=lambda use: -use.pss_bytes)
    return [Use(SERVER, 1, own, 0), *uses]


def _weights_bytes(folder: ModelFolder) -> int:
    """Sum up the files that the served versions read; code is not among them."""
    files = (
        file
        for version in folder.served_versions()
        for file in folder.version_dir(version).rglob("*")
        if file.is_file() and file.name not in _ASIDE and file.suffix not in {".py", ".pyc"}
    )
    return sum(file.stat().st_size for file in files)
