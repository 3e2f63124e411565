"""``modelport history``: who had which version serve, when and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import IntegrityError

if TYPE_CHECKING:
    from modelport.rollout.history import Entry


@click.command("history")
@click.argument("model", metavar="[NAME]", required=False, shell_complete=options.complete_model)
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, model: str | None, repository: Path, as_json: bool) -> None:
    """Show the log of promotions, and whether anybody has tampered with it.

    Ends with an error where an entry was altered, left out or added, or where config.pbtxt
    does not say what the log ends with.
    """
    from modelport.repository.layout import Repository
    from modelport.rollout import history, intent

    place = Repository(repository)
    if model is not None:
        place.model(model)
    entries, disagreements = history.checked(place)
    shown = [e for e in entries if model is None or model in e.changes]
    if as_json:
        listed = [history.dump(entry) for entry in shown]
        out.json({"entries": listed, "disagreements": disagreements})
    else:
        _show(out, shown, entries)
    if intent.cut_short(repository):
        out.note("a promotion was cut short; the next promote or rollback sees to it")
    if disagreements:
        listing = "\n".join(f"  {one}" for one in disagreements)
        raise IntegrityError(
            f"{repository / history.FILE_NAME} and the version policies disagree\n{listing}",
            cause="config.pbtxt was edited or taken from version control, or the log was cut",
            next_step="modelport promote NAME VERSION, with the version that shall serve",
            path=repository / history.FILE_NAME,
        )


def _show(out: Output, shown: list[Entry], entries: list[Entry]) -> None:
    if not shown:
        out.text("nothing was promoted yet: of each model the newest version serves")
        return
    rows = [
        (
            entry.number,
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            entry.who,
            entry.action,
            "\n".join(_changed(entry)),
            "\n".join([entry.reason, *(f"overruled: {one}" for one in entry.overruled)]).strip(),
        )
        for entry in shown
    ]
    out.table("", ("", "time (UTC)", "who", "what", "versions", "why"), rows)
    out.note(f"{len(entries)} entries, unbroken; the last has the digest {entries[-1].digest}")


def _changed(entry: Entry) -> list[str]:
    # What was named comes first.
    names = sorted(entry.changes, key=lambda name: (name != entry.model, name))
    changes = ((name, entry.changes[name]) for name in names)
    return [f"{n} {', '.join(map(str, s.before)) or '–'} → {s.after}" for n, s in changes]
