"""Which nodes a network can least afford to round: each is quantized alone, and it is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelport.build.quantization import dynamic, graphs, static, weights
from modelport.build.quantization.calibration import Item
from modelport.build.quantization.graphs import Graph
from modelport.spec.precision import Int4Weights, Int8, Int8Dynamic, Int8Weights, Variant

Listener = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Damage:
    """What rounding one node alone does to the outputs.

    Attributes:
        node: its name, as ``keep`` takes it.
        op_type: its operator.
        noise: energy of the outputs' error, as a share of their own energy.
        cosine: the least of an output with that of the FP32 network, over all items.
    """

    node: str
    op_type: str
    noise: float
    cosine: float

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, in decibels; infinite where nothing changed."""
        return float(-10 * np.log10(self.noise)) if self.noise else float("inf")


def sensitivity(
    source: Path,
    batches: Sequence[Item],
    variant: Variant,
    *,
    tensor: str | None = None,
    listener: Listener = lambda _done, _of, _node: None,
) -> list[Damage]:
    """Quantize one node at a time and measure what becomes of the outputs.

    Args:
        source: in FP32.
        batches: calibration data, on which it is measured as well.
        variant: with the settings that would be used; what it keeps is not scanned.
        tensor: one inside the graph that is looked at instead of the outputs, such as the
            logits before a choice of the best classes.
        listener: called before each node with how many are done, of how many, and its name.

    Returns:
        All nodes, the most damaging first.

    Raises:
        ExportError: there is nothing to quantize, or an entry of ``keep`` names no node.
    """
    seen = _with_output(source, tensor)
    expected = answers(seen.model.SerializeToString(), batches)
    types = {node.name: node.op_type for node in seen.nodes}
    names, make = _one_by_one(seen, source, batches, variant)
    found = []
    for done, name in enumerate(names):
        listener(done, len(names), name)
        got = answers(make(name).model.SerializeToString(), batches)
        noise, cosine = compare(expected, got)
        found.append(Damage(name, types[name], noise, cosine))
    return sorted(found, key=lambda damage: (-damage.noise, damage.node))


def answers(model: bytes, batches: Sequence[Item]) -> list[np.ndarray]:
    """Run a graph: its outputs of floats, one row for each item of each batch."""
    import onnxruntime

    with graphs.quiet():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        rows = []
        for batch in batches:
            outputs = [o for o in session.run(None, dict(batch)) if o.dtype.kind == "f"]
            rows.append(np.concatenate([o.astype(np.float64).ravel() for o in outputs]))
        return rows


def compare(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> tuple[float, float]:
    """Give the share of noise, and the least cosine of two answers."""
    error = sum(float(((a - b) ** 2).sum()) for a, b in zip(expected, got, strict=True))
    energy = sum(float((a**2).sum()) for a in expected)
    cosines = [
        float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))
        for a, b in zip(expected, got, strict=True)
    ]
    return error / max(energy, 1e-30), min(1.0, *cosines)


def _with_output(source: Path, tensor: str | None) -> Graph:
    graph = Graph.load(source)
    if tensor is not None:
        known = {value.name: value for value in graph.model.graph.value_info}
        if tensor not in known:
            raise ValueError(f"no tensor {tensor!r} in {source}")
        del graph.model.graph.output[:]
        graph.model.graph.output.append(known[tensor])
        graph.tidy()
    return graph


def _one_by_one(
    seen: Graph, source: Path, batches: Sequence[Item], variant: Variant
) -> tuple[list[str], Callable[[str], Graph]]:
    """Give the nodes, and what makes the graph with one of them quantized."""
    if isinstance(variant, Int8):
        with tempfile.TemporaryDirectory(prefix="modelport-scan-") as folder:
            file = Path(folder) / source.name
            file.write_bytes(seen.model.SerializeToString())
            prepared = static.Prepared(file, variant, batches)
        return prepared.products, lambda name: prepared.quantized(prepared.with_followers({name}))
    if isinstance(variant, Int8Dynamic):
        chosen, kept = dynamic.choose(seen, variant)
        if not chosen:
            raise graphs.nothing(source, variant.name, dynamic.TYPES, kept)
        return chosen, lambda name: dynamic.quantized(seen, [name])
    if isinstance(variant, (Int8Weights, Int4Weights)):
        chosen, weights_kept = weights.choose(seen, variant)
        if not chosen:
            raise graphs.nothing(source, variant.name, weights.TYPES, weights_kept)
        return chosen, lambda name: weights.quantized(
            seen, [name], bits=weights.bits_of(variant), block=variant.block
        )
    raise TypeError(f"{variant.name} quantizes no nodes")


def table(found: Sequence[Damage]) -> list[Mapping[str, object]]:
    """Give the scan as rows that JSON can hold."""
    return [{**vars(damage), "sqnr_db": round(damage.sqnr_db, 2)} for damage in found]
