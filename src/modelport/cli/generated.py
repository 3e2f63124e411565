"""What ``modelport codegen`` does with files that it has generated: write them, or compare them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.cli.output import Output

if TYPE_CHECKING:
    from modelport.codegen.files import Same


def write(
    out: Output,
    folder: Path,
    content: Mapping[str, str],
    *,
    as_json: bool,
    same: Same = str.__eq__,
) -> None:
    """Write files, and say which.

    Args:
        out: where it is said.
        folder: of the files.
        content: by path inside the folder.
        as_json: say it for programs.
        same: tells whether the content on disk (first) may stand for the generated one.

    Raises:
        InterfaceError: the disk refused.
    """
    from modelport.codegen import files

    written = files.write(folder, content, same=same)
    if as_json:
        out.json({"folder": str(folder), "files": sorted(content), "written": written})
        return
    for name in written:
        out.text(f"{folder / name}")
    left = len(content) - len(written)
    out.note(f"{_files(len(written))} written" + (f", {left} as they were" if left else ""))


def check(
    out: Output,
    folder: Path,
    content: Mapping[str, str],
    again: str,
    *,
    as_json: bool,
    same: Same = str.__eq__,
    ours: Callable[[str], bool] | None = None,
    pattern: str = "*",
) -> None:
    """Compare files with what would be generated now, and say so.

    Args:
        out: where it is said.
        folder: of the files.
        content: by path inside the folder.
        again: the command that writes them.
        as_json: say it for programs.
        same: tells whether the content on disk (first) may stand for the generated one.
        ours: tells of other content in the folder whether it was generated once.
        pattern: of the files that may be surplus.

    Raises:
        StaleFilesError: they differ.
    """
    from modelport.codegen import files

    differences = files.differences(folder, content, same=same, ours=ours, pattern=pattern)
    if as_json:
        out.json([one._asdict() for one in differences])
    files.refuse(folder, differences, again)
    if not as_json:
        are = "is" if len(content) == 1 else "are"
        out.text(f"{folder}: {_files(len(content))} {are} what would be generated now")


def again(
    what: str,
    names: Sequence[str],
    repository: Path,
    builders: Path | None,
    target: Path,
    *more: str,
) -> str:
    """Give the command that writes what was checked."""
    source = ["--builders", str(builders)] if builders else ["--repository", str(repository)]
    words = ["modelport", "codegen", what, *names, *source, "--out", str(target), *more]
    return shlex.join(words)


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
