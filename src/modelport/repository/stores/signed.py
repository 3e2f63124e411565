"""A repository that demands signatures takes nothing from a store that would serve without one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import trust
from modelport.repository.keys import PublicKey
from modelport.repository.layout import ModelFolder
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores.incoming import Incoming
from modelport.repository.stores.store import Store


def refuse_others(
    trusted: Sequence[PublicKey], stage: Path, plans: Sequence[Incoming], store: Store
) -> None:
    """Check the versions that will serve; without keys, none is demanded.

    Args:
        trusted: of which one must have signed.
        stage: where new versions are.
        plans: what is to be published.
        store: where it came from.

    Raises:
        IntegrityError: none of them has signed a version, or it is not what was signed.
    """
    for plan in plans if trusted else ():
        if plan.side == "theirs" and plan.theirs is not None:
            for version in plan.theirs.serves():
                _check(trusted, stage, plan, version, store)


def _check(
    trusted: Sequence[PublicKey], stage: Path, plan: Incoming, version: int, store: Store
) -> None:
    try:
        trust.check(_as_it_will_be(stage, plan, version), version, trusted, live=False)
    except IntegrityError as error:
        raise IntegrityError(
            f"{store.url}/{plan.folder.name}/{version}: {error.what.partition(': ')[2]}",
            cause=error.cause,
            next_step=f"{error.next_step}, where it was built; then push it",
            **error.objects,
        ) from error


def _as_it_will_be(stage: Path, plan: Incoming, version: int) -> ModelFolder:
    """Give a model folder that holds a version as it will be: staged, or here and signed anew."""
    if any(new.version == version for new in plan.new):
        return ModelFolder(stage / plan.folder.name)
    if version not in plan.signatures:
        return plan.folder
    folder = ModelFolder(stage / "signed" / plan.folder.name)
    shutil.copytree(plan.folder.version_dir(version), folder.version_dir(version))
    (folder.version_dir(version) / SIGNATURE).write_bytes(plan.signatures[version])
    return folder
