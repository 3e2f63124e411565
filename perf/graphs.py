"""What a variant of an ONNX graph costs beside the graph it was made from, in this process.

    python perf/graphs.py BEFORE.onnx AFTER.onnx     the two of them
    python perf/graphs.py BEFORE.onnx --int8         after quantizing BEFORE here
    python perf/graphs.py resnet18 --int8            ResNet-18 with random weights
    python perf/graphs.py ... --profile              and where the time goes, by operator
    python perf/graphs.py ... --json                 one line

Sessions of one thread answer in turns, the CPU time of the process is counted. Other work on the
machine makes single rounds longer, so the best round of each is compared, too. Ratios below 1
are savings. Inputs are random; for what a variant says of real data, `modelport build` is there.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import showing
from rich.console import Console
from rich.table import Table

from modelport.build.quantization import KINDS, quantize

Feed = dict[str, np.ndarray]
RESNET = "resnet18"
# Long enough for the clock of CPU time, short enough to fall between other work.
ROUND_S = 0.03
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def session(path: Path, *, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """Open a graph with one thread, as a Triton instance does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feeds(opened: onnxruntime.InferenceSession, *, length: int, words: int) -> list[Feed]:
    """Make random inputs of one item: pictures of noise, numbers of words, masks of ones."""
    random = np.random.default_rng(0)

    def array(given: Any) -> np.ndarray:
        first = [1, *(dim if isinstance(dim, int) else length for dim in given.shape[1:])]
        kind = _TYPES[given.type]
        if kind is np.float32:
            return random.normal(size=first).astype(kind)
        if "mask" in given.name or kind is np.bool_:
            return np.ones(first, kind)
        most = 256 if kind is np.uint8 else words
        return random.integers(0 if kind is np.uint8 else 1, most, first).astype(kind)

    return [{given.name: array(given) for given in opened.get_inputs()} for _ in range(16)]


def cpu_times(
    sessions: Sequence[onnxruntime.InferenceSession], asked: Sequence[Feed], rounds: int
) -> list[list[float]]:
    """Let sessions answer in turns; gives seconds of CPU an answer, by session and round."""
    for opened in sessions:
        for feed in asked[:4]:
            opened.run(None, feed)
    start = time.process_time()
    sessions[0].run(None, asked[0])
    calls = max(1, int(ROUND_S / max(time.process_time() - start, 1e-6)))
    found: list[list[float]] = [[] for _ in sessions]
    for number in range(rounds):
        order = range(len(sessions)) if number % 2 else reversed(range(len(sessions)))
        for place in order:
            start = time.process_time()
            for call in range(calls):
                sessions[place].run(None, asked[call % len(asked)])
            found[place].append((time.process_time() - start) / calls)
    return found


def cosines(
    before: onnxruntime.InferenceSession,
    after: onnxruntime.InferenceSession,
    asked: Sequence[Feed],
) -> list[float]:
    """Compare the answers, each output of floats of each item."""
    found = []
    for feed in asked:
        for one, other in zip(before.run(None, feed), after.run(None, feed), strict=True):
            if one.dtype.kind == "f":
                a, b = (array.astype(np.float64).ravel() for array in (one, other))
                found.append(float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)))
    return found


def compared(before: Path, after: Path, asked: Sequence[Feed], rounds: int) -> dict[str, Any]:
    """Measure a pair of graphs."""
    pair = [session(before), session(after)]
    first, second = cpu_times(pair, asked, rounds)
    alike = cosines(*pair, asked)
    return {
        "before_ms": round(1e3 * min(first), 4),
        "after_ms": round(1e3 * min(second), 4),
        "cpu_ratio_best": round(min(second) / min(first), 3),
        "cpu_ratio_median": round(
            statistics.median(b / a for a, b in zip(first, second, strict=True)), 3
        ),
        "file_ratio": round(after.stat().st_size / before.stat().st_size, 3),
        "cosine_least": round(min(alike), 5) if alike else None,
        "cosine_mean": round(statistics.fmean(alike), 5) if alike else None,
    }


