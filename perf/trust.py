"""How long signing and checking a whole repository takes.

    python perf/trust.py               sign and check a copy of the repository

Works on a copy, which it removes. Each figure is the best of three, with the files in memory:
what a disk adds is its own speed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from modelport.repository import keys, signing, trust
from modelport.repository.keys import PublicKey
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.signature import FILE_NAME as SIGNATURE

ROOT = Path(__file__).resolve().parents[1]
TIMES = 3

Versions = list[tuple[ModelFolder, int]]


def best(work: Callable[[], object]) -> float:
    """Give the shortest of some runs, in seconds."""
    took = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def proven(repository: Path) -> Versions:
    """List every version that has a manifest."""
    return [(f, v) for f in Repository(repository).models() for v in f.proven_versions()]


def sign(repository: Path, versions: Versions, key: Path) -> Versions:
    """Sign all as if for the first time; gives those that could be signed."""
    for folder, version in versions:
        (folder.version_dir(version) / SIGNATURE).unlink(missing_ok=True)
    done = signing.sign(repository, versions, key, leave_out=True)
    return [pair for pair, one in zip(versions, done, strict=True) if one.state == "signed"]


def verify(versions: Versions, public: tuple[PublicKey, ...]) -> None:
    """Check all, with a signature where there is a key."""
    for folder, version in versions:
        trust.check(folder, version, public, live=False)


@click.command(help=__doc__.split("\n")[0])
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(repository: Path, as_json: bool) -> None:
    """Measure and show."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "repository")
        shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(".modelport*"))
        public = keys.generate(Path(place, "team"))
        versions = sign(copy, proven(copy), Path(place, "team"))
        if not versions:
            sys.exit(f"{repository}: no version of it can be signed: modelport build all")
        figures = {
            "versions": len(versions),
            "bytes": sum(e.size_bytes for f, v in versions for e in f.manifest(v).files),
            "sign_s": best(lambda: sign(copy, versions, Path(place, "team"))),
            "verify_signed_s": best(lambda: verify(versions, (public,))),
            "verify_digests_s": best(lambda: verify(versions, ())),
        }
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(f"{figures['versions']} versions, {figures['bytes'] / 1e6:.0f} MB")
    for name in ("sign_s", "verify_signed_s", "verify_digests_s"):
        click.echo(f"{name.removesuffix('_s').replace('_', ' '):<16} {figures[name]:6.2f} s")


if __name__ == "__main__":
    main()
