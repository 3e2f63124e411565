"""Publishing model folders that people wrote, proven like everything else.

What runs on ONNX Runtime is compared with ONNX Runtime in this process, an ensemble of such
models with the graph of them, and everything else with answers that the user expects.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelport.build import folder_check, publication, selected_folders
from modelport.build.folder_candidate import FolderCandidate
from modelport.build.folder_proof import Expectations
from modelport.build.model_source import ModelSource
from modelport.build.selected_folders import Selected
from modelport.build.steps import Built, Listener, Report
from modelport.errors import ConfigError
from modelport.repository import publish as publishing
from modelport.repository.doctor import Finding
from modelport.repository.layout import Repository
from modelport.repository.stores.face import referred
from modelport.spec.parts import Tolerance


@dataclass(frozen=True)
class Published:
    """What came of it.

    Attributes:
        built: a version for each folder; with ``dry_run``, what it would be.
        warnings: what `modelport doctor` says that is no error.
        outdated: model of the repository to the part that it now runs in a version which it was
            not proven with.
    """

    built: Sequence[Built]
    warnings: Sequence[Finding] = ()
    outdated: Mapping[str, str] = field(default_factory=dict)


def publish(
    sources: Sequence[str],
    *,
    repository: Path,
    versions: Mapping[str, int] | None = None,
    samples: Mapping[str, Path] | None = None,
    tolerance: Tolerance | None = None,
    dry_run: bool = False,
    listener: Listener = lambda _: None,
) -> Published:
    """Publish model folders together, proven through a private server.

    Args:
        sources: paths of model folders, or names of models of the repository whose version
            has no proof.
        repository: the model repository; made when missing.
        versions: model to the version folder that is taken; what Triton would serve by default.
            Under an empty name: of the only source.
        samples: model to a file of inputs, and expected answers or not; see
            :mod:`modelport.build.samples_file`. Under an empty name: of the one model that no
            other of them runs.
        tolerance: how far answers may lie from what is expected.
        dry_run: check and prove everything, and leave the repository as it is.
        listener: hears of every step.

    Raises:
        RepositoryError: a folder, a version or a part is missing, or is someone else's.
        ConfigError: a config.pbtxt is missing, does not parse, or cannot be proven.
        UnhealthyRepositoryError: `modelport doctor` finds errors.
        DataError: samples do not fit, or there is nothing to compare answers with.
        LoadError, ParityError: it does not answer as it must; nothing is published.
        PublishError: the disk or another publisher is in the way.
    """
    target = Repository(repository)
    if repository.is_dir() and not dry_run:
        publishing.finish(repository)
    selected = selected_folders.select(sources, target, versions or {})
    warnings = folder_check.examine(selected.new, selected.parts) if selected.new else []
    expectations = Expectations(selected, samples or {}, tolerance or Tolerance())
    candidates = _candidates(selected, expectations, listener)
    published = {c.model.name: c.published(target) for c in candidates}
    numbers = {source.name: source.version for source in selected.proven}
    if None in published.values():
        _check_steps(candidates, selected, published, target)
        numbers |= publication.publish(
            candidates,
            published,
            target,
            listener,
            label=selected.names[0],
            parts={part.name: part.version for part in selected.parts},
            dry_run=dry_run,
        )
    numbers |= {name: version for name, version in published.items() if version is not None}
    fresh = {name for name, version in published.items() if version is None}
    built = [Built(name, numbers[name], name in fresh) for name in selected.names]
    return Published(built, warnings, _outdated(target, fresh, selected.names))


def _candidates(
    selected: Selected, expectations: Expectations, listener: Listener
) -> list[FolderCandidate]:
    candidates: list[FolderCandidate] = []
    keys = {part.name: part.folder.manifest(part.version).build_key for part in selected.parts}
    for source in selected.new:
        start = time.monotonic()
        with selected_folders.readable(source):
            candidate = _candidate(source, selected, expectations, keys)
            keys[source.name] = candidate.key
        candidates.append(candidate)
        words = f"{len(candidate.cases.cases)} requests, {candidate.reference}"
        listener(Report(source.name, "cases", words, time.monotonic() - start))
        if left := source.left_behind(candidate.beside):
            words = f"{', '.join(left)}: beside config.pbtxt, so in no version"
            listener(Report(source.name, "left out", words, time.monotonic() - start))
    return candidates


def _candidate(
    source: ModelSource, selected: Selected, expectations: Expectations, keys: Mapping[str, str]
) -> FolderCandidate:
    expected = expectations.of(source)
    model = expectations.model(source.name)
    config = replace(source.config, version_policy=None)
    return FolderCandidate(
        origin=source.folder.config_path,
        public=source.name in selected.public,
        model=model,
        config=config,
        reference=expected.reference,
        cases=expected.samples,
        cases_digest=expected.digest,
        files=source.files(),
        beside={n: (source.folder.path / n).read_bytes() for n in sorted(referred(config))},
        data=expected.data,
        parts=[keys[name] for name in sorted(model.runs)],
        place=source.version if source.inside else None,
    )


def _outdated(
    repository: Repository, fresh: Collection[str], named: Collection[str]
) -> dict[str, str]:
    """Find models that run one of the new versions from now on, and were proven with another."""
    serve_at_once = {name for name in fresh if not repository.folder(name).promoted}
    found = {}
    for folder in repository.models() if repository.path.is_dir() else ():
        for version in folder.proven_versions()[-1:] if folder.name not in named else ():
            if parts := folder.manifest(version).parts.keys() & serve_at_once:
                found[folder.name] = min(parts)
    return found


def _check_steps(
    candidates: Sequence[FolderCandidate],
    selected: Selected,
    published: Mapping[str, int | None],
    repository: Repository,
) -> None:
    """Refuse an ensemble whose steps name versions by a number that will not be theirs."""
    numbers = {part.name: part.version for part in selected.parts}
    for candidate in candidates:
        name = candidate.model.name
        numbers[name] = published[name] or candidate.next_version(repository)
        scheduling = candidate.config.ensemble_scheduling
        for step in scheduling.step if scheduling else ():
            if step.model_version not in (-1, numbers[step.model_name]):
                raise ConfigError(
                    f"{candidate.origin}: a step runs {step.model_name} version"
                    f" {step.model_version}, which is version {numbers[step.model_name]} here",
                    cause="numbers of another repository mean nothing in this one",
                    next_step="set model_version: -1, which is the version that serves",
                    path=candidate.origin,
                    model=name,
                )