def profiled(path: Path, asked: Sequence[Feed], calls: int = 50) -> dict[str, dict[str, float]]:
    """Give milliseconds and nodes of an answer, by operator as ONNX Runtime executes it."""
    with tempfile.TemporaryDirectory() as folder:
        opened = session(path, profile=Path(folder) / "profile")
        for call in range(calls):
            opened.run(None, asked[call % len(asked)])
        events = json.loads(Path(opened.end_profiling()).read_text())
    time_us: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            operator = event["args"]["op_name"]
            time_us[operator] += event["dur"]
            nodes[operator] += 1
    return {
        operator: {"ms": round(us / calls / 1e3, 4), "nodes": nodes[operator] // calls}
        for operator, us in time_us.most_common()
    }


def resnet18(folder: Path) -> Path:
    """Export ResNet-18 with random weights."""
    import torch

    from modelport import spec
    from modelport.build import export
    from modelport.families import backbones

    torch.manual_seed(0)
    network = backbones.ResNet18(1000).eval()
    model = spec.TorchModel(
        name=RESNET,
        network=lambda: network,
        inputs=(spec.Tensor("crop", "UINT8", (224, 224, 3)),),
        outputs=(spec.Tensor("logits", "FP32", (1000,)),),
        max_batch_size=8,
    )
    export.export(model, network, folder / "exported.onnx")
    export.slim(folder / "exported.onnx", folder / f"{RESNET}.onnx")
    return folder / f"{RESNET}.onnx"


def show(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title=f"{result['before']} and {result['after']}", title_justify="left")
    table.add_column("batch 1, one thread")
    table.add_column("", justify="right")
    for name, value in result["figures"].items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    for name, operators in result.get("profile", {}).items():
        table = Table(title=f"{name}: time by operator", title_justify="left")
        for column in ("operator", "nodes", "ms"):
            table.add_column(column, justify="left" if column == "operator" else "right")
        for operator, found in operators.items():
            table.add_row(operator, f"{found['nodes']:g}", f"{found['ms']:.3f}")
        console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))


def machine() -> dict[str, Any]:
    """Say what the figures hold for."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    return {
        "cpu": names[0] if names else platform.machine(),
        "vnni": "avx512_vnni" in flags or "avx_vnni" in flags,
        "load_before": round(os.getloadavg()[0], 2),
        "onnxruntime": onnxruntime.__version__,
    }


@click.command(help=__doc__.split("\n")[0])
@click.argument("before")
@click.argument("after", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--int8", "variant", flag_value="int8", help="Quantize BEFORE: weights, activations.")
@click.option("--int8-dynamic", "variant", flag_value="int8-dynamic", help="Its LSTMs, products.")
@click.option("--int8-weights", "variant", flag_value="int8-weights", help="Weights to 8 bits.")
@click.option("--int4-weights", "variant", flag_value="int4-weights", help="Weights to 4 bits.")
@click.option("--keep", multiple=True, help="Node, pattern or operator that stays in FP32.")
@click.option("--smooth", type=click.FloatRange(0, 1), help="Of --int8: SmoothQuant's alpha.")
@click.option("--length", type=click.IntRange(1), default=64, show_default=True)
@click.option("--words", type=click.IntRange(2), default=1000, show_default=True)
@click.option("--rounds", type=click.IntRange(3, 500), default=40, show_default=True)
@click.option("--profile", is_flag=True, help="Also the time by operator.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(
    before: str, after: Path | None, variant: str | None, as_json: bool, **options: Any
) -> None:
    """Measure and show."""
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        source = resnet18(Path(folder)) if before == RESNET else Path(before)
        if not source.is_file():
            raise click.UsageError(f"{before}: there is no such file")
        asked = feeds(session(source), length=options["length"], words=options["words"])
        if after is None:
            after = Path(folder) / f"{variant or 'copy'}.onnx"
            if variant is None:
                raise click.UsageError("name a second graph, or a variant such as --int8")
            settings: dict[str, Any] = {"keep": options["keep"]}
            if options["smooth"] is not None:
                settings["smooth"] = options["smooth"]
            kinds = {kind.precision: kind for kind in KINDS}
            with showing.failures():
                quantize(source, after, kinds[variant](**settings), asked)
        result: dict[str, Any] = {
            "before": before,
            "after": after.name,
            "figures": compared(source, after, asked, options["rounds"]),
            "machine": about,
        }
        if options["profile"]:
            result["profile"] = {
                name: profiled(path, asked) for name, path in (("before", source), ("after", after))
            }
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(result)


if __name__ == "__main__":
    main()
