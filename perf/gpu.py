"""What a GPU does with networks of the zoo: parity, latency, throughput, share of its limit.

    python perf/gpu.py prepare /tmp/gpu-models      the networks, on the GPU, batches up to 64
    python perf/gpu.py measure grpc://127.0.0.1:8001
    python perf/gpu.py rtx                          the same by TensorRT-RTX, without a server

perf/gpu.md has the commands around these. Every answer is compared with that of the FP32 graph on
this machine's CPU, and a wrong one fails the run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
import showing
from rich.console import Console
from rich.table import Table
from rtx_execution import Execution

from modelport.build import half, tensorrt
from modelport.client import Client
from modelport.errors import ParityError
from modelport.repository import pbtxt
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.samples import FILE_NAME, Samples
from modelport.spec import ModelConfig, ModelInstanceGroup
from modelport.spec.precision import FULL, Bf16, Fp16, Plan
from modelport.verify import in_process

Arrays = Mapping[str, np.ndarray]
# The parts of `image_classifier` and `embedder` that a GPU computes.
NETWORKS = ("image_classifier_network", "embedder_encoder")
BATCHES = (1, 8, 32, 64)
PRECISIONS = {"fp16": Fp16(), "bf16": Bf16()}
LONGEST = 128  # tokens
CLOSE = 0.999  # cosine


class Network:
    """A network of the zoo: its FP32 graph on this CPU, and requests for it."""

    def __init__(self, repository: Path, name: str) -> None:
        self.folder: ModelFolder = Repository(repository).model(name)
        proven = self.folder.proven_versions()
        self.version = max(v for v in proven if self.folder.manifest(v).precision == FULL)
        self.place = self.folder.version_dir(self.version)
        self.path = self.place / "model.onnx"
        self.config = self.folder.config_of(self.version)
        self.item = self._item()
        self.answers = in_process.session(self.path)

    def _item(self) -> Arrays:
        """Give one item: the longest sample that is not too long, or a picture of noise."""
        cases = Samples.read(self.place / FILE_NAME).cases
        items = [case.inputs for case in cases if len(next(iter(case.inputs.values()))) == 1]
        varies = [tensor.name for tensor in self.config.input if -1 in tensor.dims]
        if varies:
            items = [item for item in items if all(item[n].size <= LONGEST for n in varies)]
        if items:
            return max(items, key=lambda item: sum(array.size for array in item.values()))
        rng = np.random.default_rng(0)
        return {t.name: rng.integers(0, 256, (1, *t.dims), np.uint8) for t in self.config.input}

    def batch(self, size: int) -> Arrays:
        """Repeat the item: dense computation does not care what it computes on."""
        return {name: np.repeat(array, size, axis=0) for name, array in self.item.items()}

    def graph(self, precision: str, target: Path) -> Path:
        """Give the file of a precision."""
        if precision != FULL:
            half.convert(self.path, target, [self.item], PRECISIONS[precision])
            return target
        return self.path

    def shapes(self, most: int) -> dict[str, tensorrt.Shapes]:
        """Give the shapes of an engine for batches up to ``most`` of this item."""
        lengths = {}
        for tensor in self.config.input:
            sizes = zip(tensor.dims, self.item[tensor.name].shape[1:], strict=True)
            lengths[tensor.name] = tuple((size,) * 3 for dim, size in sizes if dim == -1)
        plan = Plan(batch=most, lengths={name: spans for name, spans in lengths.items() if spans})
        return tensorrt.profile_of(self.config.input, most, plan)

    def operations(self) -> int:
        """Count the floating point operations of an item: twice the products of its layers."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling, options.log_severity_level = True, 3
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(str(self.path), options)
            session.run(None, dict(self.item))
            events = json.loads(Path(session.end_profiling()).read_text())
        graph = onnx.load(str(self.path)).graph
        sizes = {weights.name: math.prod(weights.dims[1:]) for weights in graph.initializer}
        kernels = {n.name: sizes[n.input[1]] for n in graph.node if n.op_type == "Conv"}
        return sum(_operations(event, kernels) for event in events)

    def check(self, got: Arrays, size: int, where: str) -> float:
        """Compare a batch's answers with the CPU's; gives the least cosine.

        Raises:
            ParityError: an output is further off than 16 bits explain.
        """
        least = 1.0
        for name, expected in in_process.run(self.answers, self.batch(size)).items():
            if expected.dtype.kind == "f":
                close = _cosine(got[name], expected)
            else:  # near ties may trade places in 16 bits; the best may not
                close = float((got[name][..., 0] == expected[..., 0]).mean())
            if not close >= CLOSE:
                raise ParityError(
                    f"{self.folder.name} by {where}, batch {size}: {name} is {close:.5f} close to"
                    f" the CPU's, at least {CLOSE} is right",
                    next_step="ask with --precision fp32 first; then keep nodes in FP32",
                )
            least = min(least, close)
        return least


