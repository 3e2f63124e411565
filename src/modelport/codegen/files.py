"""Generated files on disk: written, or compared with what would be generated now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from modelport.errors import InterfaceError, StaleFilesError

State = Literal["missing", "stale", "surplus"]


class Difference(NamedTuple):
    """A file that is not as it would be generated."""

    path: str
    state: State


Same = Callable[[str, str], bool]


def write(folder: Path, files: Mapping[str, str], *, same: Same = str.__eq__) -> list[str]:
    """Write files, and leave alone those that are right already; gives the paths written.

    Args:
        folder: is made where it is missing.
        files: content by path inside the folder.
        same: tells whether the content on disk (first) may stand for the generated one.

    Raises:
        InterfaceError: the disk refused.
    """
    written = []
    for name, content in files.items():
        path = folder / name
        there = _read(path)
        if there is not None and same(there, content):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
        except OSError as error:
            raise InterfaceError(
                f"{path}: cannot be written: {error.strerror}", path=path
            ) from error
        written.append(name)
    return written


def differences(
    folder: Path,
    files: Mapping[str, str],
    *,
    same: Same = str.__eq__,
    ours: Callable[[str], bool] | None = None,
    pattern: str = "*",
) -> list[Difference]:
    """Compare a folder with what would be generated.

    Args:
        folder: where the files should lie.
        files: content by path inside it.
        same: tells whether the content on disk (first) may stand for the generated one.
        ours: tells of other content in the folder whether it was generated once; then it is
            surplus. Without it nothing is.
        pattern: of the files that may be surplus.
    """
    found = []
    for name, content in files.items():
        there = _read(folder / name)
        if there is None:
            found.append(Difference(name, "missing"))
        elif not same(there, content):
            found.append(Difference(name, "stale"))
    if ours is not None and folder.is_dir():
        others = (p for p in sorted(folder.glob(pattern)) if p.is_file())
        names = (path.relative_to(folder).as_posix() for path in others)
        found += [
            Difference(name, "surplus")
            for name in names
            if name not in files and ours(_read(folder / name) or "")
        ]
    return found


def refuse(folder: Path, found: list[Difference], mend: str) -> None:
    """Raise what :func:`differences` found, if anything.

    Args:
        folder: that was compared.
        found: what is wrong in it.
        mend: the command that mends it.

    Raises:
        StaleFilesError: with all of it.
    """
    if not found:
        return
    listed = "\n".join(f"  {one.state:<8} {folder / one.path}" for one in found)
    surplus = any(one.state == "surplus" for one in found)
    raise StaleFilesError(
        f"{folder}: {len(found)} generated file{'s are' if len(found) > 1 else ' is'} not what"
        f" would be generated now\n{listed}",
        cause="a model or the generator changed after they were generated",
        next_step=mend + ("; remove what is surplus" if surplus else "") + "; then commit it",
        folder=folder,
        differences=[one._asdict() for one in found],
    )


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
