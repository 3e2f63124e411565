"""ONNX graphs as quantization reads and writes them: loaded, named, checked, saved."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from modelport.errors import ExportError

# Protobuf holds no message above 2 GB.
_MOST_BYTES = 2**31 - 2**20
# What ONNX Runtime says by default, which it cannot be asked for.
_WARNING, _FATAL = 2, 4


class Graph:
    """A model's graph with what is asked of it again and again, kept up to date by hand.

    Args:
        model: is changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        _name_nodes(model.graph.node)

    @classmethod
    def load(cls, source: Path) -> Graph:
        """Read a file, its external data too, and infer the shapes within."""
        loaded = cls(onnx.load(str(source)))
        loaded.infer()
        return loaded

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """All nodes, in the order in which they run."""
        return self.model.graph.node

    def infer(self) -> None:
        """Note types and shapes of all tensors."""
        if self.model.ByteSize() < _MOST_BYTES:
            self.model = onnx.shape_inference.infer_shapes(self.model)
            self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}

    def array(self, name: str) -> np.ndarray:
        """Give the values of a constant."""
        return np.asarray(numpy_helper.to_array(self.constants[name]))

    def set(self, name: str, values: np.ndarray) -> str:
        """Add a constant, or change one; gives its name."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
        if name in self.constants:
            self.constants[name].CopyFrom(tensor)
        else:
            self.model.graph.initializer.append(tensor)
            self.constants[name] = self.model.graph.initializer[-1]
        return name

    def producer(self, tensor: str) -> NodeProto | None:
        """Give the node whose output a tensor is."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """Give the nodes that take a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def is_output(self, tensor: str) -> bool:
        """Say whether a tensor is an output of the model."""
        return any(output.name == tensor for output in self.model.graph.output)

    def replace(self, nodes: Sequence[NodeProto]) -> None:
        """Put other nodes in the place of all."""
        kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def products(self, names: Collection[str]) -> None:
        """Write some ``Gemm`` nodes as a product, of the same name, and a sum."""
        self.replace([new for node in self.nodes for new in self._product(node, names)])

    def _product(self, node: NodeProto, names: Collection[str]) -> list[NodeProto]:
        if node.op_type != "Gemm" or node.name not in names:
            return [node]
        if _attribute(node, "transB", 0):
            turned = self.array(node.input[1]).T
            node.input[1] = self.set(f"{node.input[1]}_{node.name}_turned", turned)
        if len(node.input) < 3:
            return [helper.make_node("MatMul", node.input[:2], node.output, node.name)]
        sum_of = f"{node.output[0]}_product"
        return [
            helper.make_node("MatMul", node.input[:2], [sum_of], node.name),
            helper.make_node("Add", [sum_of, node.input[2]], node.output, f"{node.name}_bias"),
        ]

    def tidy(self) -> None:
        """Remove nodes that nothing needs, and constants and notes of what is gone."""
        needed = {output.name for output in self.model.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input) | _outer_names(node)
        self.replace(kept[::-1])
        graph = self.model.graph
        for tensor in [t for t in graph.initializer if t.name not in needed]:
            graph.initializer.remove(tensor)
        for value in [v for v in graph.value_info if v.name not in needed]:
            graph.value_info.remove(value)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def save(self, target: Path, like: Path) -> None:
        """Write a file, the same bytes for the same graph.

        Args:
            target: the file.
            like: the file that it was made from, whose inputs and outputs it must have.

        Raises:
            ExportError: it has others, is no valid ONNX, or is larger than 2 GB.
        """
        self.tidy()
        _declare_domains(self.model)
        _check_interface(self.model, onnx.load(str(like), load_external_data=False), like)
        if self.model.ByteSize() >= _MOST_BYTES:
            raise ExportError(
                f"{like}: {self.model.ByteSize() / 1e9:.1f} GB after quantization, more than the"
                " 2 GB that one ONNX file holds",
                next_step="leave the variant out, or quantize to fewer bits",
                path=like,
            )
        onnx.checker.check_model(self.model)
        target.write_bytes(self.model.SerializeToString(deterministic=True))