def _operations(event: Mapping[str, Any], kernels: Mapping[str, int]) -> int:
    """Count those of a layer, from what ONNX Runtime's profile tells of its shapes."""
    node = event.get("args", {})
    if node.get("op_name") not in {"Conv", "Gemm", "MatMul"} or "output_type_shape" not in node:
        return 0
    [out] = (math.prod(shape) for shape in node["output_type_shape"][0].values())
    [(taken, last)] = ((math.prod(s), s[-1]) for s in node["input_type_shape"][0].values())
    if node["op_name"] == "Conv":
        return 2 * out * kernels[event["name"].removesuffix("_kernel_time")]
    # A product of matrices adds up along the last dimension of the first; Gemm may turn it.
    rows = math.prod(next(iter(node["output_type_shape"][0].values()))[:-1])
    return 2 * out * (last if node["op_name"] == "MatMul" else taken // rows)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    flat = [x.astype(np.float64).ravel() for x in (a, b)]
    return float(flat[0] @ flat[1] / (np.linalg.norm(flat[0]) * np.linalg.norm(flat[1])))


# --- measuring ------------------------------------------------------------------


def timed(
    call: Callable[[], Any], *, seconds: float, concurrency: int
) -> tuple[list[float], float]:
    """Call from many threads for a while; gives the times in ms, and how long it took in all."""

    def one_caller(_: int) -> list[float]:
        found = []
        while time.perf_counter() < end or len(found) < 3:
            begin = time.perf_counter()
            call()
            found.append((time.perf_counter() - begin) * 1e3)
        return found

    with ThreadPoolExecutor(concurrency) as pool:
        begin = time.perf_counter()
        end = begin + seconds
        times = [t for found in pool.map(one_caller, range(concurrency)) for t in found]
        return times, time.perf_counter() - begin


def figures(
    network: Network,
    way: str,
    ask: Callable[[Arrays], Arrays],
    *,
    batches: Sequence[int],
    concurrency: int,
    seconds: float,
    limit_tflops: float | None,
) -> Iterator[dict[str, Any]]:
    """Check and time a network at every batch size."""
    operations = network.operations()
    for size in batches:
        inputs = network.batch(size)
        close = min(network.check(ask(inputs), size, way) for _ in range(3))  # warms up, too
        times, took = timed(lambda: ask(inputs), seconds=seconds, concurrency=concurrency)  # noqa: B023
        items = size * len(times) / took
        tflops = items * operations / 1e12
        yield {
            "model": network.folder.name,
            "way": way,
            "batch": size,
            "concurrency": concurrency,
            "requests": len(times),
            "p50_ms": round(statistics.median(times), 3),
            "p99_ms": round(sorted(times)[math.ceil(0.99 * len(times)) - 1], 3),
            "items_per_second": round(items, 1),
            "gflop_per_item": round(operations / 1e9, 4),
            "tflop_per_second": round(tflops, 4),
            "share_of_limit": round(tflops / limit_tflops, 4) if limit_tflops else None,
            "cosine": round(close, 6),
        }


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows as a table or as one line of JSON, with the GPU they were taken on."""
    card = tensorrt.gpu()
    about = f"{card.name}, compute capability {card.compute_capability}" if card else "no GPU here"
    if as_json:
        click.echo(json.dumps({"gpu": about, "rows": list(rows)}))
        return
    table = Table(title=about, title_justify="left")
    for title in rows[0] if rows else ():
        table.add_column(title.replace("_", " "))
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row.values()))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)


# --- commands -------------------------------------------------------------------

NAMED = click.option("--models", default=",".join(NETWORKS), show_default=True)
BUILT = click.option(
    "--repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("model_repository"),
    show_default=True,
    help="The built models.",
)
PRECISION = click.option(
    "--precision", type=click.Choice([FULL, *PRECISIONS]), default=FULL, show_default=True
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")


def measuring(function: Callable[..., None]) -> Callable[..., None]:
    """Add what `measure` and `rtx` share."""
    for option in (
        click.option("--batches", default=",".join(map(str, BATCHES)), show_default=True),
        click.option("--seconds", type=float, default=5, show_default=True, help="Of each row."),
        click.option(
            "--limit-tflops",
            type=float,
            help="Of the card's data sheet, dense, for the precision: shows the share of it.",
        ),
        JSON,
        NAMED,
        BUILT,
    ):
        function = option(function)
    return function


@click.group(help=__doc__.split("\n")[0])
def main() -> None:
    """Hold the commands."""


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(["gpu", "cpu"]), default="gpu", show_default=True)
@click.option("--plan", is_flag=True, help="A TensorRT plan of the graph, for the GPU of here.")
@click.option("--max-batch-size", type=int, default=max(BATCHES), show_default=True)
@PRECISION
@NAMED
@BUILT
def prepare(models: str, repository: Path, target: Path, **settings: Any) -> None:
    """Write a model repository with the networks on GPU 0 (or the CPU, to try the commands)."""
    for name in models.split(","):
        network = Network(repository, name)
        (target / name / "1").mkdir(parents=True)
        config = write(network, target / name / "1", **settings)
        (target / name / "config.pbtxt").write_text(pbtxt.render(config))
        click.echo(f"{target / name}: version {network.version}, {settings['precision']}")


def write(
    network: Network, folder: Path, *, kind: str, plan: bool, max_batch_size: int, precision: str
) -> ModelConfig:
    """Write a version for large batches, and give the configuration that it needs."""
    group = ModelInstanceGroup(kind="KIND_GPU", count=1, gpus=(0,))
    if kind == "cpu":
        group = ModelInstanceGroup(kind="KIND_CPU", count=1)
    config = dataclasses.replace(
        network.config,
        max_batch_size=max_batch_size,
        instance_group=(group,),
        version_policy=None,
        dynamic_batching=None,
        output=tuple(dataclasses.replace(o, label_filename="") for o in network.config.output),
    )
    path = network.graph(precision, folder / "model.onnx")
    if not plan:
        if path != folder / "model.onnx":
            shutil.copyfile(path, folder / "model.onnx")
        return config
    found = tensorrt.library(only="tensorrt")
    shapes = network.shapes(max_batch_size)
    engine = tensorrt.compile(path, shapes, tensorrt.EngineOptions(), using=found)
    (folder / "model.onnx").unlink(missing_ok=True)
    (folder / "model.plan").write_bytes(engine.data)
    return dataclasses.replace(config, backend="tensorrt", parameters={})


@main.command()
@click.argument("url")
@click.option("--concurrency", type=int, default=1, show_default=True)
@measuring
def measure(
    url: str,
    concurrency: int,
    models: str,
    repository: Path,
    batches: str,
    seconds: float,
    limit_tflops: float | None,
    as_json: bool,
) -> None:
    """Ask a running tritonserver at URL."""
    rows = []
    with Client(url, timeout_s=120) as client:
        for name in models.split(","):
            rows += figures(
                Network(repository, name),
                "tritonserver",
                lambda inputs: client.infer(name, inputs),  # noqa: B023 - asked at once
                batches=[int(size) for size in batches.split(",")],
                concurrency=concurrency,
                seconds=seconds,
                limit_tflops=limit_tflops,
            )
    show(rows, as_json)


@main.command()
@PRECISION
@measuring
def rtx(
    precision: str,
    models: str,
    repository: Path,
    batches: str,
    seconds: float,
    limit_tflops: float | None,
    as_json: bool,
) -> None:
    """Run the networks by TensorRT-RTX in this process (pip install cuda-python)."""
    sizes = [int(size) for size in batches.split(",")]
    rows = []
    for name in models.split(","):
        network = Network(repository, name)
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            path = network.graph(precision, Path(folder) / "low.onnx")
            found = tensorrt.library(only="tensorrt_rtx")
            shapes = network.shapes(max(sizes))
            engine = tensorrt.compile(path, shapes, tensorrt.EngineOptions(), using=found)
            execution = stack.enter_context(Execution(found.module, engine.data))
            rows += figures(
                network,
                f"{found.name} {found.version} {precision}",
                execution,
                batches=sizes,
                concurrency=1,
                seconds=seconds,
                limit_tflops=limit_tflops,
            )
    show(rows, as_json)


if __name__ == "__main__":
    with showing.failures():
        main()
