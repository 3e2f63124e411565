"""config.pbtxt: text to typed configuration and back.

The protobuf message of tritonclient stands between the two, so that every way
of writing the text that Triton reads is read here too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message
from pydantic import ValidationError
from tritonclient.grpc import model_config_pb2

from modelport.errors import ConfigError
from modelport.repository.config_complaints import syntax_error, value_error
from modelport.repository.config_message import from_message, to_message
from modelport.spec.config import ModelConfig

__all__ = ["from_message", "parse", "plain", "read", "read_text", "render", "to_json", "to_message"]


def read(path: Path) -> ModelConfig:
    """Read a config.pbtxt.

    Raises:
        ConfigError: it is missing, not UTF-8, or does not parse.
    """
    return parse(read_text(path), path=path)


def read_text(path: Path) -> str:
    """Read the text of a config.pbtxt.

    Raises:
        ConfigError: it is missing, unreadable or not UTF-8.
    """
    try:
        # newline="" keeps \r\n as it is: digests are of the bytes on disk.
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8",
            cause="the file is binary, or was saved in another encoding",
            next_step="save it as UTF-8 text",
            path=path,
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}",
            next_step="check the path and its permissions",
            path=path,
        ) from error


def to_json(config: ModelConfig) -> str:
    """Write a configuration as Triton's control API takes it."""
    return json_format.MessageToJson(to_message(config))


def parse(text: str, *, path: Path | None = None) -> ModelConfig:
    """Read the text of a config.pbtxt; ``path`` only appears in messages.

    Raises:
        ConfigError: with file, line, column, field, and near names of an unknown field.
    """
    message = _message(text, path)
    try:
        return from_message(message)
    except ValidationError as error:
        raise value_error(text, error, path) from error


def plain(path: Path) -> dict[str, Any]:
    """Read what a config.pbtxt says as plain values, by the names of the fields.

    Two files that mean the same give equal values, however they are written.

    Raises:
        ConfigError: it is missing, not UTF-8, or does not parse.
    """
    message = _message(read_text(path), path)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _message(text: str, path: Path | None) -> Message:
    message: Message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise syntax_error(text, error, path) from error
    return message


def render(config: ModelConfig) -> str:
    """Write a configuration as text: fields in the order of the proto file, map keys sorted."""
    return text_format.MessageToString(
        to_message(config),
        as_utf8=True,
        use_index_order=True,
        use_short_repeated_primitives=True,
    )
