"""One builder file from its data to its published versions.

The models of one file are staged, proven and published together, because an
ensemble is right only with the parts that it was proven with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from modelport.build import index, loader, publication
from modelport.build.loader import Builder
from modelport.build.steps import Built, Listener
from modelport.build.work import Choice, Work
from modelport.errors import BuilderError
from modelport.repository import publish
from modelport.repository.layout import Repository
from modelport.spec.model import Model, TorchModel
from modelport.spec.precision import FULL, PLAN


def build_file(
    path: Path,
    repository: Repository,
    listener: Listener,
    keep_edits: bool,
    *,
    data: Path | None = None,
    choose: str | None = None,
    names: Collection[str] = (),
    choices: Mapping[str, Choice] | None = None,
) -> list[Built]:
    """Take every model of a builder file the whole way; see ``pipeline.build``.

    Args:
        path: the builder file.
        repository: where its models are published.
        listener: hears of every step.
        keep_edits: leave config.pbtxt files that were edited by hand as they are.
        data: the user's own, in place of the file's first source.
        choose: a goal, or a variant: judge the variants of networks and publish the best.
        names: models, or stems of files, that it is chosen for; empty for all.
        choices: precisions that are published without being judged.
    """
    builder = loader.load(path, data=data)
    meant = _chosen_for(builder, names, choose) if choose else ()
    publish.finish(repository.path)
    work = Work(builder, repository, listener, keep_edits)
    if choose and meant:
        choices = _judged(work, meant, choose, listener)
    return _build(builder, work, repository, listener, data, choices or {})


def build_models(
    builder: Builder,
    repository: Repository,
    listener: Listener,
    keep_edits: bool,
    *,
    data: Path | None = None,
) -> list[Built]:
    """Take what a builder declares, from wherever it was loaded, the whole way."""
    publish.finish(repository.path)
    work = Work(builder, repository, listener, keep_edits)
    return _build(builder, work, repository, listener, data, {})


def _build(
    builder: Builder,
    work: Work,
    repository: Repository,
    listener: Listener,
    data: Path | None,
    choices: Mapping[str, Choice],
) -> list[Built]:
    derived = {name for name, one in choices.items() if one.precision != FULL}
    made: list[Built] = []
    if derived:
        # A variant is derived from a version, so that one comes first.
        work.decide(_as_trained(derived))
        bases = [c.base(repository) for c in work.candidates() if c.model.name in derived]
        if None in bases:
            made = _publish(builder, work, repository, listener, data)
    work.decide(choices)
    built = _publish(builder, work, repository, listener, data)
    return [*(one for one in made if one.new), *(_with_judgement(one, choices) for one in built)]


def _with_judgement(built: Built, choices: Mapping[str, Choice]) -> Built:
    choice = choices.get(built.model)
    return dataclasses.replace(built, judgement=choice.judgement) if choice else built


def _publish(
    builder: Builder, work: Work, repository: Repository, listener: Listener, data: Path | None
) -> list[Built]:
    candidates = work.candidates()
    published = {c.model.name: c.published(repository) for c in candidates}
    new = [c for c in candidates if published[c.model.name] is None]
    versions = publication.publish(
        candidates, published, repository, listener, label=builder.path.stem
    )
    # What was built on other data is not what the builder file says: the next build looks again.
    if not data and not any(_weights_unseen(model) for model in builder.models):
        index.store(builder.path, repository, {**builder.imports, **work.local_files}, versions)
    fresh = {candidate.model.name for candidate in new}
    return [Built(name, version, name in fresh) for name, version in versions.items()]


def _judged(
    work: Work, models: Collection[TorchModel], choose: str, listener: Listener
) -> dict[str, Choice]:
    """Judge the variants of networks, and say in which precision each is to be published."""
    from modelport.build import judgement

    work.decide(_as_trained(model.name for model in models))
    work.candidates()
    judged = {m.name: judgement.judge(work.variants(m), choose, listener) for m in models}
    return {name: Choice(found.chosen, found) for name, found in judged.items()}


def _as_trained(names: Iterable[str]) -> dict[str, Choice]:
    return dict.fromkeys(names, Choice(FULL))


def _chosen_for(builder: Builder, names: Collection[str], choose: str) -> list[TorchModel]:
    """Find the networks whose variants are meant; none where no name says that there are some.

    Raises:
        BuilderError: none of those that are named declares a variant, or none the one that is
            asked for.
    """
    from modelport.build.judgement import GOALS

    named = {n for m in builder.models if m.name in names for n in builder.closure(m)}
    whole = builder.path.stem in names or not named
    meant = [
        model
        for model in builder.models
        if isinstance(model, TorchModel) and (whole or model.name in named) and model.variants
    ]
    if not meant and not named and builder.path.stem not in names:
        return []
    if not meant:
        raise BuilderError(
            f"{builder.path}: no network of it declares variants, so there is nothing to choose",
            next_step='add variants=("int8",) to a TorchModel; docs/precision.md says which',
            field="variants",
        )
    if choose in GOALS or choose == FULL:
        return meant
    having = [model for model in meant if any(v.name == choose for v in model.variants)]
    if choose == PLAN and having:
        raise BuilderError(
            f"{builder.path}: a TensorRT plan is built where it serves, on a GPU",
            next_step=f"modelport plan {having[0].name}, on that machine; docs/plans.md",
            field="variants",
        )
    if not having:
        known = sorted({variant.name for model in meant for variant in model.variants})
        raise BuilderError(
            f"{builder.path}: no network of it declares the variant {choose!r}",
            cause=f"declared are {', '.join(known)}",
            next_step=f"--choose with one of these or of {', '.join(GOALS)}",
            field="variants",
        )
    return having


def _weights_unseen(model: Model) -> bool:
    """Say whether a network's weights may come from a file that nobody here knows of."""
    if not isinstance(model, TorchModel) or model.weights_of:
        return False
    return model.training is None and not model.sources
