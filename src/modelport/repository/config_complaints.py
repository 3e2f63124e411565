"""What is wrong with the text of a config.pbtxt: file, line, field, cause and near names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from pydantic import ValidationError
from tritonclient.grpc import model_config_pb2

from modelport.errors import ConfigError
from modelport.repository import positions

_UNKNOWN_FIELD = re.compile(r'Message type "(?P<type>[\w.]+)" has no field named "(?P<name>\w+)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "(?P<type>[\w.]+)" has no value named (?P<name>\w+)')


def syntax_error(text: str, error: text_format.ParseError, path: Path | None) -> ConfigError:
    """Explain text that is no text format, or names what model_config.proto does not have."""
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    reason = re.sub(r"^\d+:\d+ : ", "", str(error)).strip()
    field = positions.field_at(positions.locate(text), line, column)
    return ConfigError(
        f"{_where(path, line, column)}: {_in_field(field)}{reason}",
        cause=_did_you_mean(reason) or _usual_slip(text, reason),
        next_step="mend that line; the fields are described in model_config.proto of Triton",
        path=path,
        line=line,
        column=column,
        field=field,
        reason=reason,
    )


def _did_you_mean(reason: str) -> str | None:
    """Name the fields or enum values that resemble an unknown one."""
    for pattern, table in ((_UNKNOWN_FIELD, _field_names()), (_UNKNOWN_VALUE, _value_names())):
        if match := pattern.search(reason):
            near = _near(match["name"], table.get(match["type"], ()))
            return f"did you mean {' or '.join(near)}?" if near else None
    return None


def _usual_slip(text: str, reason: str) -> str | None:
    """Name the likely cause of a complaint that says little by itself."""
    if reason.startswith("'': Expected"):
        return "the file ends too early: a closing brace or bracket is missing"
    if re.search(r"^\s*//", text, flags=re.MULTILINE):
        return "comments start with #, not //"
    if re.search(r"\$\{|Couldn't parse \w+: [A-Z_]{2,}$", reason):
        return "a placeholder of a template was never filled in"
    if "Couldn't parse" in reason and re.search(r",\s*\]", text):
        return "a list ends with a comma before its closing bracket"
    return None


def _near(name: str, known: Iterable[str]) -> list[str]:
    folded = {candidate.lower(): candidate for candidate in known}
    contained = [real for low, real in folded.items() if low.endswith(f"_{name.lower()}")]
    close = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)
    return list(dict.fromkeys([*contained, *(folded[low] for low in close)]))[:3]


def _field_names() -> Mapping[str, list[str]]:
    return {d.full_name: list(d.fields_by_name) for d in _messages()}


def _value_names() -> Mapping[str, list[str]]:
    nested = [enum for d in _messages() for enum in d.enum_types]
    enums = [*model_config_pb2.DESCRIPTOR.enum_types_by_name.values(), *nested]
    return {enum.full_name: list(enum.values_by_name) for enum in enums}


def _messages() -> list[Descriptor]:
    """All message types of model_config.proto, nested ones included."""
    found = list(model_config_pb2.DESCRIPTOR.message_types_by_name.values())
    for descriptor in found:  # grows while it is walked
        found.extend(descriptor.nested_types)
    return found


def value_error(text: str, error: ValidationError, path: Path | None) -> ConfigError:
    """Explain text that parses, but holds a value that means nothing."""
    first = error.errors(include_url=False)[0]
    place = positions.find(positions.locate(text), first["loc"])
    line, column = (place.line, place.column) if place else (1, 1)
    field = _loc_text(first["loc"])
    return ConfigError(
        f"{_where(path, line, column)}: {_in_field(field)}{_reason(first)}",
        cause=_others(error.error_count() - 1),
        next_step="mend that value",
        path=path,
        line=line,
        column=column,
        field=field,
        reason=_reason(first),
    )


def _reason(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    shown = "" if detail["type"] == "value_error" else f"; got {detail['input']!r}"
    return message[:1].lower() + message[1:] + shown


def _others(count: int) -> str | None:
    return f"the file has {count} more problems of this kind" if count > 0 else None


def _loc_text(location: Iterable[object]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _in_field(field: str) -> str:
    return f"field {field}: " if field else ""


def _where(path: Path | None, line: int, column: int) -> str:
    return f"{path or 'config.pbtxt'}:{line}:{column}"
