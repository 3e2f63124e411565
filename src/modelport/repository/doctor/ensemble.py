"""Rules about ensembles: do the steps fit each other and the models they name.

Source: ``ValidateEnsembleSchedulingConfig`` in ``src/model_config_utils.cc`` and
``ValidateEnsembleConfig`` in ``src/ensemble_scheduler/ensemble_utils.cc`` of
Triton's core.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import DropField, SetField
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import EnsembleStep, ModelConfig, ModelInput, ModelOutput


@dataclass(frozen=True)
class _Use:
    """One place where a tensor of the ensemble is written or read."""

    tensor: str
    field: str
    """Field of the ensemble's config.pbtxt."""
    owner: str
    """Model and tensor that stand there, for messages."""
    declared: ModelInput | ModelOutput
    batched: bool
    writes: bool


def _steps(subject: Subject) -> list[tuple[str, EnsembleStep]]:
    scheduling = subject.config.ensemble_scheduling
    steps = scheduling.step if scheduling else ()
    return [(f"ensemble_scheduling.step[{index}]", step) for index, step in enumerate(steps)]


def _member(subject: Subject, step: EnsembleStep) -> ModelConfig | None:
    """Give the configuration of a step's model, where it is here and parses."""
    neighbour = subject.neighbours.get(step.model_name)
    return neighbour.config_or_none if neighbour else None


def unknown_member(subject: Subject) -> Iterator[Problem]:
    """A step names a model that is not in the repository."""
    for field, step in _steps(subject):
        if step.model_name not in subject.neighbours and not step.model_namespace:
            near = difflib.get_close_matches(step.model_name, subject.neighbours, n=1)
            yield Problem(
                field=f"{field}.model_name",
                expected="a model of this repository",
                got=step.model_name,
                fix=f"did you mean {near[0]}?" if near else "build or copy that model too",
            )


def absent_member_version(subject: Subject) -> Iterator[Problem]:
    """A step names a version that does not serve."""
    for field, step in _steps(subject):
        member = subject.neighbours.get(step.model_name)
        if member is None or member.config_or_none is None or step.model_version == -1:
            continue
        if not member.versions and step.model_version > 0:
            continue  # the member's own finding
        if step.model_version not in member.served:
            yield Problem(
                field=f"{field}.model_version",
                expected=f"a version of {step.model_name} that serves: "
                f"{', '.join(map(str, member.served)) or 'none does'}",
                got=str(step.model_version) if step.model_version else "none, which means 0",
                fix="use -1 for the newest, or promote that version",
                repairs=(SetField(f"{field}.model_version", "-1"),)
                if step.model_version == 0
                else (),
            )


def unknown_member_tensor(subject: Subject) -> Iterator[Problem]:
    """A step maps a tensor that its model does not have."""
    for field, step in _steps(subject):
        config = _member(subject, step)
        if config is None:
            continue
        inputs = [tensor.name for tensor in config.input]
        outputs = [tensor.name for tensor in config.output]
        yield from _unknown(f"{field}.input_map", step, step.input_map, inputs, "input")
        yield from _unknown(f"{field}.output_map", step, step.output_map, outputs, "output")


def _unknown(
    field: str, step: EnsembleStep, mapped: Mapping[str, str], names: Sequence[str], role: str
) -> Iterator[Problem]:
    for name in sorted(mapped) if names else ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            yield Problem(
                field=f"{field}.{name}",
                expected=f"an {role} of {step.model_name}: {', '.join(map(repr, names))}",
                got=repr(name),
                fix=f"did you mean {near[0]!r}?" if near else f"map an {role} that it has",
            )


def unmapped_input(subject: Subject) -> Iterator[Problem]:
    """A model of the ensemble needs an input that its step does not map."""
    for field, step in _steps(subject):
        config = _member(subject, step)
        for tensor in config.input if config else ():
            if not tensor.optional and tensor.name not in step.input_map:
                yield Problem(
                    field=f"{field}.input_map",
                    expected=f"{tensor.name!r}, which {step.model_name} requires",
                    got=", ".join(map(repr, sorted(step.input_map))) or "nothing mapped",
                    fix=f"map {tensor.name!r} to a tensor of the ensemble",
                )


