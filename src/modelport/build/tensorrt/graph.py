"""An ONNX graph as TensorRT reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_UINT8 = 2  # TensorProto.UINT8
# They move elements, whatever their type; the first input is what they move.
_MOVES = {"Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
# Standard operators that compute on integers with ranges found on the way, and those that a
# quantizer writes in place of Q/DQ: TensorRT has none of them.
_INTEGER = {
    "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
}  # fmt: skip


def foreign(path: Path) -> list[str]:
    """Give the operators of a graph that no version of TensorRT is going to take.

    Those of other domains, such as ``com.microsoft.MatMulNBits``, belong to a runtime; without
    a plugin of the same name they mean nothing to another.
    """
    import onnx

    found = set()
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        if node.domain not in ("", "ai.onnx"):
            found.add(f"{node.domain}.{node.op_type}")
        elif node.op_type in _INTEGER:
            found.add(node.op_type)
    return sorted(found)


def readable(path: Path) -> bytes | None:
    """Give the graph as TensorRT wants it; ``None`` where that is the file itself.

    TensorRT takes an input of UINT8 only when a cast comes first (``DataType.UINT8`` in its
    documentation). Where a graph moves the bytes about before it casts them, which costs a CPU
    less, the cast trades places with the moves: the numbers are the same.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    changed = [
        _cast_first(model.graph, tensor.name)
        for tensor in model.graph.input
        if tensor.type.tensor_type.elem_type == _UINT8
    ]
    return model.SerializeToString() if any(changed) else None


def _cast_first(graph: Any, name: str) -> bool:
    from onnx import helper

    nodes = list(graph.node)
    moves: list[Any] = []
    moved, reader = name, _only_reader(graph, name)
    while reader is not None and _moves(nodes[reader], moved):
        moves.append(nodes[reader])
        moved = nodes[reader].output[0]
        reader = _only_reader(graph, moved)
    if not moves or reader is None or nodes[reader].op_type != "Cast":
        return False
    cast = nodes.pop(reader)
    first = helper.make_node("Cast", [name], [f"{moved}_cast"], name=cast.name)
    first.attribute.extend(cast.attribute)
    moves[0].input[0] = first.output[0]
    moves[-1].output[0] = cast.output[0]
    copies = [type(node).FromString(node.SerializeToString()) for node in (first, *nodes)]
    del graph.node[:]
    graph.node.extend(copies)
    # The types noted for what is moved are no longer right.
    del graph.value_info[:]
    return True


def _moves(node: Any, name: str) -> bool:
    return node.op_type in _MOVES and node.input[0] == name


def _only_reader(graph: Any, name: str) -> int | None:
    """Give the one node that reads a tensor; none where there are more, or it is an output."""
    readers = [index for index, node in enumerate(graph.node) if name in node.input]
    given = any(output.name == name for output in graph.output)
    return readers[0] if len(readers) == 1 and not given else None
