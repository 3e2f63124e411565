"""A graph in which chosen nodes compute in 16 bits, with casts where types meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np

from modelport.build.half_types import LowType

# Nodes and graphs of ONNX: protobuf messages, whose module is loaded late.
Node: TypeAlias = Any
Graph: TypeAlias = Any
Model: TypeAlias = Any

_FLOAT = 1  # TensorProto.FLOAT
# They add up many numbers, or the squares of them: what happens inside is neither their input
# nor their output, and runtimes are free to do it in the type of these.
_SUMS = {
    "CumSum", "LpNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare",
}  # fmt: skip
# They move numbers and change none: between nodes in FP32 a trip to 16 bits is only a loss.
_MOVES = {
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape",
    "ScatterElements", "ScatterND", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
# ONNX has them, and TensorRT-RTX 1.7 does not compile them ("could not infer output types").
_NOT_IN_TENSORRT = {("ConvTranspose", "BF16")}
# What an output's type is, when an attribute says so and not an input.
_TYPED_BY = {"Cast": "to", "ConstantOfShape": "value"}
_STANDARD = ("", "ai.onnx")


def opset(model: Model) -> int:
    """Say which version of ONNX's own operators a graph uses."""
    return max((o.version for o in model.opset_import if o.domain in _STANDARD), default=1)


def types(model: Model) -> dict[str, int]:
    """Give the element type of every tensor of the main graph, as far as it can be told."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    infos = [*inferred.input, *inferred.value_info, *inferred.output]
    found = {info.name: info.type.tensor_type.elem_type for info in infos}
    return found | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def named(model: Model) -> Model:
    """Give every node a name of its own, and every constant its place among the initializers."""
    from onnx import numpy_helper

    seen: set[str] = set()
    nodes = []
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(node.attribute[0].t)))
            tensor.name = node.output[0]
            continue
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)
        nodes.append(node)
    replace(model.graph.node, nodes)
    # Before ONNX 1.4 a constant was declared among the inputs, too.
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in constants]
    replace(model.graph.input, inputs)
    return model


def holds(model: Model, low: LowType) -> bool:
    """Say whether any tensor of a graph is of a type."""
    return low.onnx_type in types(model).values()


# --- which nodes ----------------------------------------------------------------


def choose(
    model: Model, low: LowType, unfit: Mapping[str, str], keep: Sequence[str]
) -> tuple[set[str], dict[str, str]]:
    """Decide which nodes compute in 16 bits.

    Args:
        model: the graph, every node with a name.
        low: the type.
        unfit: tensors that lose their values in it, with the reason.
        keep: names or patterns of nodes, and operator types, that stay in FP32.

    Returns:
        Names of the nodes that change, and of the others that work on floats, with the reason.
    """
    known = types(model)
    kept: dict[str, str] = {}
    wanted: set[str] = set()
    for node in model.graph.node:
        if not any(known.get(name) == _FLOAT for name in (*node.input, *node.output)):
            continue
        reason = _asked(node, keep) or _impossible(model, node, known, low) or _harm(node, unfit)
        if reason:
            kept[node.name] = reason
        else:
            wanted.add(node.name)
    for name in _stranded(model.graph, wanted, known):
        wanted.remove(name)
        kept[name] = "between nodes in FP32"
    return wanted, kept


def matches(node: Node, pattern: str) -> bool:
    """Say whether ``keep`` means a node: by its name, by a pattern, or by its operator."""
    return node.op_type == pattern or fnmatchcase(node.name, pattern)


def _asked(node: Node, keep: Sequence[str]) -> str | None:
    return "asked for" if any(matches(node, pattern) for pattern in keep) else None


def _harm(node: Node, unfit: Mapping[str, str]) -> str | None:
    if node.op_type in _SUMS:
        return "sums many numbers"
    return next((unfit[n] for n in (*node.input, *node.output) if n in unfit), None)


def _impossible(model: Model, node: Node, known: Mapping[str, int], low: LowType) -> str | None:
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return "holds a graph of its own"
    if (node.op_type, low.name) in _NOT_IN_TENSORRT:
        return f"no {node.op_type} in {low.name} in TensorRT"
    roles = _roles(node, opset(model))
    if roles is None:
        return f"an operator of {node.domain or 'ONNX'} that is not described"
    variables = [v for v, name in roles.of(node) if known.get(name) == _FLOAT]
    if any(known.get(name, 0) == 0 for v, name in roles.of(node) if v in variables):
        return "its types cannot be told"
    if not any(variables):
        return "its type is fixed"
    if not all(low.onnx_name in roles.allowed[v] for v in variables if v):
        return f"no {node.op_type} in {low.name} at opset {opset(model)}"
    return None


@dataclass(frozen=True)
class _Roles:
    """Type variables of a node's inputs and outputs; an empty name where the type is fixed."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    allowed: Mapping[str, frozenset[str]]

    def of(self, node: Node) -> Iterator[tuple[str, str]]:
        """Give type variable and tensor of everything that a node reads and writes."""
        for role, name in (*zip(self.inputs, node.input), *zip(self.outputs, node.output)):  # noqa: B905
            if name:
                yield role, name


