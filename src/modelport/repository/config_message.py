"""Typed configuration to protobuf message and back.

One pair of functions converts by field names, so a field is described once,
in :mod:`modelport.spec.config`.
"""

from __future__ import annotations

import keyword
from dataclasses import fields, is_dataclass
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from pydantic import TypeAdapter
from tritonclient.grpc import model_config_pb2

from modelport.errors import ConfigError
from modelport.spec.config import ModelConfig

_CONFIG = TypeAdapter(ModelConfig)


def from_message(message: Message) -> ModelConfig:
    """Convert a ``ModelConfig`` message.

    Raises:
        pydantic.ValidationError: the message holds a value that means nothing.
    """
    return _CONFIG.validate_python(_plain(message))


def to_message(config: ModelConfig) -> Message:
    """Convert a configuration to a ``ModelConfig`` message.

    Raises:
        ConfigError: it uses a field that the installed tritonclient does not know.
    """
    message: Message = model_config_pb2.ModelConfig()
    _fill(message, config)
    return message


def _plain(message: Message) -> dict[str, Any] | str:
    """Give what is set in a message, in plain values under the dataclasses' names."""
    if list(message.DESCRIPTOR.fields_by_name) == ["string_value"]:  # ModelParameter
        return str(message.ListFields()[0][1]) if message.ListFields() else ""
    return {_attribute(field.name): _plain_field(field, v) for field, v in message.ListFields()}


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    value_field = _map_value(field)
    if value_field is not None:
        return {key: _plain_value(value_field, item) for key, item in value.items()}
    if field.is_repeated:
        return tuple(_plain_value(field, item) for item in value)
    return _plain_value(field, value)


def _plain_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value  # pydantic refuses an unknown number
    return value


def _fill(message: Message, value: Any) -> None:
    """Set the fields of ``message`` from a dataclass of the same shape."""
    for attribute in fields(value):
        item = getattr(value, attribute.name)
        field = message.DESCRIPTOR.fields_by_name.get(attribute.name.rstrip("_"))
        if field is None:
            _refuse_unknown(message, attribute.name, item)
        elif item is not None:
            _fill_field(message, cast("FieldDescriptor", field), item)


def _fill_field(message: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(message, field.name)
    value_field = _map_value(field)
    if value_field is not None and value_field.message_type is None:
        target.update(value)
    elif value_field is not None:
        for key, item in value.items():
            _fill_message(target[key], item)
    elif field.is_repeated and field.message_type is not None:
        for item in value:
            _fill_message(target.add(), item)
    elif field.is_repeated:
        target.extend(_number(field, item) for item in value)
    elif field.message_type is not None:
        _fill_message(target, value)
    else:
        setattr(message, field.name, _number(field, value))


def _fill_message(message: Message, value: Any) -> None:
    message.SetInParent()  # an empty message is not an absent one
    if is_dataclass(value):
        _fill(message, value)
    else:
        setattr(message, "string_value", value)  # noqa: B010 - the stub knows no such field


def _number(field: FieldDescriptor, value: Any) -> Any:
    return field.enum_type.values_by_name[value].number if field.enum_type else value


def _map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Give the value field of a map, None for any other field."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["value"]


def _attribute(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _refuse_unknown(message: Message, name: str, value: object) -> None:
    """Drop an empty field that this tritonclient lacks; a set one would be lost silently."""
    if value in (None, "", 0, (), {}):
        return
    raise ConfigError(
        f"{message.DESCRIPTOR.name}.{name} is set, but the installed tritonclient does not know it",
        next_step="pip install --upgrade tritonclient",
        field=name,
    )
