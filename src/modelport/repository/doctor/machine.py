"""Rules about where a model runs: devices, instances, threads."""

from __future__ import annotations

from collections.abc import Iterator

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import DropField
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import ModelInstanceGroup

# Parameters of the onnxruntime backend: its README, "Model Config Options".
_THREADS = "intra_op_thread_count"


def no_gpu(subject: Subject) -> Iterator[Problem]:
    """An instance group wants a GPU that is not here."""
    for index, group in enumerate(subject.config.instance_group):
        if group.kind != "KIND_GPU":
            continue
        absent = [gpu for gpu in group.gpus if not 0 <= gpu < subject.machine.gpus]
        if subject.machine.gpus == 0 or absent:
            wanted = f"GPU {', '.join(map(str, absent))}" if absent else "a GPU"
            yield Problem(
                field=f"instance_group[{index}].kind",
                expected=f"{wanted} on this machine",
                got=f"{subject.machine.gpus} visible GPUs",
                fix="use KIND_AUTO (GPU where there is one, else CPU) or KIND_CPU",
                severity="error" if any(gpu < 0 for gpu in group.gpus) else None,
            )


def gpus_on_cpu(subject: Subject) -> Iterator[Problem]:
    """A group that runs on no particular GPU lists some."""
    for index, group in enumerate(subject.config.instance_group):
        if group.gpus and group.kind in ("KIND_CPU", "KIND_MODEL"):
            yield Problem(
                field=f"instance_group[{index}].gpus",
                expected=f"none with {group.kind}",
                got=str(list(group.gpus)),
                fix="remove gpus, or use KIND_GPU",
                repairs=(DropField(f"instance_group[{index}].gpus"),),
            )


def too_many_threads(subject: Subject) -> Iterator[Problem]:
    """Instances and their threads are more than the cores."""
    cores = subject.machine.cores
    instances = sum(max(group.count, 1) for group in _on_cpu(subject))
    threads, stated = _threads_each(subject)
    if instances * threads > cores and (stated or instances > 1):
        each = f"{threads} threads" if stated else f"a thread for each of the {cores} cores"
        yield Problem(
            field=f"parameters.{_THREADS}" if stated else "instance_group",
            expected=f"at most {cores} threads on {cores} cores",
            got=f"{instances} instances with {each}",
            fix=f"set {_THREADS} to {max(cores // max(instances, 1), 1)}, or fewer instances",
        )


def _on_cpu(subject: Subject) -> list[ModelInstanceGroup]:
    here = ("KIND_CPU", "KIND_AUTO") if subject.machine.gpus == 0 else ("KIND_CPU",)
    return [group for group in subject.config.instance_group if group.kind in here]


def _threads_each(subject: Subject) -> tuple[int, bool]:
    """Give the threads of one instance, and whether config.pbtxt states them."""
    if subject.backend is None or subject.backend.name != "onnxruntime":
        return 0, False
    text = subject.config.parameters.get(_THREADS, "")
    stated = text.isdecimal() and int(text) > 0
    return (int(text) if stated else subject.machine.cores), stated
