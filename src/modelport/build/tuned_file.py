"""Settings that `modelport tune` left beside a builder file, put in place of the builder's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pydantic import ValidationError

from modelport.errors import BuilderError, BuildError
from modelport.repository import digests, edits
from modelport.spec import tuned
from modelport.spec.model import Model
from modelport.spec.tuned import Tuned, TunedServing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ASIDE: ContextVar[bool] = ContextVar("aside", default=False)


@contextmanager
def aside() -> Iterator[None]:
    """Have builder files be loaded as they are written, whatever lies beside them."""
    token = _ASIDE.set(True)
    try:
        yield
    finally:
        _ASIDE.reset(token)


def path_of(builder: Path) -> Path:
    """Say where the tuned settings of a builder file lie, whether there are any or not."""
    return builder.with_suffix(tuned.SUFFIX)


def digest_of(builder: Path) -> str:
    """Digest them; empty where there are none."""
    path = path_of(builder)
    return digests.of_file(path) if path.is_file() else ""


def read(builder: Path) -> dict[str, Tuned]:
    """Read the tuned settings of a builder file by model; empty where there are none.

    Raises:
        BuilderError: the file cannot be read, or holds something else.
    """
    path = path_of(builder)
    try:
        return tuned.parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"{field}: {first['msg']}") from error
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(path, str(error)) from error


def write(builder: Path, name: str, found: Tuned) -> Path:
    """Put the tuned settings of one model beside its builder file, in one step.

    Raises:
        BuilderError: what lies there already cannot be read.
        BuildError: the disk refused; the old file is as it was.
    """
    path, content = path_of(builder), tuned.render({**read(builder), name: found})
    try:
        edits.replace(path, content)
    except OSError as error:
        raise BuildError(
            f"{path}: the settings of {name} could not be written: {error.strerror or error}",
            cause="the folder is another user's, read-only, or its disk is full",
            next_step="write the settings shown above into the builder, or mend the folder"
            " and tune again",
            path=path,
            model=name,
        ) from error
    return path


def applied(builder: Path, models: Sequence[Model]) -> tuple[Model, ...]:
    """Give the declarations of a builder file with the tuned settings in place of their own.

    Raises:
        BuilderError: the settings are of no model there, or were found over other ones.
    """
    if _ASIDE.get():
        return tuple(models)
    settings = read(builder)
    known = {model.name for model in models}
    if unknown := sorted(settings.keys() - known):
        raise BuilderError(
            f"{path_of(builder)}: {builder.name} declares no model {unknown[0]!r}",
            cause="the model was renamed or removed after it was tuned",
            next_step=f"remove the table [{unknown[0]}] and those below it",
            model=unknown[0],
        )
    return tuple(
        _applied(builder, model, settings[model.name]) if model.name in settings else model
        for model in models
    )


def _applied(builder: Path, model: Model, found: Tuned) -> Model:
    now = TunedServing.of(model)
    if now != found.over:
        raise _stale(builder, model.name, now, found.over)
    try:
        return found.serving.applied(model)
    except ValidationError as error:
        raise _unreadable(path_of(builder), f"{model.name}: {error.errors()[0]['msg']}") from error


def _stale(builder: Path, name: str, now: TunedServing, then: TunedServing) -> BuilderError:
    old = then.model_dump()
    changed = [
        f"{field} is {value!r}, was {old[field]!r}"
        for field, value in now.model_dump().items()
        if value != old[field]
    ]
    return BuilderError(
        f"{path_of(builder)}: {name} was tuned when {builder.name} said something else:"
        f" {'; '.join(changed)}",
        cause="the builder's settings were changed since, and only one of the two can hold",
        next_step=f"remove the table [{name}] there for the builder's to hold, or undo the change",
        model=name,
    )


def _unreadable(path: Path, problem: str) -> BuilderError:
    return BuilderError(
        f"{path}: {problem}",
        cause="the file was edited by hand, or written by a newer Modelport",
        next_step="mend it, or remove it for the builder's own settings to hold",
        path=path,
    )
