"""State of sequences in a Python backend: one value for each, freed when it ends or falls silent.

Triton's sequence batcher sends the requests of one sequence one after the other, and those of
many sequences together. It refuses a request of a sequence that never started. What it does not
do is keep the state right on every server (implicit state fails silently on some), so the state
lives here.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelport.serving.python_model import BadItemError

Arrays = Mapping[str, np.ndarray]
# States (None: a sequence that starts) and inputs of sequences that advance together, each
# [sequences, ...]; gives their new states, and outputs [sequences, ...].
Step = Callable[[Sequence[Any], Arrays], tuple[Sequence[Any], Arrays]]

_START, _END = 1, 2
GAUGE = "modelport_live_sequences"
LIMIT_PARAMETER = "max_live_sequences"


class TooManyError(Exception):
    """As many sequences as the model keeps are live already."""


@dataclass
class States:
    """Values by correlation id.

    Args:
        limit: the most that are kept; one more is refused.
        idle_s: seconds without a request after which a sequence is forgotten.
        clock: seconds that never go back.
    """

    limit: int
    idle_s: float
    clock: Callable[[], float] = time.monotonic
    # From the longest silent to the one heard last.
    _kept: OrderedDict[Hashable, tuple[float, Any]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._kept)

    def forget_idle(self) -> None:
        """Free every sequence that has been silent for too long."""
        oldest_allowed = self.clock() - self.idle_s
        while self._kept and next(iter(self._kept.values()))[0] < oldest_allowed:
            self._kept.popitem(last=False)

    def enter(self, sequence: Hashable, *, start: bool) -> Any:
        """Give a sequence's value, ``None`` for one that starts (again).

        Raises:
            BadItemError: it goes on, but is not known.
            TooManyError: it starts, and there is no room.
        """
        if start:
            if sequence not in self._kept and len(self._kept) >= self.limit:
                raise TooManyError(f"{self.limit} sequences are live, which is the most")
            return None
        if sequence not in self._kept:
            raise BadItemError(
                "this sequence is not known: it never started, has ended, or was silent for more"
                f" than {self.idle_s:g} s; begin again with sequence_start"
            )
        return self._kept[sequence][1]

    def leave(self, sequence: Hashable, state: Any, *, end: bool) -> None:
        """Keep a sequence's new value, or forget it at its end."""
        self._kept.pop(sequence, None)
        if not end:
            self._kept[sequence] = (self.clock(), state)

    def forget(self, sequence: Hashable) -> None:
        """Free one sequence, if it is there."""
        self._kept.pop(sequence, None)


class SequenceModel:
    """What a ``model.py`` of sequences does with each execution.

    All sequences that ask at once, with tensors of equal shapes, advance in one call of the
    step. A bad request leaves its sequence as it was and spoils no other.

    Args:
        step: advances sequences; raises :class:`BadItemError` for what it cannot take.
        check: raises :class:`BadItemError` for a request that the step must not see.
        states: where the values are kept.
    """

    def __init__(self, step: Step, check: Callable[[Arrays], None], states: States) -> None:
        self._step = step
        self._check = check
        self._states = states
        self._gauge: Any = None

    @classmethod
    def from_config(
        cls, args: Mapping[str, str], step: Step, check: Callable[[Arrays], None]
    ) -> SequenceModel:
        """Take limits from config.pbtxt, and publish the number of live sequences as a metric.

        Args:
            args: of Triton's ``initialize``.
            step: advances sequences.
            check: refuses bad requests.
        """
        config = json.loads(args["model_config"])
        idle_us = int(config["sequence_batching"]["max_sequence_idle_microseconds"])
        limit = int(config["parameters"][LIMIT_PARAMETER]["string_value"])
        # Triton forgets a silent sequence at this time or a little later, and refuses what
        # comes then. Its state here must not be gone before.
        made = cls(step, check, States(limit, 2 * idle_us / 1e6))
        made._gauge = _Gauge(args["model_name"], args["model_version"])
        return made

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request of an execution."""
        self._states.forget_idle()
        answers: list[Any] = [None] * len(requests)
        entered: list[_Entered] = []
        for index, request in enumerate(requests):
            found = self._enter(index, request)
            if isinstance(found, _Entered):
                entered.append(found)
            else:
                answers[index] = found
        for group in _alike(entered):
            self._advance(group, answers)
        if self._gauge is not None:
            self._gauge.set(len(self._states))
        return answers

    def _enter(self, index: int, request: Any) -> Any:
        """Look up the sequence of a request; gives the error's response if there is one."""
        flags = request.flags()
        start, end = bool(flags & _START), bool(flags & _END)
        sequence = request.correlation_id()
        try:
            inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            state = self._states.enter(sequence, start=start)
            self._check(inputs)
            return _Entered(index, request, sequence, end, state, inputs)
        except BadItemError as error:
            response = _refused("INVALID_ARG", str(error))
        except TooManyError as error:
            response = _refused("UNAVAILABLE", str(error))
        if end:
            self._states.forget(sequence)
        return response

    def _advance(self, group: Sequence[_Entered], answers: list[Any]) -> None:
        names = group[0].inputs
        inputs = {name: np.concatenate([one.inputs[name] for one in group]) for name in names}
        try:
            states, outputs = self._step([one.state for one in group], inputs)
        except BadItemError as error:
            self._fail(group, answers, "INVALID_ARG", str(error))
            return
        except Exception as error:  # noqa: BLE001 - the boundary to Triton: requests must be answered
            text = f"{type(error).__name__} in the model's code"
            self._fail(group, answers, "INTERNAL", text)
            return
        for row, one in enumerate(group):
            self._states.leave(one.sequence, states[row], end=one.end)
            answers[one.index] = _response(one.request, outputs, row)

    def _fail(self, group: Sequence[_Entered], answers: list[Any], code: str, text: str) -> None:
        for one in group:
            answers[one.index] = _refused(code, text)
            if one.end:
                self._states.forget(one.sequence)


@dataclass(frozen=True)
class _Entered:
    """A good request of a known sequence."""

    index: int
    request: Any
    sequence: Hashable
    end: bool
    state: Any
    inputs: Arrays


def _alike(entered: Sequence[_Entered]) -> list[list[_Entered]]:
    """Group requests whose tensors have the same shapes."""
    groups: dict[Hashable, list[_Entered]] = {}
    for one in entered:
        shapes = tuple((name, array.shape) for name, array in sorted(one.inputs.items()))
        groups.setdefault(shapes, []).append(one)
    return list(groups.values())


def _response(request: Any, outputs: Arrays, row: int) -> Any:
    import triton_python_backend_utils as pb_utils

    wanted = request.requested_output_names()
    tensors = [pb_utils.Tensor(name, outputs[name][row : row + 1]) for name in wanted]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def _refused(code: str, text: str) -> Any:
    import triton_python_backend_utils as pb_utils

    error = pb_utils.TritonError(text, getattr(pb_utils.TritonError, code))
    return pb_utils.InferenceResponse(error=error)


class _Gauge:
    """The number of live sequences among the server's metrics."""

    def __init__(self, model: str, version: str) -> None:
        import triton_python_backend_utils as pb_utils

        self._family = pb_utils.MetricFamily(
            name=GAUGE,
            description="Sequences whose state a model keeps",
            kind=pb_utils.MetricFamily.GAUGE,
        )
        self._metric = self._family.Metric(labels={"model": model, "version": version})
        self._shown = 0

    def set(self, value: int) -> None:
        """Publish the number, if it changed."""
        if value != self._shown:
            self._metric.set(value)
            self._shown = value