def _roles(node: Node, version: int) -> _Roles | None:
    from onnx import defs

    if node.domain not in _STANDARD:
        return None
    try:
        schema = defs.get_schema(node.op_type, max_inclusive_version=version)
    except defs.SchemaError:
        return None
    allowed = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}

    def variables(formal: Sequence[Any], count: int) -> tuple[str, ...]:
        # The last of an operator that takes any number of tensors stands for the rest.
        spelled = [formal[min(i, len(formal) - 1)].type_str for i in range(count if formal else 0)]
        return tuple(text if text in allowed else "" for text in spelled)

    inputs, outputs = (
        variables(schema.inputs, len(node.input)),
        variables(schema.outputs, len(node.output)),
    )
    if node.op_type not in _TYPED_BY:
        # The type of such an output comes from an attribute that nobody here knows to change.
        allowed |= {name: frozenset() for name in outputs if name and name not in inputs}
    return _Roles(inputs, outputs, allowed)


def _stranded(graph: Graph, wanted: set[str], known: Mapping[str, int]) -> list[str]:
    """Find nodes that only move numbers from nodes in FP32 to nodes in FP32."""
    constants = {tensor.name for tensor in graph.initializer}
    moves = [node for node in graph.node if node.op_type in _MOVES and node.name in wanted]
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node.name)

    high = known.keys() - {n for node in graph.node if node.name in wanted for n in node.output}
    from_high: list[str] = []
    for node in moves:
        floats = {n for n in node.input if known.get(n) == _FLOAT} - constants
        if floats and floats <= high:
            from_high.append(node.name)
            high |= set(node.output)
    to_high: set[str] = set()
    for node in reversed(moves):
        after = {reader for name in node.output for reader in readers[name]}
        if after.isdisjoint(wanted - to_high):
            to_high.add(node.name)
    return [name for name in from_high if name in to_high]


# --- the casts ------------------------------------------------------------------


@dataclass
class _Lowering:
    """A graph on its way: each tensor has its old name in FP32, and a longer one in 16 bits."""

    graph: Graph
    low: LowType
    known: Mapping[str, int]
    version: int
    suffix: str
    needed_low: set[str] = field(default_factory=set)
    needed_high: set[str] = field(default_factory=set)
    nodes: list[Node] = field(default_factory=list)
    casts: int = 0

    def low_name(self, name: str) -> str:
        """Give the name that a tensor has in 16 bits."""
        return name + self.suffix

    def cast(self, source: str, target: str, to: int) -> None:
        """Add a node that changes the type of a tensor."""
        from onnx import helper

        name = f"cast_{target}"
        self.nodes.append(helper.make_node("Cast", [source], [target], name=name, to=to))
        self.casts += 1

    def narrow(self, name: str) -> None:
        """Cast to 16 bits behind an input or a node in FP32, if anyone reads it so."""
        if name in self.needed_low:
            self.cast(name, self.low_name(name), self.low.onnx_type)

    def widen(self, name: str) -> None:
        """Cast to FP32 behind a node in 16 bits, if anyone reads it so."""
        if name in self.needed_high:
            self.cast(self.low_name(name), name, _FLOAT)

    def places(self, node: Node) -> tuple[list[int], list[int]]:
        """Give the numbers of those inputs and outputs of a node that can change their type."""
        roles = _roles(node, self.version)
        assert roles is not None
        return self._floats(roles.inputs, node.input), self._floats(roles.outputs, node.output)

    def _floats(self, variables: Sequence[str], names: Sequence[str]) -> list[int]:
        pairs = enumerate(zip(variables, names, strict=True))
        return [i for i, (v, name) in pairs if v and self.known.get(name) == _FLOAT]


