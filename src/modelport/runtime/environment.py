"""The server's own Python environment, which its python stubs import from.

It is separate from the caller's because the stubs misread numpy >= 2 without a
word, while the client and the build side may use it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import ToolchainError
from modelport.runtime import cache, installer, pins
from modelport.runtime.events import Event, Listener, ignore

_MARKER = "modelport-complete.json"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds what models import."""

    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python3"

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.path / "lib" / version / "site-packages"

    def packages(self) -> dict[str, str]:
        """Give the version of every installed package, read from the folder names alone."""
        names = (p.name[: -len(".dist-info")] for p in self.site_packages.glob("*.dist-info"))
        return dict(sorted(name.rsplit("-", 1) for name in names if "-" in name))

    def complete(self) -> bool:
        """Say whether it was made to the end and its interpreter still exists."""
        return (self.path / _MARKER).is_file() and self.python.exists()

    def check_numpy(self) -> None:
        """Refuse numpy >= 2; raises :class:`~modelport.errors.ToolchainError`."""
        version = self.packages().get("numpy", "absent")
        if re.match(r"1\.", version):
            return
        raise ToolchainError(
            f"{self.path}: the server's Python environment has numpy {version}, expected 1.26.4",
            cause="tritonserver's python stubs misread numpy >= 2: inputs arrive as zeros",
            next_step=f"rm -r {self.path}; it is made anew at the next start",
            path=self.path,
        )


def expected() -> Environment:
    """Give the environment of this interpreter and list of requirements, made or not."""
    # Two interpreters of one version must not share it: its stub loads their libpython.
    identity = f"{pins.requirements_digest()} {sys.base_prefix}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return Environment(cache.root() / "server-env" / f"{platform.python_version()}-{digest}")


def ensure(on_event: Listener = ignore) -> Environment:
    """Give the server's environment, made first when it is not there yet.

    Raises:
        ToolchainError: it cannot be made, or holds a numpy that gives wrong answers.
    """
    environment = expected()
    if not environment.complete():

        def waiting() -> None:
            on_event(Event("toolchain", "another process makes the server's environment: waiting"))

        with cache.lock(f"server-env-{environment.path.name}", on_wait=waiting):
            if not environment.complete():
                _make(environment, on_event)
    environment.check_numpy()
    return environment


def library_folders() -> tuple[Path, ...]:
    """Say where this interpreter's shared libpython lies, if it has one of its own."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    places = (sysconfig.get_config_var("LIBDIR") or "", str(Path(sys.base_prefix) / "lib"))
    folders = (Path(place) for place in dict.fromkeys(places) if place)
    return tuple(folder for folder in folders if ".so" in name and (folder / name).is_file())


def _make(environment: Environment, on_event: Listener) -> None:
    start = time.monotonic()
    text = "making the server's Python environment (numpy 1.26, onnxruntime, tokenizers)"
    on_event(Event("toolchain", text))
    # A virtual environment cannot be moved, so it is made in place; the marker,
    # written last, tells a finished one from a broken one.
    shutil.rmtree(environment.path, ignore_errors=True)
    environment.path.parent.mkdir(parents=True, exist_ok=True)
    _make_venv(environment.path)
    arguments = ["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    installer.run(
        environment.python,
        [*arguments, "-r", str(pins.REQUIREMENTS)],
        purpose="the server's Python packages cannot be installed",
        next_step=(
            f"on a machine with network: pip download -d DIR -r {pins.REQUIREMENTS} "
            "(same Python version); then here set PIP_FIND_LINKS=DIR"
        ),
    )
    record = {"python": sys.version, "requirements": pins.requirements_digest()}
    (environment.path / _MARKER).write_text(json.dumps(record) + "\n", encoding="utf-8")
    took = time.monotonic() - start
    on_event(Event("toolchain", "the server's Python environment is made", duration_s=took))


def _make_venv(path: Path) -> None:
    done = installer.run_module(Path(sys.executable), "venv", [str(path)])
    if done.returncode == 0:
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    output = done.stdout + done.stderr
    lacks_venv = "ensurepip is not available" in output or "No module named venv" in output
    raise ToolchainError(
        f"{path}: the server's Python environment cannot be made\n    {output.strip()[-600:]}",
        cause="Python's venv module is not installed" if lacks_venv else None,
        next_step=f"on Debian or Ubuntu: apt install python{version}-venv" if lacks_venv else None,
        path=path,
    )
