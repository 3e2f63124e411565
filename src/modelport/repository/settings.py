"""``modelport.toml``: what the owners of a repository demand of its versions.

The file lies at the top of the repository and may be absent::

    [trust]
    require = true             # nothing unsigned is promoted or served
    keys = ["team.pub"]        # public keys, relative to this file

    [keep]
    versions = 3               # of each model, what `gc` leaves beside what serves

    [promote]
    most_worse = 0.005         # of each gated figure, against the version that serves
    most_slower = 1.2          # times the median latency of the version that serves

    [models.digits_cnn]        # for one model: its own bounds, and versions never removed
    most_worse = 0.0
    pinned = [1]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelport.errors import RepositoryError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "modelport.toml"

_Share = Annotated[float, Field(ge=0)]
_Factor = Annotated[float, Field(gt=0)]
_Version = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trust(_Table):
    """Whether versions must be signed, and by whom.

    Attributes:
        require: refuse to promote or serve what none of the keys signed.
        keys: files of public keys, relative to the repository.
    """

    require: bool = False
    keys: tuple[str, ...] = ()


class Keep(_Table):
    """What `gc` leaves of each model, beside what serves or is pinned."""

    versions: Annotated[int, Field(ge=0)] = 3


class Bounds(_Table):
    """How much worse than the version that serves a promoted one may be.

    Attributes:
        most_worse: of each figure that has a gate, in the figure's own unit.
        most_slower: times the median latency, measured side by side.
    """

    most_worse: _Share = 0.005
    most_slower: _Factor = 1.2


class ModelSettings(_Table):
    """What holds for one model; bounds that are not given are those of ``[promote]``."""

    most_worse: _Share | None = None
    most_slower: _Factor | None = None
    pinned: tuple[_Version, ...] = ()


class Settings(_Table):
    """The whole of ``modelport.toml``."""

    trust: Trust = Trust()
    keep: Keep = Keep()
    promote: Bounds = Bounds()
    models: dict[str, ModelSettings] = Field(default_factory=dict)

    @classmethod
    def read(cls, repository: Path) -> Settings:
        """Read the settings of a repository; defaults where it has none.

        Raises:
            RepositoryError: the file is no TOML, or holds something unknown.
        """
        path = repository / FILE_NAME
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise _unreadable(path, f"{field}: {first['msg']}") from error
        except (OSError, ValueError) as error:
            raise _unreadable(path, str(error)) from error

    def bounds(self, model: str) -> Bounds:
        """Give the bounds that hold for a model."""
        own = self.models.get(model, ModelSettings()).model_dump(
            include={"most_worse", "most_slower"}, exclude_none=True
        )
        return self.promote.model_copy(update=own)

    def pinned(self, model: str) -> tuple[int, ...]:
        """Give the versions of a model that are never removed."""
        return self.models.get(model, ModelSettings()).pinned


def _unreadable(path: Path, problem: str) -> RepositoryError:
    return RepositoryError(
        f"{path}: {problem}",
        cause="the file was written by hand, or for a newer Modelport",
        next_step=f"mend {path}; docs/versions.md lists what it may hold",
        path=path,
    )
