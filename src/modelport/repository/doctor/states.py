"""Rules about implicit state: what Triton carries from one request of a sequence to the next."""

from __future__ import annotations

from collections.abc import Iterator

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import SequenceState


def _states(subject: Subject) -> tuple[SequenceState, ...]:
    batching = subject.config.sequence_batching
    return batching.state if batching else ()


def wrong_pairs(subject: Subject) -> Iterator[Problem]:
    """Sorted by name, the states pair otherwise than they are declared."""
    states = _states(subject)
    inputs = sorted(state.input_name for state in states)
    outputs = sorted(state.output_name for state in states)
    paired = dict(zip(inputs, outputs, strict=True))
    wrong = [state for state in states if paired[state.input_name] != state.output_name]
    if wrong:
        yield Problem(
            field=f"sequence_batching.state[{states.index(wrong[0])}].output_name",
            expected=", ".join(f"{state.input_name} from {state.output_name}" for state in wrong),
            got=", ".join(f"{s.input_name} from {paired[s.input_name]}" for s in wrong)
            + " when sorted by name",
            fix="name both ends so that they sort alike, such as state_0_in and state_0_out",
        )


def not_carried(subject: Subject) -> Iterator[Problem]:
    """The server that Modelport brings always hands the initial value to the model.

    Other backends it does not have.
    """
    backend = subject.backend.name if subject.backend else ""
    if _states(subject) and backend in ("python", "onnxruntime"):
        python = backend == "python"
        yield Problem(
            field="sequence_batching.state",
            expected="state that the model keeps itself, by request.correlation_id()",
            got=", ".join(state.input_name for state in _states(subject)),
            fix="keep it in a python model over this one, as builders/activity.py does",
            severity="error" if python else None,
        )


def other_state_type(subject: Subject) -> Iterator[Problem]:
    """A state has another element type than its tensors in the ONNX file."""
    for path, graph in subject.graphs():
        for index, state in enumerate(_states(subject)):
            for tensor in (graph.input(state.input_name), graph.output(state.output_name)):
                if tensor is not None and tensor.data_type != state.data_type:
                    where = f"{path.parent.name}/{path.name}"
                    yield Problem(
                        field=f"sequence_batching.state[{index}].data_type",
                        expected=f"{tensor.data_type}, as {where} has {tensor.name!r}",
                        got=state.data_type,
                        fix=f"set data_type: {tensor.data_type}",
                    )
