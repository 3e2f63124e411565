"""TensorRT plans in place of ONNX versions, chosen when models are loaded.

config.pbtxt says which version serves, and every Triton obeys it. Where that is an ONNX version
and the repository has a plan of it that fits this machine, the plan is loaded with what
config.pbtxt says of everything else. Where it is a plan that does not fit, Triton never sees it:
the ONNX version that it comes from is loaded. The repository stays as it is on disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from modelport.errors import IntegrityError
from modelport.repository import plans
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import Manifest
from modelport.repository.placing import labelled, only
from modelport.repository.plans import Place
from modelport.runtime.events import Event, Listener, ignore
from modelport.runtime.plan import Model, Plan
from modelport.runtime.reasons import Failure
from modelport.spec.config import CALLS_PARAMETER, ModelConfig

Look = Callable[[], Place]


@dataclass
class Chosen:
    """What is to be loaded.

    Attributes:
        plan: the models, plans in the place of ONNX versions and the other way round.
        refused: models of which nothing can be loaded here.
        lacking: ONNX models that would serve faster here with a plan that nobody has built.
    """

    plan: Plan
    refused: dict[str, Failure] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)


def choose(
    plan: Plan, look: Look, on_event: Listener = ignore, *, known: Iterable[Model] = ()
) -> Chosen:
    """Choose for each model what of it is loaded on this machine.

    Args:
        plan: the models as config.pbtxt has them.
        look: finds out what machine this is; asked only where a plan is concerned.
        on_event: hears what serves in place of what, and why.
        known: models beside these that may name versions of them.
    """
    here = cache(look)
    bound = _named_versions([*plan.models.values(), *known])
    chosen = Chosen(plan)
    models = {
        name: _instead(model, here, bound.get(name, set()), chosen, on_event)
        for name, model in plan.models.items()
    }
    chosen.plan = Plan(models)
    if chosen.lacking:
        names = " ".join(chosen.lacking)
        on_event(
            Event(
                "plan",
                f"from ONNX, because no TensorRT plan is there for this machine ({here()}):"
                f" {', '.join(chosen.lacking)}; it is built where the GPU is, by"
                f" modelport plan {names}",
            )
        )
    return chosen


def _instead(
    model: Model, here: Look, bound: set[int], chosen: Chosen, on_event: Listener
) -> Model:
    config = model.config
    served = model.folder.served_versions(config) if config else []
    if config is None or not served:
        return model
    if plans.is_plan(config):
        return _checked(model, config, served, here, chosen, on_event)
    # Two versions at once share one configuration, so a plan cannot take the place of one.
    if len(served) > 1 or not plans.is_onnx(config) or bound & set(served):
        return model
    return _from_plan(model, config, served[0], here, chosen, on_event)


def _from_plan(
    model: Model, config: ModelConfig, served: int, here: Look, chosen: Chosen, on_event: Listener
) -> Model:
    """Take the plan of an ONNX version, where there is one for this machine."""
    has_plans = any(True for _ in plans.versions(model.folder))
    if not has_plans and here().gpu is None and not _wants_plan(model.folder, served):
        return model
    try:
        found = plans.stand_in(model.folder, served, here(), config) if has_plans else None
    except IntegrityError:
        return model  # its own load will tell
    if found is None:
        chosen.lacking.append(model.name)
        return model
    version, manifest = found
    assert manifest.plan is not None
    on_event(
        Event(
            "plan",
            f"{model.name}: plan {version} serves in place of version {served}"
            f" (TensorRT {manifest.plan.tensorrt}, {manifest.plan.gpu})",
            model.name,
            str(version),
        )
    )
    return _override(model, plans.config_for_plan(config), version, served)


def _wants_plan(folder: ModelFolder, served: int) -> bool:
    if not folder.is_proven(served):
        return False
    try:
        return folder.manifest(served).engine is not None
    except IntegrityError:
        return False


def _checked(
    model: Model,
    config: ModelConfig,
    served: Sequence[int],
    here: Look,
    chosen: Chosen,
    on_event: Listener,
) -> Model:
    """Refuse a plan that does not fit this machine, and take what it comes from."""
    for version in served:
        found = plans.plan_of(model.folder, version)
        why = (
            plans.misfit(found[1], here(), config)
            if found
            else _unknown_misfit(model.folder, config, version, here)
        )
        if why:
            return _fallback(model, version, why, found and found[0], chosen, on_event)
    return model


def _unknown_misfit(folder: ModelFolder, config: ModelConfig, version: int, here: Look) -> str:
    """Judge a plan that nobody proved by its header alone."""
    path = folder.version_dir(version) / (config.default_model_filename or plans.MODEL_FILE)
    if here().gpu is None:
        return f"{path.name} needs a GPU; this machine has {here()}"
    built, have = plans.header_version(path) if path.is_file() else None, here().tensorrt
    if have is None:
        return f"{path.name} needs TensorRT; this machine has {here()}"
    if built and built.split(".")[:2] != have.split(".")[:2]:
        return f"built for TensorRT {built}; this machine has {here()}"
    return ""


def _fallback(
    model: Model,
    version: int,
    why: str,
    manifest: Manifest | None,
    chosen: Chosen,
    on_event: Listener,
) -> Model:
    source = manifest.derived_from if manifest else None
    if source is None or not model.folder.is_proven(source):
        gone = f"version {source}, from which it comes, is gone" if source else "it comes from none"
        chosen.refused[model.name] = Failure(
            model.name,
            str(version),
            f"the plan is refused: {why}",
            f"{gone} in this repository, so there is nothing to serve in its place",
            f"on this machine: modelport plan {model.name} --version N, or modelport promote"
            f" {model.name} N for an ONNX version N",
        )
        return model
    text = f"{model.name}: plan {version} is refused: {why}; version {source} serves in its place"
    on_event(Event("plan", text, model.name, str(source)))
    own = dataclasses.replace(model.folder.config_of(source), version_policy=only(source))
    # The labels beside config.pbtxt are the plan's.
    return _override(model, labelled(model.folder, own), source, version)


def _override(model: Model, config: ModelConfig, version: int, in_place_of: int) -> Model:
    """Have a model loaded in another version than config.pbtxt says."""
    named = dataclasses.replace(config, name=model.name, version_policy=only(version))
    return dataclasses.replace(model, config=named, instead=version, in_place_of=in_place_of)


def _named_versions(models: Iterable[Model]) -> Mapping[str, set[int]]:
    """Find the versions that ensembles and code call by their number."""
    found: dict[str, set[int]] = {}
    for model in models:
        if model.config is None:
            continue
        scheduling = model.config.ensemble_scheduling
        for step in scheduling.step if scheduling else ():
            if step.model_version > 0:
                found.setdefault(step.model_name, set()).add(step.model_version)
        for named in model.config.parameters.get(CALLS_PARAMETER, "").split():
            name, _, version = named.partition(":")
            if version.isdecimal():
                found.setdefault(name, set()).add(int(version))
    return found
