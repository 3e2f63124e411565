"""Deeds on a small disk of their own, in a namespace where it may be mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import deeds

from modelport.errors import PublishError

OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


def until_it_fits(folder: Path, deed: Callable[[Path], None]) -> list[tuple[str, bool]]:
    """Do a deed with ever more space, until it comes through; then it is as on any disk.

    Returns:
        What each refusal said, and whether the deed was done once there was space again.
    """
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
    repository = folder / "repository"
    deeds.make(repository)
    old, said = deeds.view(repository), []
    for blocks in range(200):
        _leave(folder / "filler", blocks)
        try:
            deed(repository)
        except PublishError as error:
            (folder / "filler").unlink()
            deeds.next_command(repository)
            said.append((str(error), deeds.view(repository) != old))
            assert deeds.findings(repository) == set()
            assert len(deeds.log(repository)) == 1 + said[-1][1]
            if said[-1][1]:
                return said
        else:
            assert deeds.view(repository) != old
            assert deeds.findings(repository) == set()
            return said
    raise AssertionError("it never came through")


def _leave(filler: Path, blocks: int) -> None:
    """Fill the disk but for some blocks."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.ftruncate(file.fileno(), file.tell() // 4096 * 4096)
        os.ftruncate(file.fileno(), max(0, file.tell() - blocks * 4096))
