"""What may be loaded, where a repository or a key demands signatures."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import trust
from modelport.repository.keys import PublicKey
from modelport.repository.layout import ModelFolder
from modelport.runtime.plan import Model


def check(folders: Iterable[ModelFolder], trusted: Sequence[Path] = ()) -> None:
    """Refuse models with a version that would serve and is unsigned or altered.

    Without a demand nothing is read. With one, bytecode in the version folders is removed:
    Python would run it in place of the code that was signed. It is written anew from that code
    before the load.

    Args:
        folders: the models that are about to be loaded.
        trusted: public keys that demand signatures whatever the repositories say.

    Raises:
        IntegrityError: a version is unsigned, altered, or signed with another key.
        SigningKeyError: a key cannot be read.
        RepositoryError: a repository demands signatures and names no key.
    """
    demands: dict[Path, tuple[PublicKey, ...]] = {}
    for folder in folders:
        repository = folder.path.parent
        if repository not in demands:
            demands[repository] = trust.demanded(repository, trusted)
        if keys := demands[repository]:
            for version in folder.served_versions():
                trust.check(folder, version, keys)
                _remove_bytecode(folder.version_dir(version))


def check_stand_ins(models: Iterable[Model], trusted: Sequence[Path] = ()) -> None:
    """Refuse the same of versions that are loaded in place of those that config.pbtxt names.

    They bring no configuration of their own but what was checked with those.
    """
    for model in models:
        if model.instead is not None and (
            keys := trust.demanded(model.folder.path.parent, trusted)
        ):
            trust.check(model.folder, model.instead, keys, live=False)


def _remove_bytecode(version_dir: Path) -> None:
    try:
        for folder in [*version_dir.rglob(trust.BYTECODE)]:
            shutil.rmtree(folder)
    except OSError as error:
        raise IntegrityError(
            f"{error.filename}: bytecode that nobody signed cannot be removed ({error.strerror})",
            cause="Python would run it in place of the code that was signed",
            next_step=f"remove every {trust.BYTECODE} in {version_dir}, with its owner's rights",
            path=version_dir,
        ) from error
