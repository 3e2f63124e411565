"""Strategies for arbitrary messages of model_config.proto, made from their descriptors."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_DIMENSION = st.just(-1) | st.integers(1, 2**63 - 1)
_NAME = st.text(min_size=1, max_size=8)
# What means nothing is refused by the specification, so it is not generated.
_MEANINGFUL = {
    "max_batch_size": st.integers(0, 2**31 - 1),
    "dims": _DIMENSION,
    "shape": _DIMENSION,
    "ModelInput.name": _NAME,
    "ModelOutput.name": _NAME,
    "ControlInput.name": _NAME,
    "Accelerator.name": _NAME,
    "State.input_name": _NAME,
    "State.output_name": _NAME,
    "Step.model_name": _NAME,
}
_ALWAYS = {name for name, strategy in _MEANINGFUL.items() if strategy is _NAME}


@st.composite
def configs(draw: st.DrawFn) -> Message:
    """Any ModelConfig that means something: all fields, oneofs, maps, enums, unicode."""
    message = model_config_pb2.ModelConfig()
    _fill(draw, message, depth=0)
    for tensors in (message.input, message.output):
        for index, tensor in enumerate(tensors):
            tensor.name += str(index)
    return message


def _fill(draw: st.DrawFn, message: Message, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    drawn = draw(st.lists(st.sampled_from(fields), unique_by=lambda f: f.name, max_size=6))
    needed = [f for f in fields if _key(f) in _ALWAYS]
    chosen_of: dict[str, FieldDescriptor] = {}
    for field in [*needed, *drawn]:
        group = field.containing_oneof.name if field.containing_oneof else field.name
        chosen_of.setdefault(group, field)
    for field in chosen_of.values():
        _fill_field(draw, message, field, depth)


def _fill_field(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    target = getattr(message, field.name)
    least = 1 if field.containing_type.name == "ModelEnsembling" else 0
    count = draw(st.integers(least, 3))
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(draw, target, field, count, depth)
    elif field.is_repeated and field.message_type is not None:
        for _ in range(count):
            _fill(draw, target.add(), depth + 1)
    elif field.is_repeated:
        target.extend(draw(_scalar(field)) for _ in range(count))
    elif field.message_type is not None:
        target.SetInParent()
        _fill(draw, target, depth + 1)
        if field.name == "ensemble_scheduling" and not target.step:
            target.step.add().model_name = "part"
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _fill_map(
    draw: st.DrawFn, target: Message, field: FieldDescriptor, count: int, depth: int
) -> None:
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    for _ in range(count):
        chosen = draw(_scalar(key))
        if value.message_type is None:
            target[chosen] = draw(_scalar(value))
        else:
            _fill(draw, target[chosen], depth + 1)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[object]:
    special = _MEANINGFUL.get(_key(field), _MEANINGFUL.get(field.name))
    if special is not None:
        return special
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type in _INTEGERS:
        return st.integers(*_INTEGERS[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32, allow_nan=False)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats(allow_nan=False)
    return st.text(max_size=12)


def _key(field: FieldDescriptor) -> str:
    return f"{field.containing_type.name}.{field.name}"
