"""Shared libraries that a binary needs and this machine lacks."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from modelport.errors import ToolchainError

# Library -> Debian and Ubuntu package, for what is not in the wheel itself.
_PACKAGES = {
    "libz.so.1": "zlib1g",
    "libexpat.so.1": "libexpat1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libresolv.so.2": "libc6",
    "libb64.so.0d": "libb64-0d",
    "libre2.so.9": "libre2-9",
    "libnuma.so.1": "libnuma1",
    "libcurl.so.4": "libcurl4",
    "libxml2.so.2": "libxml2",
    "libarchive.so.13": "libarchive13",
    "libssl.so.3": "libssl3",
}


def missing(binary: Path, search: Sequence[Path] = ()) -> list[str]:
    """List the libraries that ``binary`` would not find, ``search`` being looked at first.

    The loader itself is asked, as ldd(1) does; nothing of the binary is run.

    Raises:
        ToolchainError: the binary is not for this machine.
    """
    path = [*map(str, search), os.environ.get("LD_LIBRARY_PATH", "")]
    variables = {"LD_TRACE_LOADED_OBJECTS": "1", "LD_LIBRARY_PATH": ":".join(filter(None, path))}
    try:
        done = subprocess.run(
            [binary], env=variables, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise ToolchainError(
            f"{binary}: cannot be run ({error.strerror})",
            cause="a binary for another machine, or a disk mounted noexec",
            next_step="set MODELPORT_CACHE to a folder on a disk that allows running programs",
            path=binary,
        ) from error
    return re.findall(r"^\s*(\S+) => not found", done.stdout, flags=re.MULTILINE)


def check(binary: Path, search: Sequence[Path] = ()) -> None:
    """Refuse a binary that cannot start; without this, a stub dies and its load hangs.

    Raises:
        ToolchainError: names the libraries and the packages that bring them.
    """
    lacking = missing(binary, search)
    if not lacking:
        return
    packages = sorted({name for name in map(package, lacking) if name})
    raise ToolchainError(
        f"{binary}: needs {', '.join(lacking)}, which this machine does not have",
        next_step=(
            f"on Debian or Ubuntu: apt install {' '.join(packages)}"
            if packages
            else "install the package that brings it, or add its folder to LD_LIBRARY_PATH"
        ),
        libraries=lacking,
        path=binary,
    )


def package(library: str) -> str | None:
    """Name the Debian and Ubuntu package that brings a library, where it is known."""
    if found := re.fullmatch(r"libpython(3\.\d+)\.so\.1\.0", library):
        return f"libpython{found[1]}"
    return _PACKAGES.get(library)
