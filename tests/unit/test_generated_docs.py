"""The parts of docs/ that are written by a program agree with the code.

Run with MODELPORT_UPDATE_GOLDEN=1 (`make golden`) to write them anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modelport import cli, errors
from modelport.client.testing import FAILURES
from modelport.perf import result
from modelport.repository import manifest_schema
from modelport.repository.doctor import RULES

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 88


def command_sections() -> Iterator[str]:
    root = click.Context(
        cli.command, info_name="modelport", **cli.command.context_settings, **_widths()
    )
    yield "## modelport\n\n```text\n" + cli.command.get_help(root) + "\n```\n"
    for name in cli.COMMANDS:
        command = cli.command.get_command(root, name)
        assert command is not None
        command._help_option = None  # click keeps that of whichever test ran the command before
        context = click.Context(command, info_name=name, parent=root, **_widths())
        yield f"## modelport {name}\n\n```text\n{command.get_help(context)}\n```\n"


def _widths() -> dict[str, int]:
    return {"terminal_width": WIDTH, "max_content_width": WIDTH}


def exit_codes() -> str:
    def rows(kind: type[errors.ModelportError]) -> Iterator[tuple[int, str, str]]:
        meaning = (kind.__doc__ or "").strip().splitlines()[0]
        yield kind.exit_code, kind.__name__, meaning.replace(":attr:", "").replace("``", "`")
        for leaf in kind.__subclasses__():
            if leaf.__module__ == errors.__name__:
                yield from rows(leaf)

    table = [
        f"| {code} | `{name}` | {meaning} |" for code, name, meaning in rows(errors.ModelportError)
    ]
    return "\n".join(["| code | class | meaning |", "| --- | --- | --- |", *table]) + "\n"


def rule_table() -> str:
    head = [
        "| id | severity | what is wrong | why it matters | how it is mended | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows = [
        f"| {r.id} | {r.severity} | {r.title} | {r.why} | {r.fix} | {r.source} |" for r in RULES
    ]
    return "\n".join([*head, *rows]) + "\n"


def failure_table() -> str:
    rows = [f"| `{name}` | {failure.meaning} |" for name, failure in FAILURES.items()]
    head = ["| `with_` | what happens, and what `modelport.client` makes of it |", "| --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


GENERATED = {
    ("cli.md", "commands"): lambda: "\n".join(command_sections()),
    ("cli.md", "exit codes"): exit_codes,
    ("doctor.md", "rules"): rule_table,
    ("testing-your-code.md", "failures"): failure_table,
}


@pytest.mark.parametrize(("document", "part"), GENERATED)
def test_generated_part_is_up_to_date(document: str, part: str) -> None:
    path = DOCS / document
    text = path.read_text()
    begin, end = f"<!-- generated: {part} -->\n", f"<!-- end: {part} -->\n"
    before, found, rest = text.partition(begin)
    assert found, f"{document} has no line {begin.strip()}"
    current, found, after = rest.partition(end)
    assert found, f"{document} has no line {end.strip()}"
    wanted = f"\n{GENERATED[document, part]()}\n"
    if os.environ.get("MODELPORT_UPDATE_GOLDEN"):
        path.write_text(before + begin + wanted + end + after)
        return
    assert current == wanted, "if the change is meant: make golden"


SCHEMAS = {
    "manifest.schema.json": manifest_schema.schema,
    "perf-result.schema.json": result.schema,
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_up_to_date(name: str) -> None:
    path = DOCS / name
    wanted = json.dumps(SCHEMAS[name](), indent=2) + "\n"
    if os.environ.get("MODELPORT_UPDATE_GOLDEN"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "if the change is meant: make golden"
