"""Writing config.pbtxt without losing what someone wrote into it by hand.

A file written here ends with a digest of everything before it. Where the
digest no longer fits, a person has edited the file, and an update that would
change its meaning is refused with the difference.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import itertools
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from modelport.errors import ConfigError
from modelport.repository import pbtxt, positions
from modelport.repository.layout import ModelFolder
from modelport.spec.config import ModelConfig, ModelVersionPolicy

_SEAL = "# modelport: sha256:"
_HEADER = "# Written by modelport from "


def write(path: Path, config: ModelConfig, *, builder: str) -> None:
    """Write ``config`` to ``path`` in one step, with its header and digest.

    Args:
        path: the config.pbtxt; its folder exists.
        config: what to write.
        builder: the builder file that the header names.

    Raises:
        OSError: the disk refused; the old file is as it was.
    """
    replace(path, _sealed(config, builder))


def builder_of(path: Path) -> str | None:
    """Name the builder file that a config.pbtxt was written from; None for any other file."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
    except (OSError, ValueError):
        return None
    return first.removeprefix(_HEADER).partition(";")[0] if first.startswith(_HEADER) else None


def not_built(folder: ModelFolder) -> str | None:
    """Name the builder file of a model that it has built no version of yet; else None.

    A checkout of a repository holds config.pbtxt and code, but no weights and no proof.
    """
    return None if folder.proven_versions() else builder_of(folder.config_path)


def update(
    path: Path,
    config: ModelConfig,
    *,
    builder: str,
    keep: bool = False,
    keep_version_policy: bool = True,
) -> bool:
    """Bring ``path`` to what ``config`` says; tell whether the file was written.

    A file that means the same already is left alone to the byte.

    Args:
        path: the config.pbtxt, which may not exist yet.
        config: what the builder says.
        builder: the builder file that the header names.
        keep: leave a file that was edited by hand as it is.
        keep_version_policy: which versions serve is decided by promotion, so the
            policy on disk outlives a rebuild.

    Raises:
        ConfigError: the file was edited by hand and says something else, or does not parse.
        OSError: the disk refused; the old file is as it was.
    """
    if not path.exists():
        write(path, config, builder=builder)
        return True
    if keep and hand_edited(path):
        return False
    on_disk = pbtxt.read(path)
    if keep_version_policy:
        config = dataclasses.replace(config, version_policy=on_disk.version_policy)
    if config == on_disk:
        return False
    if hand_edited(path):
        raise _would_lose_edits(path, on_disk, config)
    write(path, config, builder=builder)
    return True


def with_version_policy(path: Path, policy: ModelVersionPolicy | None) -> str:
    """Give the text of a config.pbtxt with another version policy or none, and all else as it is.

    Raises:
        ConfigError: it cannot be read, or does not parse.
    """
    text = pbtxt.read_text(path)
    config = dataclasses.replace(pbtxt.parse(text, path=path), version_policy=policy)
    builder = builder_of(path)
    if builder is not None and not hand_edited(path):
        return _sealed(config, builder)
    alone = pbtxt.render(ModelConfig(version_policy=policy)).strip()
    start, end = _statement(text, "version_policy")
    if policy is None:
        rest = text[end:].removeprefix(";").removeprefix(",")
        return text[:start].rstrip(" ") + rest.removeprefix("\n")
    if start == end:
        return f"{text.rstrip()}\n{alone}\n"
    return text[:start] + alone + text[end:]


def refuse_lost_edits(path: Path, proven: ModelConfig | None, config: ModelConfig) -> None:
    """Refuse to put ``config`` in the place of a file that holds edits made by hand.

    Args:
        path: the config.pbtxt.
        proven: what it said when the version was proven that serves now.
        config: what it shall say.

    Raises:
        ConfigError: it was edited by hand since, and means neither of these.
    """
    if not path.is_file() or not hand_edited(path):
        return
    on_disk = dataclasses.replace(pbtxt.read(path), version_policy=None)
    if on_disk not in (proven, dataclasses.replace(config, version_policy=None)):
        raise _would_lose_edits(path, on_disk, config)


def hand_edited(path: Path) -> bool:
    """Tell whether the file differs from what was written here, or was never written here.

    Raises:
        ConfigError: it cannot be read.
    """
    body, seal, digest = pbtxt.read_text(path).rpartition(_SEAL)
    return not seal or digest.strip() != _digest(body)


def _would_lose_edits(path: Path, on_disk: ModelConfig, config: ModelConfig) -> ConfigError:
    difference = "".join(
        difflib.unified_diff(
            pbtxt.render(on_disk).splitlines(keepends=True),
            pbtxt.render(config).splitlines(keepends=True),
            fromfile=f"{path} (edited by hand)",
            tofile="builder",
        )
    )
    return ConfigError(
        f"{path} was edited by hand and differs from the builder:\n{difference.rstrip()}",
        cause="the file was changed after modelport wrote it, or modelport did not write it",
        next_step="move the edits into the builder, or keep them with --keep-config",
        path=path,
        difference=difference,
    )


def _sealed(config: ModelConfig, builder: str) -> str:
    header = f"{_HEADER}{builder}; edit the builder, or keep hand edits with --keep-config.\n"
    body = header + pbtxt.render(config)
    return f"{body}{_SEAL}{_digest(body)}\n"


def _statement(text: str, field: str) -> tuple[int, int]:
    """Find a field at the top of a text, from its name to its end; an empty span without it."""
    found = positions.find(positions.locate(text), (field,))
    if found is None:
        return len(text), len(text)
    starts = [0, *itertools.accumulate(len(line) + 1 for line in text.split("\n"))]
    start, end = (starts[line - 1] + column - 1 for line, column in found.statement)
    return start, end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def replace(path: Path, text: str) -> None:
    """Replace a file so that a crash leaves the old one or the new one.

    Raises:
        OSError: the disk refused; the old file is as it was.
    """
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode if path.exists() else 0o644)
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except OSError:
        with suppress(OSError):
            Path(partial).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
