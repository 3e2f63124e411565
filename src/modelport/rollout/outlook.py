"""What a promotion would change: of each model, what serves beside the newest proven version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository import card, plans
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest
from modelport.repository.promotions import Entry, read
from modelport.repository.settings import Settings
from modelport.rollout import change, gates
from modelport.rollout.gates import Loss
from modelport.rollout.serving import Serving

Interval = tuple[float, float]


@dataclass(frozen=True)
class Facts:
    """What a version showed when it was proven.

    Attributes:
        figures: those with a gate, or all where none has one, with the 95 % interval if measured.
        worst_absolute: difference to the reference, through the server.
        p50_ms: median latency by transport, on the machine that proved it.
        size_bytes: of its files.
    """

    version: int
    figures: Mapping[str, tuple[float, Interval | None]]
    worst_absolute: float
    p50_ms: Mapping[str, float]
    size_bytes: int


@dataclass(frozen=True)
class Comparison:
    """Two versions of a model, or the first one alone.

    Attributes:
        before: None for a model that is new, and for a version that was never proven.
        served: versions that serve now; empty for a model that is new.
        gates: figure to its bound, as the builder of the new version has it.
        comparable: the figures were measured on the same data.
        worse: figures that are worse than modelport.toml allows.
        rolled_back: somebody took the new version back, for this reason.
    """

    model: str
    served: tuple[int, ...]
    before: Facts | None
    after: Facts
    gates: Mapping[str, str] = field(default_factory=dict)
    comparable: bool = True
    worse: tuple[Loss, ...] = ()
    rolled_back: str | None = None

    @property
    def is_new(self) -> bool:
        """Say whether no version of the model has served before."""
        return not self.served


@dataclass(frozen=True)
class Advice:
    """A version that may be promoted, or why it may not; its parts come along."""

    model: str
    version: int
    objections: tuple[str, ...] = ()


def pending(repository: Repository, names: Sequence[str] = ()) -> list[Comparison]:
    """Compare what serves with the newest proven version, where these differ.

    Args:
        repository: that holds the models.
        names: of models; empty for all.

    Raises:
        RepositoryError: there is no such model, or modelport.toml cannot be read.
        IntegrityError: a manifest or the log of promotions is damaged.
    """
    folders = [repository.model(name) for name in names] if names else repository.models()
    entries, settings = read(repository.path), Settings.read(repository.path)
    now = Serving.now(repository)
    return [
        between(folder, before, after, settings, entries)
        for folder in folders
        for before, after in _waiting(now, folder)
    ]


def _waiting(now: Serving, folder: ModelFolder) -> Iterator[tuple[tuple[int, ...], int]]:
    """Give what serves and the newest proven version, if they differ or the model is new."""
    # A plan serves where it fits, promoted or not: it waits for nobody.
    proven = [v for v in plans.others(folder) if folder.is_proven(v)]
    if not proven or not folder.config_path.is_file():
        return
    served = now.versions(folder.name)
    if plans.others(folder) == proven[:1] and not folder.promoted:
        yield (), proven[0]
    elif not served or proven[-1] > served[-1]:
        yield served, proven[-1]


def between(
    folder: ModelFolder,
    served: tuple[int, ...],
    after: int,
    settings: Settings,
    entries: Sequence[Entry] = (),
) -> Comparison:
    """Compare versions; of several that serve, the newest counts.

    Raises:
        IntegrityError: the manifest of the new version is missing or damaged.
    """
    new, old = folder.manifest(after), _proven(folder, served)
    return Comparison(
        model=folder.name,
        served=served,
        before=_facts(old) if old else None,
        after=_facts(new),
        gates=dict(new.metrics.gates) if new.metrics else {},
        comparable=old is None or gates.comparable(old, new),
        worse=tuple(gates.losses(old, new, settings)),
        rolled_back=_rolled_back(folder.name, after, entries),
    )


def advice(repository: Repository, comparisons: Sequence[Comparison]) -> list[Advice]:
    """Say which of these to promote so that all of them serve that may.

    Parts of others among them are left out: they come along. So is what is new, which serves
    without a promotion. What stands against a promotion is judged by figures and the log;
    ``promote`` tries answers and speed too.
    """
    settings = Settings.read(repository.path)
    waiting = [one for one in comparisons if not one.is_new]
    along = {part for one in waiting for part in _parts(repository, one)}
    found = []
    for one in waiting:
        if one.model not in along:
            objections = tuple(_objections(repository, one, settings, comparisons))
            found.append(Advice(one.model, one.after.version, objections))
    return found


def _parts(repository: Repository, one: Comparison) -> set[str]:
    try:
        return set(change.closure(repository, one.model, one.after.version)) - {one.model}
    except IntegrityError:
        return set()


def _objections(
    repository: Repository,
    one: Comparison,
    settings: Settings,
    comparisons: Sequence[Comparison],
) -> Iterator[str]:
    try:
        target = change.target(repository, one.model, one.after.version)
    except RepositoryError as error:
        yield error.what
        return
    yield from gates.objections(target, settings)
    for other in comparisons:
        if other.rolled_back is not None and target.versions.get(other.model) == (
            other.after.version
        ):
            reason = f": {other.rolled_back}" if other.rolled_back else ""
            yield f"{other.model} {other.after.version} was rolled back{reason}"


def _rolled_back(model: str, version: int, entries: Sequence[Entry]) -> str | None:
    """Give the reason for which a version was taken back, if that was the last word on it."""
    for entry in reversed(entries):
        switched = entry.changes.get(model)
        if switched and switched.after == version:
            return None
        if switched and version in switched.before and entry.action == "rollback":
            return entry.reason
    return None


def _proven(folder: ModelFolder, served: tuple[int, ...]) -> Manifest | None:
    if not served:
        return None
    try:
        return folder.manifest(served[-1])
    except IntegrityError:
        return None  # what serves was never proven, so there is nothing to compare with


def _facts(manifest: Manifest) -> Facts:
    metrics = manifest.metrics
    found = card.figures(metrics.values if metrics else {})
    gated = {name: figure for name, figure in found.items() if metrics and name in metrics.gates}
    return Facts(
        version=manifest.version,
        figures=gated or found,
        worst_absolute=manifest.proof.through_server.worst_absolute,
        p50_ms=dict(manifest.latency.p50_ms) if manifest.latency else {},
        size_bytes=sum(file.size_bytes for file in manifest.files),
    )