def lower(model: Model, wanted: set[str], low: LowType) -> int:
    """Have nodes compute in 16 bits; gives the number of casts that this takes.

    Args:
        model: the graph, changed where it lies.
        wanted: names of the nodes.
        low: the type.
    """
    graph, known = model.graph, types(model)
    suffix = f"_{low.name.lower()}"
    while any(f"{name}{suffix}" in known for name in known):
        suffix += "_"
    work = _Lowering(graph, low, known, opset(model), suffix)
    _note_needs(work, wanted)
    for tensor in graph.input:
        work.narrow(tensor.name)
    _convert_constants(work)
    for node in graph.node:
        if node.name in wanted:
            _lower_node(work, node)
        else:
            work.nodes.append(node)
            for name in node.output:
                work.narrow(name)
    replace(graph.node, work.nodes)
    # What is noted of tensors inside speaks of other types.
    del graph.value_info[:]
    return work.casts


def _note_needs(work: _Lowering, wanted: set[str]) -> None:
    for node in work.graph.node:
        narrow: set[int] = set()
        if node.name in wanted:
            narrow = set(work.places(node)[0])
        for index, name in enumerate(node.input):
            (work.needed_low if index in narrow else work.needed_high).add(name)
        work.needed_high |= set(_captured(node))
    work.needed_high |= {tensor.name for tensor in work.graph.output}


def _captured(node: Node) -> Iterator[str]:
    """Give the names that a node's own graphs use; some of them are of the graph around it."""
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for inner in graph.node:
                yield from inner.input
                yield from _captured(inner)
            yield from (tensor.name for tensor in graph.output)


def _lower_node(work: _Lowering, node: Node) -> None:
    inputs, outputs = work.places(node)
    for index in inputs:
        node.input[index] = work.low_name(node.input[index])
    if node.op_type in _TYPED_BY and outputs:
        _retype(node, work.low)
    written = [node.output[index] for index in outputs]
    for index in outputs:
        node.output[index] = work.low_name(node.output[index])
    work.nodes.append(node)
    for name in written:
        work.widen(name)
    for name in set(node.output) - {work.low_name(name) for name in written}:
        work.narrow(name)


def _retype(node: Node, low: LowType) -> None:
    from onnx import helper, numpy_helper

    attribute = _attribute(node, _TYPED_BY[node.op_type])
    if node.op_type == "Cast":
        attribute.i = low.onnx_type
        return
    if attribute is None:  # a ConstantOfShape without value gives zeros
        zero = numpy_helper.from_array(np.zeros(1, np.float32))
        node.attribute.append(helper.make_attribute("value", zero))
        attribute = node.attribute[-1]
    _convert(attribute.t, low)


def _attribute(node: Node, name: str) -> Any:
    return next((a for a in node.attribute if a.name == name), None)


def _convert_constants(work: _Lowering) -> None:
    kept = []
    for tensor in work.graph.initializer:
        narrow = tensor.name in work.needed_low and tensor.data_type == _FLOAT
        if not narrow or tensor.name in work.needed_high:
            kept.append(tensor)
        if narrow:
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = work.low_name(tensor.name)
            _convert(copy, work.low)
            kept.append(copy)
    replace(work.graph.initializer, kept)


def _convert(tensor: Any, low: LowType) -> None:
    from onnx import numpy_helper

    from modelport.build.half_ranges import STAND_IN

    values = numpy_helper.to_array(tensor).astype(np.float32)
    values = np.where(np.isfinite(values) & (values <= STAND_IN), low.barrier, values)
    bits = low.encode(values.astype(np.float32))
    name, dims = tensor.name, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type = name, low.onnx_type
    tensor.dims.extend(dims)
    tensor.raw_data = bits.astype("<u2").tobytes()


def replace(repeated: Any, messages: Iterable[Any]) -> None:
    """Put other messages into a repeated field; they may be some of its own."""
    copies = []
    for message in messages:
        copy = type(message)()
        copy.CopyFrom(message)
        copies.append(copy)
    del repeated[:]
    repeated.extend(copies)
