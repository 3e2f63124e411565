"""The command line of a generated wrapper: ``python clients/sentiment.py "lovely dress"``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from modelport.client.typed.printing import Printer
from modelport.client.typed.wrapper import Wrapper
from modelport.errors import InvalidInputError, ModelportError

Kind = Literal["text", "file", "json", "int", "float", "bool", "texts", "array"]

# Options that every program has.
_OWN = {"help", "h", "url", "json"}
_METAVARS = {"file": "FILE", "json": "JSON", "array": "ARRAY", "texts": "TEXT"}


class Argument(NamedTuple):
    """One parameter of a wrapper.

    Attributes:
        parameter: its name in Python.
        kind: how it is written on the command line.
        doc: for people.
        required: it must be given.
    """

    parameter: str
    kind: Kind
    doc: str = ""
    required: bool = False

    @property
    def option(self) -> str:
        """How the command line calls it."""
        words = self.parameter.strip("_").replace("_", "-")
        return f"--input-{words}" if words in _OWN else f"--{words}"


@dataclasses.dataclass(frozen=True)
class Program:
    """What a wrapper's command line takes and shows.

    Attributes:
        description: of the model, for ``--help``.
        subject: the parameter that stands alone, as often as one likes.
        options: the others.
        shares: fields of the result that are shown as per cent.
        way: how the wrapper is asked.
    """

    description: str
    subject: Argument | None = None
    options: tuple[Argument, ...] = ()
    shares: tuple[str, ...] = ()
    way: Literal["call", "stream", "sequence"] = "call"


def run(wrapper: type[Wrapper], program: Program, arguments: Sequence[str] | None = None) -> int:
    """Ask a wrapper for what the command line says, and print its answers.

    A bad file does not stop the others. Errors go to stderr without a traceback.

    Args:
        wrapper: the class.
        program: what its command line is like.
        arguments: those of the process by default.

    Returns:
        The exit code of the first failure, 0 without any.
    """
    given = vars(_parser(wrapper, program).parse_args(arguments))
    shown = Printer(
        program.subject.parameter if program.subject else "",
        program.shares,
        pieces=program.way == "stream",
        as_json=given.pop("json"),
    )
    try:
        url = given.pop("url")
        subjects = given.pop("subjects", None)
        values = ((one, given[f"option {one.parameter}"]) for one in program.options)
        options = {one.parameter: _value(one, text) for one, text in values if text is not None}
        with wrapper(url) as asked:
            return _ask_each(asked, program, subjects, options, shown)
    except ModelportError as error:
        return _report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(wrapper: type[Wrapper], program: Program) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=_described(program.description))
    if program.subject:
        doc = program.subject.doc.replace("%", "%%")
        metavar = program.subject.parameter.strip("_").upper()
        parser.add_argument("subjects", nargs="+", metavar=metavar, help=doc)
    for argument in program.options:
        parser.add_argument(
            argument.option,
            dest=f"option {argument.parameter}",
            required=argument.required,
            action="append" if argument.kind == "texts" else "store",
            metavar=_METAVARS.get(argument.kind, argument.kind.upper()),
            help=argument.doc.replace("%", "%%"),
        )
    parser.add_argument("--url", default=wrapper.model.default_url, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per answer")
    return parser


def _described(words: str) -> str:
    """Keep words as they are: argparse fills a description in, but only one that names %(prog)."""
    return words.replace("%", "%%") if "%(prog)" in words else words


def _ask_each(
    wrapper: Wrapper,
    program: Program,
    subjects: list[str] | None,
    options: Mapping[str, Any],
    shown: Printer,
) -> int:
    asked: Any = wrapper
    if program.way == "sequence":
        with asked.sequence() as sequence:
            return _ask_all(lambda *v: [sequence.send(*v, **options)], program, subjects, shown)
    if program.way == "stream":
        return _ask_all(lambda *v: asked.stream(*v, **options), program, subjects, shown)
    return _ask_all(lambda *v: [asked(*v, **options)], program, subjects, shown)


def _ask_all(
    ask: Callable[..., Any], program: Program, subjects: list[str] | None, shown: Printer
) -> int:
    if subjects is None or program.subject is None:
        shown.answers(ask(), "")
        return 0
    code = 0
    shown.named = len(subjects) > 1 or program.subject.kind != "text"
    for subject in subjects:
        failed = _ask_one(ask, program.subject, subject, shown)
        code = code or failed
    return code


def _ask_one(ask: Callable[..., Any], argument: Argument, subject: str, shown: Printer) -> int:
    """Print the answer to one subject, or why there is none: a bad one does not stop others."""
    try:
        shown.answers(ask(_value(argument, subject)), subject)
    except InvalidInputError as error:
        return _report(error, subject)
    return 0


# --- values of the command line ----------------------------------------------------


def _value(argument: Argument, text: Any) -> Any:
    read = _READERS.get(argument.kind)
    if read is None:
        return text
    try:
        return read(text)
    except (ValueError, TypeError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"{argument.parameter}: {text!r} cannot be read as {argument.kind}: {reason}",
            next_step="write numbers as [1, 2.5], or name a .npy or .json file"
            if argument.kind == "array"
            else None,
        ) from error


def _flag(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise ValueError("neither true nor false")


def _array(text: str) -> Any:
    if text.lstrip().startswith("["):
        return json.loads(text)
    path = Path(text)
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    return json.loads(path.read_bytes())


# A text is itself, and so is the path of a file, which the wrapper reads.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": _flag,
    "json": json.loads,
    "array": _array,
}


def _report(error: ModelportError, subject: str = "") -> int:
    print(f"error: {f'{subject}: ' if subject else ''}{error}", file=sys.stderr)
    return error.exit_code