def never_produced(subject: Subject) -> Iterator[Problem]:
    """A tensor is read, or is an output, but nothing writes it."""
    produced = {tensor.name for tensor in subject.config.input}
    for _, step in _steps(subject):
        produced.update(step.output_map.values())
    for tensor, field in _needed(subject):
        if tensor not in produced:
            near = difflib.get_close_matches(tensor, produced, n=1)
            yield Problem(
                field=field,
                expected=f"one of {', '.join(map(repr, sorted(produced)))}",
                got=repr(tensor),
                fix=f"did you mean {near[0]!r}?" if near else "map an output of a step to it",
            )


def _needed(subject: Subject) -> Iterator[tuple[str, str]]:
    """Give every tensor that must be written, with the field that needs it."""
    if not _steps(subject):
        return
    for field, step in _steps(subject):
        for name, tensor in sorted(step.input_map.items()):
            yield tensor, f"{field}.input_map.{name}"
    for index, output in enumerate(subject.config.output):
        yield output.name, f"output[{index}].name"


def written_twice(subject: Subject) -> Iterator[Problem]:
    """Two steps, or a step and a request, write the same tensor."""
    writers = {tensor.name: f"input {tensor.name!r}" for tensor in subject.config.input}
    for field, step in _steps(subject):
        for name, tensor in sorted(step.output_map.items()):
            if tensor in writers:
                yield Problem(
                    field=f"{field}.output_map.{name}",
                    expected="a tensor that nothing else writes",
                    got=f"{tensor!r}, which {writers[tensor]} writes too",
                    fix="give one of the two another name",
                )
            writers.setdefault(tensor, f"step {step.model_name}")


def never_used(subject: Subject) -> Iterator[Problem]:
    """An input or an inner tensor that no step reads and that is no output."""
    used = {tensor for tensor, _ in _needed(subject)}
    given = [(tensor.name, f"input[{i}].name") for i, tensor in enumerate(subject.config.input)]
    for field, step in _steps(subject):
        given += [(t, f"{field}.output_map.{name}") for name, t in sorted(step.output_map.items())]
    for tensor, field in given if _steps(subject) else ():
        if tensor not in used:
            yield Problem(
                field=field,
                expected="a tensor that a step reads or the ensemble gives",
                got=repr(tensor),
                fix="read it in a step, declare it as an output, or remove it",
            )


def empty_map(subject: Subject) -> Iterator[Problem]:
    """A step maps no input or no output."""
    for field, step in _steps(subject):
        for name in ("input_map", "output_map"):
            if not getattr(step, name):
                yield Problem(
                    field=f"{field}.{name}",
                    expected="at least one tensor",
                    got="none",
                    fix=f"map the tensors of {step.model_name}, or remove the step",
                )


def contains_itself(subject: Subject) -> Iterator[Problem]:
    """An ensemble runs itself, directly or through other ensembles."""
    for field, step in _steps(subject):
        if subject.name in _reachable(subject, step.model_name):
            through = "" if step.model_name == subject.name else f" through {step.model_name}"
            yield Problem(
                field=f"{field}.model_name",
                expected="a model that does not run this ensemble",
                got=f"{subject.name} runs itself{through}",
                fix="name another model in one of the steps",
            )


def _reachable(subject: Subject, start: str) -> set[str]:
    """Give ``start`` and every model that it runs."""
    found: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        member = subject.neighbours.get(name)
        if name in found or member is None:
            continue
        found.add(name)
        if member.config_or_none is not None:
            pending += [step.model_name for _, step in _steps(member)]
    return found


def cycle(subject: Subject) -> Iterator[Problem]:
    """Steps wait for each other."""
    steps = [step for _, step in _steps(subject)]
    written = {tensor for step in steps for tensor in step.output_map.values()}
    ready = {tensor.name for tensor in subject.config.input}
    waiting = list(steps)
    while runnable := [s for s in waiting if _inner(s, written, ready)]:
        ready.update(tensor for step in runnable for tensor in step.output_map.values())
        waiting = [step for step in waiting if step not in runnable]
    if waiting:
        yield Problem(
            field="ensemble_scheduling.step",
            expected="an order in which every step has its inputs",
            got=f"{', '.join(step.model_name for step in waiting)} wait for each other's outputs",
            fix="let the first of them read a tensor that is there before it",
        )


def _inner(step: EnsembleStep, written: set[str], ready: set[str]) -> bool:
    """Tell whether a step can run; a tensor that nobody writes is another rule's matter."""
    return all(tensor in ready or tensor not in written for tensor in step.input_map.values())


