"""Load profiles: what is asked of which model, how much of it, and what must hold.

A profile is a TOML file; what it does not name has the defaults that stand here::

    model = "sentiment"
    transport = "grpc"                    # or "http"
    duration_s = 4                        # of each level
    warmup_s = 1
    stability = 0.15                      # how far a level's thirds may lie apart
    tries = 2                             # a level that is not stable is measured again
    objectives = ["no error", "p99 <= 50 ms at 100/s"]

    [[load]]
    kind = "closed"                       # callers who wait for each reply
    concurrency = [1, 8, 32]

    [[load]]
    kind = "open"                         # requests at their times, whoever waits
    rate_per_s = [50, 100]
    arrivals = "poisson"                  # or "constant"

Further kinds are ``burst``, ``ramp``, ``sequences`` (of a model that keeps state), ``streams`` (of
one that answers with several responses) and ``mix`` (several models at once).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelport.errors import ProfileError
from modelport.perf import objectives

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUFFIX = ".toml"

Rate = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1, le=4096)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Closed(_Table):
    """Callers who wait for each reply before they ask again, one level for each number of them."""

    kind: Literal["closed"]
    concurrency: Annotated[list[Count], Field(min_length=1)]


class Sequences(_Table):
    """Sequences under way at once, each with its own state, one level for each number of them."""

    kind: Literal["sequences"]
    concurrency: Annotated[list[Count], Field(min_length=1)]


class Streams(_Table):
    """Callers who read each stream to its end, one level for each number of them."""

    kind: Literal["streams"]
    concurrency: Annotated[list[Count], Field(min_length=1)]


class Open(_Table):
    """Requests at set times, one level for each rate."""

    kind: Literal["open"]
    rate_per_s: Annotated[list[Rate], Field(min_length=1)]
    arrivals: Literal["poisson", "constant"] = "poisson"


class Burst(_Table):
    """A calm rate with many requests at once now and then."""

    kind: Literal["burst"]
    rate_per_s: Rate
    size: Count
    every_s: Seconds


class Ramp(_Table):
    """A rate that rises, or falls, from one value to the other."""

    kind: Literal["ramp"]
    from_per_s: Rate
    to_per_s: Rate


class Mix(_Table):
    """Several models at once: each at its rate, or with its number of callers."""

    kind: Literal["mix"]
    rate_per_s: dict[str, Rate] = Field(default_factory=dict)
    concurrency: dict[str, Count] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_each_once(self) -> Mix:
        if not self.rate_per_s and not self.concurrency:
            raise ValueError("a mix names no model, in `rate_per_s` or in `concurrency`")
        if twice := sorted(self.rate_per_s.keys() & self.concurrency.keys()):
            raise ValueError(f"a rate and a concurrency for {', '.join(twice)}")
        return self


Load: TypeAlias = Annotated[
    Closed | Sequences | Streams | Open | Burst | Ramp | Mix, Field(discriminator="kind")
]


class Profile(_Table):
    """One load test.

    Attributes:
        model: that is asked; None where every load is a mix.
        transport: protocol of the load.
        duration_s: of each level.
        warmup_s: of load before the first level, not measured.
        stability: how far figures of a level's thirds may lie apart, relative to their mean.
        tries: how often a level is measured at most until it is stable.
        seed: of the arrivals that are drawn.
        objectives: what must hold: see :mod:`modelport.perf.objectives`.
        load: levels, in their order.
    """

    model: str | None = None
    transport: Literal["grpc", "http"] = "grpc"
    duration_s: Seconds = 4.0
    warmup_s: Seconds = 1.0
    stability: Annotated[float, Field(gt=0, le=1)] = 0.15
    tries: Annotated[int, Field(ge=1, le=10)] = 2
    seed: int = 0
    objectives: list[str] = Field(default_factory=lambda: ["no error", "no wrong reply"])
    load: Annotated[list[Load], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_a_model(self) -> Profile:
        alone = [load.kind for load in self.load if not isinstance(load, Mix)]
        if alone and self.model is None:
            raise ValueError(f"no `model` for the load of kind {alone[0]!r}")
        if not alone and self.model is not None:
            raise ValueError("`model` beside a mix, which names its models itself")
        return self

    @property
    def models(self) -> Sequence[str]:
        """Every model that is asked, once."""
        names = [self.model] if self.model else []
        for load in self.load:
            if isinstance(load, Mix):
                names += [*load.rate_per_s, *load.concurrency]
        return list(dict.fromkeys(names))


def default(model: str, delivery: Literal["single", "sequence", "stream"]) -> Profile:
    """Give the profile of a model that has none: callers who wait, from one to many."""
    loads: dict[str, Load] = {
        "single": Closed(kind="closed", concurrency=[1, 8, 32]),
        "sequence": Sequences(kind="sequences", concurrency=[1, 4, 8]),
        "stream": Streams(kind="streams", concurrency=[1, 4]),
    }
    return Profile(model=model, load=[loads[delivery]])


def read(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: it is missing, no TOML, holds an unknown key or a value that cannot be; or
            one of its objectives cannot be understood.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}", path=path) from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise ProfileError(f"{path}: not TOML: {error}", path=path) from error
    try:
        # JSON's rules: a whole number is a float, and a text is no number.
        profile = Profile.model_validate(document, strict=False)
    except ValidationError as error:
        raise _refused(path, document, error) from error
    try:
        objectives.judge(profile.objectives, [])
    except ProfileError as error:
        error.what = f"{path}: {error.what}"
        raise
    return profile


def _refused(path: Path, document: dict[str, Any], error: ValidationError) -> ProfileError:
    """Say every complaint, each with its place, and the likely key where one is unknown."""
    lines = []
    for one in error.errors():
        place = [part for part in one["loc"] if not _is_tag(part, document)]
        words = ".".join(map(str, place)) or "the profile"
        lines.append(f"  {words}: {_complaint(one, place)}")
    return ProfileError(
        f"{path}: this is no profile that can be run\n" + "\n".join(dict.fromkeys(lines)),
        next_step="modelport perf run --help; perf/README.md describes every key",
        path=path,
    )


def _is_tag(part: int | str, document: dict[str, Any]) -> bool:
    """Say whether part of a place is pydantic's word for the kind of load, no key of the file."""
    kinds = {load.get("kind") for load in document.get("load", []) if isinstance(load, dict)}
    return part in kinds


def _complaint(one: Any, place: Sequence[int | str]) -> str:
    if one["type"] == "extra_forbidden":
        known = [*Profile.model_fields, *_load_fields()]
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        return "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if one["type"] == "missing":
        return "missing"
    given = one["input"]
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool, list)) else ""
    return str(one["msg"]).removeprefix("Value error, ") + shown


def _load_fields() -> list[str]:
    kinds = (Closed, Sequences, Streams, Open, Burst, Ramp, Mix)
    return [name for kind in kinds for name in kind.model_fields]
