"""Which variant of a network is published: by measured gates, not by hope.

All variants, and the network as it was trained, are served side by side on a private server
and asked in turn. Among those that keep every budget, the best for a goal is chosen; to be
better means to be better beyond doubt, so that noise chooses nothing.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from modelport.build import making, proof, variants
from modelport.build.candidates import labels_of
from modelport.build.steps import Listener, Progress, Report
from modelport.build.variants import VariantBuild
from modelport.errors import GateError, IntegrityError
from modelport.repository import edits, judgements
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import (
    IntervalEntry,
    JudgementEntry,
    RatesEntry,
    VariantEntry,
)
from modelport.repository.samples import Case, Samples
from modelport.runtime import cache, memory, proc
from modelport.runtime import toolchain as toolchains
from modelport.runtime.server import Server
from modelport.spec.model import TorchModel
from modelport.spec.precision import FULL
from modelport.verify import latency, side_by_side
from modelport.verify.side_by_side import Rates

Goal: TypeAlias = Literal["throughput", "latency", "size"]
GOALS: tuple[str, ...] = get_args(Goal)
_LOADS = 3
_ASKED = 16
# What a goal looks at: a ratio against fp32, and whether more of it is better.
_RATIO = {"latency": ("latency", False), "throughput": ("throughput", True)}
_WORDS = {"latency": "median latency", "throughput": "throughput"}


def judge(builds: Sequence[VariantBuild], goal: str, listener: Listener) -> JudgementEntry:
    """Measure variants of one network and choose one.

    Args:
        builds: ``fp32`` first; plans are not among them, they are built where they serve.
        goal: ``throughput``, ``latency`` or ``size``, or the name of a variant, which is
            chosen if it keeps its budgets.
        listener: hears of every step.

    Returns:
        What all showed, and the choice.

    Raises:
        BuildError: a variant cannot be made, or a budget names no figure.
        GateError: the variant that was named does not keep its budgets.
    """
    full = builds[0]
    model = full.network.model
    start = time.monotonic()
    lost = {build.precision: build.lost(full) for build in builds}
    served = [build for build in builds if build.served_on_cpu]
    facts = _through_server(served, listener) if len(served) > 1 else {}
    entries = [
        VariantEntry(
            precision=build.precision,
            sha256=build.sha256,
            size_bytes=build.onnx_file.stat().st_size,
            figures=dict(build.figures),
            least_cosine=build.closeness.least_cosine,
            mean_cosine=build.closeness.mean_cosine,
            worst_absolute=build.closeness.worst_absolute,
            within_budget=not lost[build.precision],
            verdict="; ".join(lost[build.precision]),
            **facts.get(build.precision, {}),
        )
        for build in builds
    ]
    chosen = choose(entries, goal, model.name)
    metrics = full.network.metrics
    entry = JudgementEntry(
        goal=goal,
        chosen=chosen,
        split=metrics.split if metrics else None,
        count=metrics.count if metrics else 0,
        budgets=[f"{b.metric} {b.describe()}" for b in variants.budgets(full.network)],
        machine=latency.machine(),
        server=proof.server_name(),
        variants=[
            one.model_copy(update={"verdict": verdict(one, entries, chosen, goal)})
            for one in entries
        ],
    )
    _keep(entry)
    words = f"{judgements.title(entry)}, of {len(entries)}"
    listener(Report(model.name, "choose", words, time.monotonic() - start))
    return entry


def _keep(entry: JudgementEntry) -> None:
    """Keep a judgement apart from versions: where fp32 stays, none is published that has it."""
    file = _file(entry.variants[0].sha256)
    partial = file.with_suffix(f".partial-{os.getpid()}")
    partial.write_text(entry.model_dump_json(), encoding="utf-8")
    partial.replace(file)


def kept(folder: ModelFolder) -> JudgementEntry | None:
    """Find what was judged last, on this machine, of the network that a model has now."""
    for version in reversed(folder.proven_versions()):
        with suppress(IntegrityError, OSError, ValueError):
            manifest = folder.manifest(version)
            if manifest.precision != FULL:
                continue  # derived from an earlier version
            (sha256,) = (file.sha256 for file in manifest.files if file.path == "model.onnx")
            return JudgementEntry.model_validate_json(_file(sha256).read_text(encoding="utf-8"))
        return None
    return None


def _file(sha256: str) -> Path:
    return cache.folder("judgements") / f"{sha256}.json"


def choose(entries: Sequence[VariantEntry], goal: str, model: str) -> str:
    """Choose a variant for a goal; raises :class:`GateError` if the one that is named lost.

    Args:
        entries: what each showed, ``fp32`` first.
        goal: one of :data:`GOALS`, or a variant's name.
        model: for the error.
    """
    if goal not in GOALS:
        return _named(entries, goal, model)
    full, *others = entries
    able = [entry for entry in others if entry.within_budget and entry.ratios]
    if goal == "size":
        return min([full, *able], key=lambda entry: entry.size_bytes).precision
    figure, more = _RATIO[goal]
    better = [
        entry
        for entry in able
        if (entry.ratios[figure].low > 1 if more else entry.ratios[figure].high < 1)
    ]
    if not better:
        return FULL
    order = sorted(better, key=lambda entry: entry.ratios[figure].ratio, reverse=more)
    return order[0].precision


def _named(entries: Sequence[VariantEntry], name: str, model: str) -> str:
    entry = next(entry for entry in entries if entry.precision == name)
    if not entry.within_budget:
        raise GateError(
            f"model {model!r}: the variant {name} does not keep its budget: {entry.verdict}",
            cause="the network loses too much in this precision",
            next_step="keep the nodes that lose most in FP32 (`keep`), or look at all variants:"
            f" modelport build {model} --choose size",
            model=model,
            variant=name,
        )
    if name != FULL and not entry.ratios:
        raise GateError(
            f"model {model!r}: the variant {name} cannot be proven here: it is made for GPUs",
            cause="ONNX Runtime has hardly a kernel for 16-bit floats on CPUs",
            next_step=f"modelport plan {model} --of {name}, on a machine with a GPU; docs/plans.md",
            model=model,
            variant=name,
        )
    return name


def verdict(entry: VariantEntry, entries: Sequence[VariantEntry], chosen: str, goal: str) -> str:
    """Say in words why a variant was chosen, or why it lost."""
    if not entry.within_budget:
        return f"over budget: {entry.verdict}"
    winner = next(other for other in entries if other.precision == chosen)
    if entry is winner:
        return f"chosen: {_advantage(entry, goal)}"
    if not entry.ratios and entry.precision != FULL:
        return "not timed on this machine: it is made for GPUs"
    if goal == "size":
        return f"lost: {entry.size_bytes / winner.size_bytes:.2f} times the size of {chosen}"
    if goal not in GOALS:
        return f"not asked for: {goal} was"
    return f"lost: {_advantage(entry, goal)}" + (f"; {chosen} is better" if chosen != FULL else "")


def _advantage(entry: VariantEntry, goal: str) -> str:
    if entry.precision == FULL:
        return "the network as it was trained"
    if goal in _RATIO:
        found = entry.ratios[_RATIO[goal][0]]
        text = f"{found.ratio:.2f} times the {_WORDS[goal]} of fp32"
        doubtful = found.low <= 1 <= found.high
        interval = f" (95 %: {found.low:.2f} to {found.high:.2f})"
        return text + interval + (", which may be chance" if doubtful else "")
    return f"{entry.size_bytes / 1e6:.3g} MB"


def _through_server(
    builds: Sequence[VariantBuild], listener: Listener
) -> dict[str, dict[str, object]]:
    """Serve variants side by side; give the further fields of each one's entry."""
    model = builds[0].network.model
    samples = _asked(builds[0])
    names = {build.precision: f"{model.name}.{build.precision}" for build in builds}
    listener(Progress(model.name, "choose", "starting a private server", 0, 1))
    with _staged(model, builds, names) as stage, _served(stage) as server:
        found = side_by_side.measure(
            server.endpoints.grpc,
            list(names.values()),
            samples,
            lambda: proc.cpu_s(server.pid),
            rounds=side_by_side.ROUNDS,
            block_s=side_by_side.BLOCK_S,
            on_round=lambda done, total: listener(
                Progress(model.name, "choose", "asking them in turn", done, total)
            ),
        )
        use = {use.name: use.pss_bytes for use in memory.measure(server.pid, [stage])}
        loads = {name: _load_ms(server, name) for name in names.values()}
    base = found[names[FULL]]
    return {
        precision: {
            "rates": {str(c): _rates(rates) for c, rates in found[name].items()},
            "ratios": _ratios(found[name], base) if precision != FULL else {},
            "memory_bytes": use.get(name),
            "load_ms": loads[name],
        }
        for precision, name in names.items()
    }


