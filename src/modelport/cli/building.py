"""Building several files from the command line: what goes wrong in one leaves the others alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelport.build import selection
from modelport.cli.output import Output
from modelport.errors import ModelportError


def gathered(failures: Sequence[tuple[str, Exception]], of: int, doing: str) -> Exception:
    """Make one error of those that stopped some of several files.

    Its class, and so the exit code, is theirs; where they differ, the nearest above them all.

    Args:
        failures: name of the builder file, and its error.
        of: how many files there were.
        doing: what did not work, such as ``"built"``.
    """
    if len(failures) == 1:
        return failures[0][1]
    known = [error for _, error in failures if isinstance(error, ModelportError)]
    if len(known) < len(failures):  # a package is missing: the command line names the extra
        return next(error for _, error in failures if not isinstance(error, ModelportError))
    text = "\n".join(
        f"\n{name}: " + "\n  ".join(str(error).splitlines()) for name, error in failures
    )
    names = " ".join(name for name, _ in failures)
    return _class_above(known)(
        f"{len(failures)} of {of} builder files could not be {doing}{text}",
        next_step=f"mend the first one, then: modelport build {names}",
        failures=dict(failures),
    )


def _class_above(found: Sequence[ModelportError]) -> type[ModelportError]:
    lines = [type(error).__mro__ for error in found]
    return next(kind for kind in lines[0] if all(kind in line for line in lines))


def left_out(out: Output, builders: Path, names: Sequence[str]) -> None:
    """Say which builder files wait for being named."""
    if names and "all" not in names:
        return
    for path in selection.by_name_only(builders):
        if path.stem not in names:
            out.note(f"{path.stem} is built by name: modelport build {path.stem}")
