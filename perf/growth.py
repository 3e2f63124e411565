"""How `modelport models`, `modelport doctor` and a publication grow with the repository.

    python perf/growth.py                     10, 100 and 1,000 models with 10 versions each
    python perf/growth.py --models 10,100     other sizes

Makes repositories of tiny real ONNX models with real manifests in a temporary folder and runs
the commands on them, each in a process of its own, as a user does; perf/README.md says how to
read the result.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from modelport.repository import edits, publish
from modelport.repository.manifest import (
    BuilderEntry,
    FileEntry,
    Manifest,
    ParityEntry,
    Proof,
    ToleranceEntry,
)
from modelport.repository.publish import Move
from modelport.spec.config import LatestVersions, ModelConfig, ModelInput, ModelOutput
from modelport.spec.config import ModelVersionPolicy as Policy

_NO_DIGEST = "0" * 64
_CREATED = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Sample:
    """What one size of repository takes."""

    models: int
    versions: int
    models_s: float
    models_cpu_s: float
    doctor_s: float
    doctor_cpu_s: float
    doctor_mib: float
    publish_ms: float
    """Median of several versions, each staged, fsynced and renamed into place."""
    publish_cpu_ms: float


def network(width: int) -> bytes:
    """Make a small linear network: float32[batch, width] to float32[batch, width]."""
    weights = np.random.default_rng(width).normal(size=(width, width)).astype(np.float32)
    shape = ("batch", width)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_version(folder: Path, name: str, version: int, weights: bytes) -> None:
    """Write a version folder with its network and a manifest that holds."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights)
    parity = ParityEntry(
        reference="torch", requests=8, batch_sizes=[1, 2], worst_absolute=0.0, worst_relative=0.0
    )
    Manifest(
        model=name,
        version=version,
        kind="onnx",
        public=True,
        created=_CREATED,
        builder=BuilderEntry(path=f"builders/{name}.py", sha256=_NO_DIGEST),
        build_key=_NO_DIGEST,
        dependencies={"onnx": onnx.__version__},
        proof=Proof(
            tolerance=ToleranceEntry(absolute=1e-5, relative=1e-5),
            through_server=parity,
            server="2.51.0",
        ),
        files=[FileEntry.of(folder / "model.onnx", folder)],
    ).write(folder)


def configuration(name: str, width: int) -> ModelConfig:
    """Make the configuration of one model."""
    return ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=8,
        input=(ModelInput(name="x", data_type="TYPE_FP32", dims=(width,)),),
        output=(ModelOutput(name="y", data_type="TYPE_FP32", dims=(width,)),),
        version_policy=Policy(latest=LatestVersions(num_versions=1)),
    )


def write_repository(repository: Path, models: int, versions: int, width: int) -> None:
    """Write a whole repository; not published, because a thousand fsyncs prove nothing here."""
    weights = network(width)
    for number in range(models):
        name = f"model_{number:04d}"
        for version in range(1, versions + 1):
            write_version(repository / name / str(version), name, version, weights)
        config = configuration(name, width)
        edits.write(repository / name / "config.pbtxt", config, builder=f"builders/{name}.py")


def measure_command(*arguments: str) -> tuple[float, float, float]:
    """Run a `modelport` command; give seconds, seconds of CPU, and its peak memory in MiB."""
    command = [sys.executable, "-m", "modelport.cli", *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_publication(
    repository: Path, versions: int, width: int, rounds: int
) -> tuple[float, float]:
    """Publish further versions of the first model; give median milliseconds, and those of CPU."""
    name = min(path.name for path in repository.iterdir() if path.is_dir())
    weights = network(width)
    took, worked = [], []
    for version in range(versions + 1, versions + 1 + rounds):
        start, begun = time.perf_counter(), time.process_time()
        stage = publish.new_stage(repository, name)
        write_version(stage / name / str(version), name, version, weights)
        config = configuration(name, width)
        edits.write(stage / name / "config.pbtxt", config, builder=f"builders/{name}.py")
        moves = [
            Move(stage / name / part, repository / name / part)
            for part in (str(version), "config.pbtxt")
        ]
        with publish.locked(repository):
            publish.apply(repository, moves)
        publish.discard(repository, stage)
        took.append((time.perf_counter() - start) * 1000)
        worked.append((time.process_time() - begun) * 1000)
    return statistics.median(took), statistics.median(worked)


def measured(models: int, versions: int, width: int, rounds: int) -> Sample:
    """Make a repository of one size and measure all three."""
    with _workplace() as repository:
        write_repository(repository, models, versions, width)
        where = ("--repository", str(repository))
        listing = _best(lambda: measure_command("models", *where, "--json"), rounds)
        doctor = _best(lambda: measure_command("doctor", *where, "--json"), min(rounds, 2))
        os.sync()  # else the first fsync would wait for all that was written above
        published = measure_publication(repository, versions, width, rounds * 3)
        return Sample(models, versions, *listing[:2], *doctor, *published)


def _best(measure: Callable[[], tuple[float, float, float]], rounds: int) -> Sequence[float]:
    """Take the quickest of some runs: others only add the noise of the machine."""
    return min(measure() for _ in range(rounds))


@contextmanager
def _workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelport-growth-"))
    try:
        (folder / "repository").mkdir()
        yield folder / "repository"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(samples: Sequence[Sample]) -> None:
    """Print a table."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table()
    columns = ("models", "versions each", "models, s", "CPU s", "doctor, s", "CPU s",
               "doctor, MiB", "publish, ms", "CPU ms")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    for sample in samples:
        count, versions, *figures = asdict(sample).values()
        table.add_row(f"{count:,}", str(versions), *(f"{figure:.2f}" for figure in figures))
    console.print(table)


@click.command(help=__doc__.split("\n")[0])
@click.option("--models", default="10,100,1000", show_default=True, help="Sizes to measure.")
@click.option("--versions", default=10, show_default=True, help="Versions of each model.")
@click.option("--width", default=16, show_default=True, help="Width of the networks.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each; the quickest counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(models: str, versions: int, width: int, rounds: int, as_json: bool) -> None:
    """Measure and show."""
    sizes = [int(size) for size in models.split(",")]
    samples = [measured(size, versions, width, rounds) for size in sizes]
    if as_json:
        click.echo(json.dumps([asdict(sample) for sample in samples]))
        return
    show(samples)


if __name__ == "__main__":
    main()
