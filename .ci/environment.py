"""Makes the virtual environment that the Makefile's targets run in, once.

Run by ``make`` with the interpreter that PYTHON names; the one argument is the
folder. What is in the folder is told by a mark, ``made-by-make``: the key of
what was installed, or nothing while an installation is under way, so that an
interrupted one is never taken for a finished one. Uses the standard library
only, and nothing newer than Python 3.7, so that it can say what is missing.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
EXTRA = "dev"
SUPPORTED = ((3, 10), (3, 11), (3, 12))
SHOWN_LINES = 25
MARK = "made-by-make"


def main() -> int:
    """Make the environment unless it is there; gives the exit code."""
    folder = ROOT / sys.argv[1]
    if _mark(folder) == _key(folder):
        return 0
    problem = missing()
    if problem:
        return _fail(*problem)
    with Path(__file__).open() as file:  # any file that every run shares
        _lock(file)
        if _mark(folder) == _key(folder):  # another make was quicker
            return 0
        return _make(folder)


# --- what the interpreter must have -------------------------------------------


def missing() -> tuple[str, str] | None:
    """Say what this interpreter lacks, and what mends it on Debian and Ubuntu."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info[:2] not in SUPPORTED:
        return (
            f"{sys.executable} is Python {version}; Modelport needs Python 3.10, 3.11 or 3.12",
            "Debian 12, Ubuntu 22.04 and 24.04: sudo apt install python3 python3-venv; elsewhere: "
            'uv python install 3.12, then make PYTHON="$(uv python find 3.12)"',
        )
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        return (
            f"{sys.executable} has no venv module, or not all of it",
            f"Debian and Ubuntu: sudo apt install python{version}-venv",
        )
    if not _has_shared_library(version):
        return (
            f"{sys.executable} has no shared library libpython{version}.so.1.0, which "
            "tritonserver's Python processes load",
            f"Debian and Ubuntu: sudo apt install libpython{version}; with pyenv: "
            f"PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install {version}",
        )
    return None


def _has_shared_library(version: str) -> bool:
    name = f"libpython{version}.so.1.0"
    folders = (sysconfig.get_config_var("LIBDIR") or "", Path(sys.base_prefix, "lib"))
    if any(Path(folder, name).is_file() for folder in folders):
        return True
    try:
        ctypes.CDLL(name)  # where the loader looks
    except OSError:
        return False
    return True


# --- the mark -----------------------------------------------------------------


def _mark(folder: Path) -> str | None:
    """Read the mark: None for a folder that make did not make, empty for an unfinished one."""
    try:
        return (folder / MARK).read_text()
    except OSError:
        return None


def _key(folder: Path) -> str:
    """Digest all that decides what the environment holds."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", ".ci/environment.py"):
        digest.update((ROOT / name).read_bytes())
    digest.update(f"{_identity()} {folder}".encode())
    return f"{_identity()} {digest.hexdigest()}\n"


def _identity() -> str:
    """Tell interpreters apart; inside a virtual environment it is that of the one below it."""
    return "{}.{}.{} {}".format(*sys.version_info[:3], sys.base_prefix)


def _lock(file: TextIO) -> None:
    """Wait until no other make installs; the lock ends with this process."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _say("another make installs packages: waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


# --- making it ----------------------------------------------------------------


def _make(folder: Path) -> int:
    start = time.monotonic()
    # One that was made by hand, as the README says, is taken over; anything else is not touched.
    by_hand = _mark(folder) is None and _is_environment(folder)
    if folder.exists() and _mark(folder) is None and not by_hand:
        return _fail(
            f"{folder} is there, and is no virtual environment of this Python",
            f"remove it, or keep it and choose another: make VENV={folder.name}-make",
        )
    log = folder / "install.log"
    kept = by_hand or (_mark(folder) or "").startswith(_identity() + " ")
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    (folder / MARK).write_text("")
    key = _key(folder)
    _say(f"installing PyTorch, ONNX and the rest into {folder.name} (a few minutes)")
    progress = Progress()
    for command in _commands(folder, new=not kept):
        status = _run(command, log, progress)
        if status:
            return _explain(log, command, status)
    (folder / MARK).write_text(key)
    _say(f"installed in {time.monotonic() - start:.0f} s")
    return 0


def _is_environment(folder: Path) -> bool:
    """Tell whether the folder is a virtual environment of this interpreter's version."""
    try:
        lines = (folder / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return False
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return settings.get("version") == "{}.{}.{}".format(*sys.version_info[:3])


def _commands(folder: Path, new: bool) -> list[list[str]]:
    python = str(folder / "bin" / "python3")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    pip += ["--progress-bar", "off", "--constraint", "constraints.txt"]
    # Inside a virtual environment the interpreter below it makes the new one.
    below = getattr(sys, "_base_executable", None) or sys.executable
    commands = [[below, "-m", "venv", str(folder)]] if new else []
    return [
        *commands,
        # The build tools come first and pinned; pip would fetch the newest on its own.
        [*pip, "hatchling", "editables", "setuptools", "wheel"],
        [*pip, "--no-build-isolation", "--editable", f".[{EXTRA}]"],
    ]


def _run(command: list[str], log: Path, progress: Progress) -> int:
    """Run a command; its output goes to the log, and its last line to a terminal."""
    with log.open("a") as file:
        file.write("$ {}\n".format(" ".join(command)))
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                file.write(line)
                progress.show(line.strip())
    progress.clear()
    return process.returncode


class Progress:
    """Shows the last line of what runs, on a terminal only."""

    def __init__(self) -> None:
        self.hinted = False

    def show(self, line: str) -> None:
        """Replace the line; pip's warnings about its indexes are for the log alone."""
        if line.startswith("Collecting nvidia-") and not self.hinted:
            self.hinted = True
            self.clear()
            _say("pip takes PyTorch with CUDA, some GB; the README says how to take the CPU build")
        if sys.stderr.isatty() and line and not line.startswith("WARNING"):
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\033[K{line[:width]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave an empty line behind."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


def _explain(log: Path, command: list[str], status: int) -> int:
    lines = log.read_text(errors="replace").splitlines()
    shown = [line for line in lines if line.strip() and not line.startswith("WARNING: Location")]
    sys.stderr.write("".join(f"    {line}\n" for line in shown[-SHOWN_LINES:]))
    offline = any("No matching distribution" in line or "resolution" in line for line in shown)
    return _fail(
        "{} ended with status {}".format(" ".join(command[:4]), status),
        "see that the package index is reached: network, proxy, PIP_INDEX_URL or PIP_FIND_LINKS"
        if offline
        else f"read {log}, then run make again: it starts anew",
    )


def _say(text: str) -> None:
    sys.stderr.write(f"make: {text}\n")
    sys.stderr.flush()


def _fail(what: str, next_step: str) -> int:
    _say(f"{what}\n  next: {next_step}")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _say("interrupted; the next make starts the installation anew")
        sys.exit(130)
