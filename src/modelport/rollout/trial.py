"""The versions that are to serve, tried on a private server beside those that serve now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from modelport.repository import plans
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import Manifest
from modelport.repository.placing import staged
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Samples
from modelport.repository.settings import Settings
from modelport.rollout.change import Target
from modelport.runtime import accelerator
from modelport.runtime.server import Server
from modelport.spec.parts import Tolerance
from modelport.verify import latency, through_server
from modelport.verify.latency import Ratio
from modelport.verify.parity import Parity

Tell = Callable[[str], None]


@dataclass
class Trial:
    """What was found.

    Attributes:
        speed: of every public model that changes, against the version that serves.
        objections: what stands against the promotion.
    """

    speed: dict[str, Ratio] = field(default_factory=dict)
    objections: list[str] = field(default_factory=list)


def run(target: Target, settings: Settings, tell: Tell) -> Trial:
    """Ask the versions that are to serve all that they were proven with, and time them.

    Raises:
        LoadError: one does not load.
        IntegrityError: samples are missing or damaged.
    """
    found = Trial()
    repository = target.repository
    found.objections += _untriable(target)
    if found.objections:
        return found
    tell(f"trying {', '.join(f'{n} {v}' for n, v in sorted(target.versions.items()))}")
    with _served(repository, target.versions) as after:
        for name, version in sorted(target.versions.items()):
            manifest = repository.folder(name).manifest(version)
            parity = _parity(after, repository.folder(name), manifest)
            if parity.problems:
                found.objections.append(
                    f"{name} {version} answers {len(parity.problems)} of {parity.requests}"
                    f" requests otherwise than when it was proven: {parity.problems[0]}"
                )
        timed = compared(target)
        if timed and not found.objections:
            tell("timing it beside what serves")
            _time(target, settings, timed, after, found)
    return found


def _untriable(target: Target) -> Iterator[str]:
    """Name plans that no server of this machine can run, though others may."""
    here = cache(accelerator.detect)
    for name, version in sorted(target.versions.items()):
        plan = plans.plan_of(target.repository.folder(name), version)
        if plan is not None and (why := plans.misfit(plan[1], here())):
            yield f"{name} {version} is a plan that cannot be tried here: {why}"


def _time(
    target: Target, settings: Settings, compared: Mapping[str, int], after: Server, found: Trial
) -> None:
    """Start what serves now beside it, and ask both in turn."""
    before = {name: served[-1] for name, served in target.before.items() if served}
    with _served(target.repository, before) as now:
        for name, version in compared.items():
            samples = _samples(target.repository.folder(name), version)
            ratio = latency.compare(now.endpoints.grpc, after.endpoints.grpc, name, samples)
            found.speed[name] = ratio
            bound = settings.bounds(name).most_slower
            # Only what is slower beyond doubt: one noisy moment is no reason.
            if ratio.low > bound:
                found.objections.append(
                    f"{name} takes {ratio.after_ms:.3g} ms in place of {ratio.before_ms:.3g} ms:"
                    f" {ratio.ratio:.2f} times (95 %: {ratio.low:.2f} to {ratio.high:.2f}),"
                    f" allowed is {bound:g}"
                )


def compared(target: Target) -> dict[str, int]:
    """Choose the public models whose answers change, and that serve already."""
    changed = {change.model for change in target.changes if change.before}
    found = {}
    for name, version in target.versions.items():
        manifest = target.repository.folder(name).manifest(version)
        if (
            manifest.public
            and target.before[name]
            and (name in changed or changed & manifest.parts.keys())
        ):
            found[name] = version
    return found


def _parity(server: Server, folder: ModelFolder, manifest: Manifest) -> Parity:
    bound = manifest.proof.tolerance
    urls = [getattr(server.endpoints, one) for one in manifest.proof.through_server.transports]
    return through_server.parity(
        urls,
        folder.name,
        _samples(folder, manifest.version),
        Tolerance(bound.absolute, bound.relative),
        concurrencies=(1, 8),
    )


def _samples(folder: ModelFolder, version: int) -> Samples:
    return Samples.read(folder.version_dir(version) / SAMPLES)


@contextmanager
def _served(repository: Repository, versions: Mapping[str, int]) -> Iterator[Server]:
    """Serve these versions, and nothing else, from a folder that refers to them."""
    with staged(repository, versions) as stage:
        server = Server.start(stage, listed=False, response_cache=False)
        try:
            yield server
        finally:
            server.kill()
