"""Rules about ensembles of models that answer a request more than once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import EnsembleStep


def mixed_streams(subject: Subject) -> Iterator[Problem]:
    """A step, or the ensemble's answer, waits for the replies of two decoupled steps."""
    scheduling = subject.config.ensemble_scheduling
    steps = scheduling.step if scheduling else ()
    origins = _origins(subject, steps)
    for index, step in enumerate(steps):
        mixed = {origins[t] for t in step.input_map.values() if origins.get(t) is not None}
        if len(mixed) > 1:
            yield _problem(f"ensemble_scheduling.step[{index}].input_map", steps, mixed)
            return  # what follows is mixed because this is
    answers = {tensor.name for tensor in subject.config.output}
    mixed = {origins[name] for name in answers if origins.get(name) is not None}
    if len(mixed) > 1:
        yield _problem("output", steps, mixed)


def _problem(field: str, steps: tuple[EnsembleStep, ...], mixed: set[int | None]) -> Problem:
    names = [f"step {i} ({steps[i].model_name})" for i in sorted(m for m in mixed if m is not None)]
    return Problem(
        field=field,
        expected="tensors of one decoupled step",
        got=f"tensors of {' and '.join(names)}",
        fix="let one step give all that is needed together, or call the models from Python",
    )


def _origins(subject: Subject, steps: tuple[EnsembleStep, ...]) -> Mapping[str, int | None]:
    """Give for each tensor the decoupled step that its replies come from, None where none is."""
    origins: dict[str, int | None] = {tensor.name: None for tensor in subject.config.input}
    waiting = dict(enumerate(steps))
    while ready := [
        i for i, s in waiting.items() if all(t in origins for t in s.input_map.values())
    ]:
        for index in ready:
            step = waiting.pop(index)
            before = [o for t in step.input_map.values() if (o := origins[t]) is not None]
            origin = index if _is_decoupled(subject, step.model_name) else min(before, default=None)
            origins |= dict.fromkeys(step.output_map.values(), origin)
    return origins


def _is_decoupled(subject: Subject, name: str, above: frozenset[str] = frozenset()) -> bool:
    """Tell whether a model, or one that it is an ensemble of, answers more than once."""
    member = subject.neighbours.get(name)
    if member is None or member.config_or_none is None or name in above:
        return False
    policy = member.config.model_transaction_policy
    scheduling = member.config.ensemble_scheduling
    return (policy is not None and policy.decoupled) or any(
        _is_decoupled(subject, step.model_name, above | {name})
        for step in (scheduling.step if scheduling else ())
    )
