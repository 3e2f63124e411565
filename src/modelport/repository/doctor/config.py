"""Rules that need nothing but the values in config.pbtxt."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import DropField, SetField
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import ModelInput, ModelOutput, ModelQueuePolicy


def _tensors(subject: Subject) -> Iterator[tuple[str, ModelInput | ModelOutput]]:
    """Give every tensor with the name of its field."""
    for index, given in enumerate(subject.config.input):
        yield f"input[{index}]", given
    for index, answer in enumerate(subject.config.output):
        yield f"output[{index}]", answer


def incomplete_tensor(subject: Subject) -> Iterator[Problem]:
    """A declared tensor lacks its type or shape."""
    if _completes_tensors(subject):
        return
    for field, tensor in _tensors(subject):
        if tensor.data_type == "TYPE_INVALID":
            yield Problem(
                field=f"{field}.data_type",
                expected=f"the type of {tensor.name!r}, such as TYPE_FP32",
                got="none",
                fix="add data_type",
            )
        if not tensor.dims:
            yield Problem(
                field=f"{field}.dims",
                expected=f"the shape of {tensor.name!r} without its batch dimension",
                got="none",
                fix="add dims; a scalar is dims: [ 1 ] with reshape: { shape: [ ] }",
            )


def _completes_tensors(subject: Subject) -> bool:
    """Tell whether the backend fills in parts of a tensor, which the others do not."""
    name = subject.backend.name if subject.backend else subject.config.backend
    if not name and not subject.config.platform and not subject.versions:
        return True  # files that come later tell the backend
    completes = "auto_complete_config"
    return name == "tensorrt" or any(
        isinstance(node, ast.FunctionDef) and node.name == completes
        for _, tree in subject.trees()
        for node in ast.walk(tree)
    )


def reshape_differs(subject: Subject) -> Iterator[Problem]:
    """A reshape holds another number of elements than the shape it replaces."""
    for field, tensor in _tensors(subject):
        if tensor.reshape is None or not tensor.dims:
            continue
        if not tensor.reshape.shape and subject.config.max_batch_size == 0:
            yield Problem(
                field=f"{field}.reshape.shape",
                expected="at least one dimension where max_batch_size is 0",
                got="[]",
                fix="remove the reshape: Triton has no scalars without a batch dimension",
            )
        elif not _same_size(tensor.dims, tensor.reshape.shape):
            yield Problem(
                field=f"{field}.reshape.shape",
                expected=f"as many elements as dims {list(tensor.dims)}",
                got=str(list(tensor.reshape.shape)),
                fix="mend the reshape; variable dimensions must be as many on both sides",
            )


def _same_size(dims: Sequence[int], shape: Sequence[int]) -> bool:
    """Compare runs of fixed dimensions between variable ones, as Triton does."""
    return _runs(dims) == _runs(shape)


def _runs(dims: Sequence[int]) -> list[int]:
    runs = [1]
    for dim in dims:
        if dim == -1:
            runs.append(1)
        else:
            runs[-1] *= dim
    return runs


def preferred_size_out_of_range(subject: Subject) -> Iterator[Problem]:
    """A preferred batch size is not between 1 and max_batch_size."""
    config = subject.config
    oldest = config.sequence_batching.oldest if config.sequence_batching else None
    sizes = {
        "dynamic_batching": config.dynamic_batching.preferred_batch_size
        if config.dynamic_batching
        else (),
        "sequence_batching.oldest": oldest.preferred_batch_size if oldest else (),
    }
    for scheduler, preferred in sizes.items():
        for index, size in enumerate(preferred):
            if not 1 <= size <= config.max_batch_size:
                yield Problem(
                    field=f"{scheduler}.preferred_batch_size[{index}]",
                    expected=f"1 to max_batch_size, which is {config.max_batch_size}",
                    got=str(size),
                    fix="remove that size, or raise max_batch_size",
                )


def batching_without_batches(subject: Subject) -> Iterator[Problem]:
    """Dynamic batching is on for a model that takes no batches."""
    if subject.config.dynamic_batching is not None and subject.config.max_batch_size == 0:
        yield Problem(
            field="dynamic_batching",
            expected="max_batch_size of 1 or more",
            got="max_batch_size 0",
            fix="set max_batch_size, or remove dynamic_batching",
            repairs=(DropField("dynamic_batching"),),
        )


def priority_out_of_range(subject: Subject) -> Iterator[Problem]:
    """A priority lies outside 1 to priority_levels."""
    batching = subject.config.dynamic_batching
    if batching is None or batching.priority_levels == 0:
        return
    expected = f"1 to priority_levels, which is {batching.priority_levels}"
    named = {"default_priority_level": batching.default_priority_level} | {
        f"priority_queue_policy.{level}": level for level in sorted(batching.priority_queue_policy)
    }
    for field, level in named.items():
        if not 1 <= level <= batching.priority_levels:
            yield Problem(
                field=f"dynamic_batching.{field}",
                expected=expected,
                got=str(level),
                fix="name a level that exists",
            )


def ordering_and_delay(subject: Subject) -> Iterator[Problem]:
    """preserve_ordering excludes priorities and delayed requests."""
    batching = subject.config.dynamic_batching
    if batching is None or not batching.preserve_ordering:
        return
    policies = [batching.default_queue_policy, *batching.priority_queue_policy.values()]
    if batching.priority_levels > 1:
        yield _unordered(f"{batching.priority_levels} priority levels")
    elif any(_delays(policy) for policy in policies if policy):
        yield _unordered("a queue policy with timeout_action DELAY")


def _delays(policy: ModelQueuePolicy) -> bool:
    return policy.timeout_action == "DELAY" and policy.default_timeout_microseconds > 0


def _unordered(got: str) -> Problem:
    return Problem(
        field="dynamic_batching.preserve_ordering",
        expected="one priority level and timeout_action REJECT",
        got=got,
        fix="keep the order or the priorities, not both",
    )


def uncacheable(subject: Subject) -> Iterator[Problem]:
    """The response cache is on for a model whose answers cannot be cached."""
    config = subject.config
    if config.response_cache is None or not config.response_cache.enable:
        return
    policy = config.model_transaction_policy
    reasons = {
        "sequence_batching": config.sequence_batching is not None,
        "a decoupled transaction policy": policy is not None and policy.decoupled,
    }
    for reason in (reason for reason, holds in reasons.items() if holds):
        yield Problem(
            field="response_cache.enable",
            expected=f"false with {reason}",
            got="true",
            fix="remove response_cache",
            repairs=(DropField("response_cache"),),
        )


def cached_refusals(subject: Subject) -> Iterator[Problem]:
    """A Python model may refuse a request, and the cache would not know it from an answer."""
    config = subject.config
    cached = config.response_cache is not None and config.response_cache.enable
    policy = config.model_transaction_policy
    refused = config.sequence_batching is not None or (policy is not None and policy.decoupled)
    if cached and config.backend == "python" and not refused:
        yield Problem(
            field="response_cache.enable",
            expected="false with backend python",
            got="true",
            fix="put the cache on an ensemble over it, which keeps answers only",
            repairs=(DropField("response_cache"),),
        )


def idle_warmup(subject: Subject) -> Iterator[Problem]:
    """A warmup request is declared but never run."""
    for index, warmup in enumerate(subject.config.model_warmup):
        if warmup.batch_size == 0:
            yield Problem(
                field=f"model_warmup[{index}].batch_size",
                expected="1 or more",
                got="0",
                fix="set batch_size: 1",
                repairs=(SetField(f"model_warmup[{index}].batch_size", "1"),),
            )


def missing_warmup_file(subject: Subject) -> Iterator[Problem]:
    """A warmup request names a data file that is not there."""
    for index, warmup in enumerate(subject.config.model_warmup):
        for name, data in sorted(warmup.inputs.items()):
            path = subject.folder.path / "warmup" / (data.input_data_file or "")
            if data.input_data_file and not path.is_file():
                yield Problem(
                    field=f"model_warmup[{index}].inputs.{name}.input_data_file",
                    expected=f"the file {path}",
                    got="no such file",
                    fix="write the raw values into it, or use zero_data: true",
                )


def control_values(subject: Subject) -> Iterator[Problem]:
    """A boolean sequence control does not give exactly one pair of values."""
    batching = subject.config.sequence_batching
    for i, tensor in enumerate(batching.control_input if batching else ()):
        for j, control in enumerate(tensor.control):
            if control.kind == "CONTROL_SEQUENCE_CORRID":
                continue
            pairs = (control.int32_false_true, control.fp32_false_true, control.bool_false_true)
            given = [pair for pair in pairs if pair]
            if len(given) != 1 or len(given[0]) != 2:
                yield Problem(
                    field=f"sequence_batching.control_input[{i}].control[{j}]",
                    expected="one of int32_false_true, fp32_false_true, bool_false_true, 2 values",
                    got=" and ".join(map(str, map(list, given))) or "none",
                    fix=f"give {tensor.name!r} one pair such as fp32_false_true: [ 0, 1 ]",
                )


def repeated_control(subject: Subject) -> Iterator[Problem]:
    """A sequence signal comes on two tensors, or a tensor carries two signals."""
    batching = subject.config.sequence_batching
    seen: dict[str, str] = {}
    for i, tensor in enumerate(batching.control_input if batching else ()):
        field = f"sequence_batching.control_input[{i}]"
        earlier = [other.name for other in batching.control_input[:i]] if batching else []
        if len(tensor.control) != 1 or tensor.name in earlier:
            yield Problem(
                field=f"{field}.control",
                expected=f"one signal on {tensor.name!r}",
                got=", ".join(control.kind for control in tensor.control) or "none",
                fix="declare every tensor once, and give every signal a tensor of its own",
            )
        for j, control in enumerate(tensor.control):
            if control.kind in seen:
                yield Problem(
                    field=f"{field}.control[{j}].kind",
                    expected=f"{control.kind} on {seen[control.kind]!r} only",
                    got=f"{tensor.name!r} carries it too",
                    fix="remove one of the two",
                )
            seen.setdefault(control.kind, tensor.name)


def ragged_tensors(subject: Subject) -> Iterator[Problem]:
    """A batch_input or batch_output names no, or an unknown, source or target."""
    config = subject.config
    inputs = [tensor.name for tensor in config.input]
    outputs = [tensor.name for tensor in config.output]
    for i, computed in enumerate(config.batch_input):
        field = f"batch_input[{i}]"
        yield from _one_source(f"{field}.source_input", computed.source_input, inputs)
        if computed.data_type not in ("TYPE_INT32", "TYPE_FP32"):
            yield Problem(
                field=f"{field}.data_type",
                expected="TYPE_INT32 or TYPE_FP32",
                got=computed.data_type,
                fix="use one of the two types that Triton can compute",
            )
    for i, scattered in enumerate(config.batch_output):
        field = f"batch_output[{i}]"
        yield from _one_source(f"{field}.source_input", scattered.source_input, inputs)
        for j, name in enumerate(scattered.target_name):
            if name not in outputs or name in scattered.target_name[:j]:
                yield Problem(
                    field=f"{field}.target_name[{j}]",
                    expected=f"one of the outputs {', '.join(map(repr, outputs))}, once",
                    got=repr(name),
                    fix="name an output of the model",
                )


def _one_source(field: str, sources: Sequence[str], inputs: Sequence[str]) -> Iterator[Problem]:
    if len(sources) != 1 or sources[0] not in inputs:
        yield Problem(
            field=field,
            expected=f"one of the inputs {', '.join(map(repr, inputs))}",
            got=", ".join(map(repr, sources)) or "none",
            fix="name the input that the sizes are taken from",
        )


def slot_utilization(subject: Subject) -> Iterator[Problem]:
    """minimum_slot_utilization is no share."""
    batching = subject.config.sequence_batching
    direct = batching.direct if batching else None
    share = direct.minimum_slot_utilization if direct else 0.0
    if math.isnan(share) or not 0.0 <= share <= 1.0:
        yield Problem(
            field="sequence_batching.direct.minimum_slot_utilization",
            expected="a share from 0 to 1",
            got=str(share),
            fix="state it as a fraction, such as 0.5",
        )
