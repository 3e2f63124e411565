"""Answers of a wrapper's command line: lines for people, or JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

_MOST_LINES = 20
_MOST_VALUES = 8


class Printer:
    """Prints answers: for people, or one line of JSON each.

    Args:
        asked_as: the parameter of what was asked, for JSON; empty for none.
        shares: fields that are shown as per cent.
        pieces: texts that come one after the other belong together.
        as_json: print JSON.

    Attributes:
        named: what was asked stands before its answer.
    """

    def __init__(
        self, asked_as: str, shares: Collection[str], *, pieces: bool, as_json: bool
    ) -> None:
        self._asked_as, self._shares = asked_as, shares
        self._joined, self._as_json = pieces and not as_json, as_json
        self.named = False

    def answers(self, results: Iterable[Any], subject: str) -> None:
        """Print the answers to one subject as they come."""
        some = False
        for result in results:
            fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
            if self._as_json:
                asked = {self._asked_as: subject} if self._asked_as else {}
                print(json.dumps({**asked, **_jsonable(fields)}, ensure_ascii=False))
            elif self._joined and all(isinstance(value, str) for value in fields.values()):
                # Pieces of a text, which belong together.
                print(*fields.values(), sep="", end="", flush=True)
                some = True
            else:
                self._print(fields, subject if self.named else "")
        if some:
            print()

    def _print(self, fields: Mapping[str, Any], subject: str) -> None:
        single = {n: v for n, v in fields.items() if not isinstance(v, (list, np.ndarray))}
        if single:
            says = any(isinstance(value, str) for value in single.values())
            # Beside a label it is plain what a number is; alone it is not.
            values = [f"{'' if says else f'{n} '}{self._one(n, v)}" for n, v in single.items()]
            print("  ".join([subject, *values] if subject else values))
        elif subject:
            print(subject)
        if any(isinstance(value, str) for value in single.values()):
            return  # a label or a text says it; --json has the rest
        others = {name: value for name, value in fields.items() if name not in single}
        if len(others) == 1:
            [(name, value)] = others.items()
            print(f"{name}: {_line(value)}")
            return
        _print_columns({name: value for name, value in others.items() if np.ndim(value) == 1})

    def _one(self, name: str, value: Any) -> str:
        if name in self._shares and isinstance(value, float):
            return f"{value:.1%}"
        return value if isinstance(value, str) else f"{_short(value)}"


def _print_columns(columns: Mapping[str, Any]) -> None:
    """Print what belongs together, item by item."""
    rows = list(zip(*columns.values(), strict=False))
    if len({len(column) for column in columns.values()}) > 1:
        for name, column in columns.items():
            print(f"{name}: {_line(column)}")
        return
    print("  ".join(columns))
    for row in rows[:_MOST_LINES]:
        print("  ".join(map(_short, row)))
    if len(rows) > _MOST_LINES:
        print(f"… ({len(rows)} in all; --json prints them)")


def _line(values: Any) -> str:
    flat = np.ravel(np.asarray(values, dtype=object))
    more = f", … ({flat.size} values)" if flat.size > _MOST_VALUES else ""
    return ", ".join(map(_short, flat[:_MOST_VALUES])) + more


def _short(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _jsonable(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, list):
        return [_jsonable(one) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
