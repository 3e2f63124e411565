"""pip, run quietly, so that the user's index, proxy and wheel folder apply."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from modelport.errors import ToolchainError

# `python -m`, but killed by the kernel when this process is (PR_SET_PDEATHSIG): a
# pip that lived on would write into a folder that the next try has cleared.
_BOUND = """
import ctypes, os, runpy, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit(1)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""

log = logging.getLogger(__name__)

# How pip says that it reached nobody; it retries, then lists what it tried.
_OFFLINE = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "NewConnectionError",
    "Network is unreachable",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "No matching distribution found",
    "Could not find a version that satisfies",
)


def run(python: Path, arguments: Sequence[str], *, purpose: str, next_step: str) -> None:
    """Run pip; its warnings are shown only when it fails.

    Args:
        python: the interpreter whose pip it is.
        arguments: what follows ``pip``.
        purpose: what failed, for the message.
        next_step: what to do when the packages were not reached.

    Raises:
        ToolchainError: pip ended with an error.
    """
    options = ["--disable-pip-version-check", "--no-input", *arguments]
    command = [str(python), "-m", "pip", *options]
    log.info("running %s", command)
    done = run_module(python, "pip", options)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    if "No space left on device" in output:
        raise ToolchainError(
            f"{purpose}: the disk is full",
            next_step="free some space, or set MODELPORT_CACHE to a folder on another disk",
            output=output,
        )
    offline = any(sign in output for sign in _OFFLINE)
    raise ToolchainError(
        f"{purpose}: pip ended with status {done.returncode}\n{_tail(output)}",
        cause="no network, or the package index lacks the package" if offline else None,
        next_step=next_step if offline else f"run it by hand: {' '.join(command)}",
        output=output,
    )


def run_module(
    python: Path, module: str, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module``, which ends with this process at the latest."""
    return subprocess.run(
        [str(python), "-c", _BOUND, str(os.getpid()), module, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def own_python() -> Path | None:
    """Give this interpreter if it has pip; environments made by uv have none."""
    return Path(sys.executable) if importlib.util.find_spec("pip") else None


def _tail(output: str, lines: int = 6) -> str:
    kept = [line for line in output.splitlines() if line.strip()]
    return "\n".join("    " + line.strip() for line in kept[-lines:])