def type_mismatch(subject: Subject) -> Iterator[Problem]:
    """Two ends of a tensor differ in element type."""
    for source, use in _connections(subject):
        if source.declared.data_type != use.declared.data_type:
            yield Problem(
                field=use.field,
                expected=f"{source.declared.data_type}, as {source.owner} has {use.tensor!r}",
                got=f"{use.declared.data_type} of {use.owner}",
                fix="connect tensors of one type, or convert in a step between them",
            )


def shape_mismatch(subject: Subject) -> Iterator[Problem]:
    """Two ends of a tensor differ in shape."""
    for source, use in _connections(subject):
        here, there = _dims(source), _dims(use)
        full_here, full_there = _dims(source, full=True), _dims(use, full=True)
        if not _compatible(here, there) and not _compatible(full_here, full_there):
            yield Problem(
                field=use.field,
                expected=f"{list(full_here)}, as {source.owner} has {use.tensor!r}",
                got=f"{list(full_there)} of {use.owner}",
                fix="connect tensors of one shape, or reshape in a step between them",
            )


def _connections(subject: Subject) -> Iterator[tuple[_Use, _Use]]:
    """Give every pair of a tensor's first use (its writer, where there is one) and another."""
    first: dict[str, _Use] = {}
    for use in sorted(_uses(subject), key=lambda use: not use.writes):
        if use.declared.data_type == "TYPE_INVALID":
            continue
        if use.tensor in first:
            yield first[use.tensor], use
        first.setdefault(use.tensor, use)


def _uses(subject: Subject) -> Iterator[_Use]:
    config = subject.config
    batched = config.max_batch_size > 0
    for index, tensor in enumerate(config.input):
        yield _Use(tensor.name, f"input[{index}]", "the ensemble", tensor, batched, True)
    for index, answer in enumerate(config.output):
        yield _Use(answer.name, f"output[{index}]", "the ensemble", answer, batched, False)
    for field, step in _steps(subject):
        if member := _member(subject, step):
            yield from _step_uses(field, step, member)


def _step_uses(field: str, step: EnsembleStep, member: ModelConfig) -> Iterator[_Use]:
    batched = member.max_batch_size > 0
    for tensor in member.input:
        if name := step.input_map.get(tensor.name):
            place = f"{field}.input_map.{tensor.name}"
            yield _Use(name, place, f"{step.model_name}.{tensor.name}", tensor, batched, False)
    for answer in member.output:
        if name := step.output_map.get(answer.name):
            place = f"{field}.output_map.{answer.name}"
            yield _Use(name, place, f"{step.model_name}.{answer.name}", answer, batched, True)


def _dims(use: _Use, *, full: bool = False) -> tuple[int, ...]:
    # Only an ensemble's own reshape counts: members are called as clients call them.
    own = use.owner == "the ensemble" and use.declared.reshape is not None
    dims = use.declared.reshape.shape if own and use.declared.reshape else use.declared.dims
    return (-1, *dims) if full and use.batched else tuple(dims)


def _compatible(here: Sequence[int], there: Sequence[int]) -> bool:
    return len(here) == len(there) and all(
        a == b or -1 in (a, b) for a, b in zip(here, there, strict=True)
    )


def batch_too_large(subject: Subject) -> Iterator[Problem]:
    """The ensemble takes larger batches than one of its models."""
    for field, step in _steps(subject):
        config = _member(subject, step)
        if config and 0 < config.max_batch_size < subject.config.max_batch_size:
            yield Problem(
                field="max_batch_size",
                expected=f"at most {config.max_batch_size}, as {step.model_name} takes",
                got=str(subject.config.max_batch_size),
                fix=f"lower it, or raise that of {step.model_name} (see {field})",
            )


def not_for_ensembles(subject: Subject) -> Iterator[Problem]:
    """An ensemble sets what only a model with a backend can have."""
    config = subject.config
    if not subject.is_ensemble:
        return
    if config.ensemble_scheduling is None:
        yield Problem(
            field="ensemble_scheduling",
            expected="the steps of the ensemble",
            got="none",
            fix="add ensemble_scheduling, or name a backend instead of platform ensemble",
        )
    elif config.platform != "ensemble":
        yield Problem(
            field="platform",
            expected="ensemble",
            got=config.platform or f"none, with backend {config.backend or 'none'}",
            fix='set platform: "ensemble"',
        )
    for name in ("instance_group", "optimization", "model_warmup"):
        if getattr(config, name):
            yield Problem(
                field=name,
                expected="none in an ensemble",
                got=f"{name} is set",
                fix="set it in the models of the ensemble",
                repairs=(DropField(name),),
            )
