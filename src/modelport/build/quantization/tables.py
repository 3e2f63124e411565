"""Tables of vectors, from which a network takes rows by number: words, items, pieces of words."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import NodeProto, TensorProto, helper

from modelport.build.quantization.graphs import Graph

# Below, the nodes that make floats of the rows again cost more than is saved.
_LEAST_BYTES = 1 << 16


def shrink(graph: Graph, kept: Collection[str]) -> list[str]:
    """Keep tables as 8-bit integers with a scale for each row; rows become floats when taken.

    Args:
        graph: is changed; ``Gather`` nodes along the rows of constants are looked at.
        kept: names of nodes that stay as they are.

    Returns:
        Names of the nodes whose tables shrank.
    """
    found = [n for n in graph.nodes if n.name not in kept and _takes_rows(graph, n)]
    # A table that something else reads, too, would have to stay beside its copy.
    names = {id(node): node.name for node in found}
    shrunk = [n for n in found if all(id(c) in names for c in graph.consumers(n.input[0]))]
    made = {node.name: _rows(graph, node) for node in shrunk}
    graph.replace([new for node in graph.nodes for new in made.get(node.name, [node])])
    graph.tidy()
    return sorted(made)


def _takes_rows(graph: Graph, node: NodeProto) -> bool:
    if node.op_type != "Gather" or node.input[0] not in graph.constants:
        return False
    table = graph.constants[node.input[0]]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    large = 4 * int(np.prod(table.dims)) >= _LEAST_BYTES
    return table.data_type == TensorProto.FLOAT and len(table.dims) == 2 and axis == 0 and large


def _rows(graph: Graph, node: NodeProto) -> list[NodeProto]:
    table, numbers = node.input
    name, rows = node.output[0], f"{table}_int8"
    if rows not in graph.constants:
        values = graph.array(table)
        scales = np.maximum(np.abs(values).max(axis=1, keepdims=True) / 127, 1e-12)
        graph.set(rows, np.rint(values / scales).astype(np.int8))
        graph.set(f"{table}_scales", scales.astype(np.float32))
    make = helper.make_node
    rounded, steps, scale = (f"{name}_row_{part}" for part in ("int8", "steps", "scale"))
    return [
        make("Gather", [rows, numbers], [rounded], f"{node.name}_int8", axis=0),
        make("Cast", [rounded], [steps], f"{node.name}_steps", to=TensorProto.FLOAT),
        make("Gather", [f"{table}_scales", numbers], [scale], f"{node.name}_scale"),
        make("Mul", [steps, scale], [name], node.name),
    ]