def _asked(full: VariantBuild) -> Samples:
    """Give the requests that the variants are timed with.

    A builder that makes calibration data of a split says how real items look; those of the test
    split are asked then. Else it is the proof's requests, odd ones included.
    """
    network = full.network
    if network.model.calibration is None:
        return Samples.read(full.cases.folder / "samples.json")
    items = making.items_of(network, network.dataset.test, most=_ASKED)
    return Samples(tuple(Case(item, {}, "", {}) for item in items))


@contextmanager
def _staged(
    model: TorchModel, builds: Sequence[VariantBuild], names: Mapping[str, str]
) -> Iterator[Path]:
    stage = Path(tempfile.mkdtemp(prefix=f"modelport-{model.name}-"))
    try:
        for build in builds:
            folder = stage / names[build.precision]
            (folder / "1").mkdir(parents=True)
            shutil.copyfile(build.onnx_file, folder / "1" / "model.onnx")
            config = dataclasses.replace(model.config(), name=folder.name)
            edits.write(folder / CONFIG, config, builder=build.network.builder.path.name)
            for name, content in labels_of(model).items():
                (folder / name).write_bytes(content)
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _served(stage: Path) -> Iterator[Server]:
    toolchains.ensure()
    # Without the response cache, which would answer in the variants' place.
    server = Server.start(stage, listed=False, response_cache=False)
    try:
        yield server
    finally:
        server.kill()


def _load_ms(server: Server, name: str) -> float:
    """Time a load, the median of some."""
    times = []
    for _ in range(_LOADS):
        server.unload(name)
        start = time.perf_counter()
        server.load(name)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1e3, 1)


def _rates(rates: Rates) -> RatesEntry:
    return RatesEntry(
        p50_ms=round(rates.p50_ms, 3),
        p99_ms=round(rates.p99_ms, 3),
        replies_per_s=round(rates.median(lambda block: block.replies_per_s), 1),
        cpu_ms_per_reply=round(rates.median(lambda block: block.cpu_ms), 3),
    )


def _ratios(own: Mapping[int, Rates], base: Mapping[int, Rates]) -> dict[str, IntervalEntry]:
    one, many = side_by_side.CONCURRENCIES
    found = {
        "cpu": own[one].against(base[one], lambda block: block.cpu_ms),
        "latency": own[one].against(base[one], lambda block: block.p50_ms),
        "throughput": own[many].against(base[many], lambda block: block.replies_per_s),
    }
    return {name: IntervalEntry(**asdict(interval)) for name, interval in found.items()}