def matching(nodes: Sequence[NodeProto], keep: Collection[str]) -> dict[str, str]:
    """Find the nodes that a declaration keeps in floating point.

    Args:
        nodes: of the graph.
        keep: operator types, or names or patterns of names: of nodes, or of their constants,
            which keep the names of torch's modules (``"*.head.weight"``). A product goes by the
            name of the bias that is added behind it, too: the exporter turns its weights, and
            gives them a number for a name.

    Returns:
        Name of each node to the entry that names it.

    Raises:
        ExportError: an entry names no node.
    """
    kept: dict[str, str] = {}
    # Of each sum's sides, what stands on the other.
    beside = {a: b for node in nodes if node.op_type == "Add" for a, b in _both_ways(node.input)}
    for entry in keep:
        found = [n.name for n in nodes if _is_named(n, entry, beside.get(n.output[0], ""))]
        if not found:
            types = sorted({node.op_type for node in nodes})
            raise ExportError(
                f"keep: {entry!r} names no node of the graph",
                cause=f"a typing error, or the export names its nodes otherwise; there are, for"
                f" example, {', '.join(node.name for node in nodes[:3])}",
                next_step=f"name a node, a pattern of names, or one of {', '.join(types)}",
                keep=entry,
            )
        kept |= {name: entry for name in found if name not in kept}
    return kept


def _both_ways(pair: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield pair[0], pair[1]
    yield pair[1], pair[0]


def _is_named(node: NodeProto, entry: str, added: str) -> bool:
    names = [node.name, *node.input[1:]]
    if node.op_type == "MatMul":
        names.append(added)
    return node.op_type == entry or any(fnmatch.fnmatchcase(name, entry) for name in names)


def nothing(
    source: Path, what: str, types: Collection[str], kept: Mapping[str, str]
) -> ExportError:
    """Say that a graph has no node that a variant could change.

    Args:
        source: the file.
        what: the variant.
        types: operator types that it changes.
        kept: nodes of these types that stay, each with the reason.
    """
    reasons = Counter(kept.values())
    shown = "".join(f"\n    {count} × {reason}" for reason, count in sorted(reasons.items()))
    return ExportError(
        f"{source.name}: nothing to quantize for {what}: it changes {', '.join(types)} with"
        f" constant weights, and {'these all stay:' if kept else 'the graph has none'}{shown}",
        next_step=f"leave {what} out of `variants`" + (", or keep less" if kept else ""),
        path=source,
        kept=dict(kept),
    )


def is_plain(node: NodeProto) -> bool:
    """Say whether a product is one of its two inputs as they are, apart from a turned second."""
    factors = (_attribute(node, "alpha", 1.0), _attribute(node, "beta", 1.0))
    return not _attribute(node, "transA", 0) and factors == (1.0, 1.0)


def _attribute(node: NodeProto, name: str, default: float) -> float:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else float(helper.get_attribute_value(found))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizers' chatter off the terminal, that of ONNX Runtime's sessions too."""
    import onnxruntime

    void = io.StringIO()
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(void),
        contextlib.redirect_stderr(void),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        onnxruntime.set_default_logger_severity(_FATAL)
        try:
            yield
        finally:
            onnxruntime.set_default_logger_severity(_WARNING)
            logging.disable(before)


def library() -> str:
    """Name the library that quantizes, with its version."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def opset(model: onnx.ModelProto) -> int:
    """Give the version of ONNX's own operators."""
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _name_nodes(nodes: Sequence[NodeProto]) -> None:
    """Give every node a name of its own, by which it can be kept."""
    seen: set[str] = set()
    for place, node in enumerate(nodes):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{place}"
        seen.add(node.name)


def _outer_names(node: NodeProto) -> set[str]:
    """Give the tensors that branches and bodies of a node take from around it."""
    names: set[str] = set()
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names |= set(inner.input) | _outer_names(inner)
            names |= {output.name for output in graph.output}
    return names


def _declare_domains(model: onnx.ModelProto) -> None:
    """Import the operator sets that are used, no others."""
    used = {node.domain for node in model.graph.node} | {""}
    for entry in [e for e in model.opset_import if e.domain not in used]:
        model.opset_import.remove(entry)
    declared = {entry.domain for entry in model.opset_import}
    for domain in sorted(used - declared):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def _check_interface(model: onnx.ModelProto, before: onnx.ModelProto, source: Path) -> None:
    for side in ("input", "output"):
        now, then = ([_signature(v) for v in getattr(m.graph, side)] for m in (model, before))
        if now != then:
            raise ExportError(
                f"{source}: quantization changed the {side}s: expected {then}, got {now}",
                cause="a fault of the quantizer",
                next_step="leave the variant out, and report it",
                path=source,
            )


def _signature(value: onnx.ValueInfoProto) -> tuple[str, int, tuple[object, ...]]:
    kind = value.type.tensor_type
    dims = tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim)
    return value.name, kind.elem_type, dims
