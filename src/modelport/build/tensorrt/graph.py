"""An ONNX graph as TensorRT reads it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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

    The numbers stay the same, but for an INT8 graph whose ranges are not symmetric. TensorRT
    takes

    - an input of UINT8 only when a cast comes first. Where a graph moves the bytes about before
      it casts them, which costs a CPU less, the cast trades places with the moves.
    - no quantized biases, which ONNX Runtime's kernels want in INT32: they become floats.
    - no zero points but 0: see :mod:`modelport.build.quantization.symmetric`.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if _asymmetric(model.graph):
        return _symmetric(path)
    images = [
        tensor.name
        for tensor in model.graph.input
        if tensor.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    ]
    changed = [_cast_first(model.graph, name) for name in images]
    changed.append(_float_biases(model.graph))
    return model.SerializeToString() if any(changed) else None


def _asymmetric(graph: Any) -> bool:
    from onnx import TensorProto

    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    points = (n.input[2] for n in graph.node if n.op_type == "QuantizeLinear" and n.input[2:])
    return any(types.get(name) == TensorProto.UINT8 for name in points)


def _symmetric(path: Path) -> bytes:
    from modelport.build.quantization.symmetric import symmetric

    with TemporaryDirectory(prefix="modelport-symmetric-") as folder:
        target = Path(folder) / path.name
        symmetric(path, target)
        return target.read_bytes()


def _float_biases(graph: Any) -> bool:
    from onnx import numpy_helper

    held = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        parts = [held[name] for name in node.input if name in held]
        if len(parts) < len(node.input) or not _is_bias(node, parts):
            kept.append(node)
            continue
        # Both are scalars, or as long as the bias is; zero points of INT32 must be zero.
        values, scale = (numpy_helper.to_array(part) for part in parts[:2])
        floats = values.astype(scale.dtype) * scale
        graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
    changed = len(kept) < len(graph.node)
    if changed:
        _replace(graph.node, kept)
    return changed


def _is_bias(node: Any, parts: list[Any]) -> bool:
    from onnx import TensorProto

    dequantizes = node.op_type == "DequantizeLinear"
    return dequantizes and parts[0].data_type == TensorProto.INT32 and not parts[0].external_data


def _replace(repeated: Any, messages: Iterable[Any]) -> None:
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del repeated[:]
    repeated.extend(copies)


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
    _replace(graph.node, (first, *nodes))
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
