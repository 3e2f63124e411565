"""Merging requests into one run, splitting its outputs, and letting a bad request fail alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from modelport.errors import ModelportError
from modelport.serving.onnx.session import Run
from modelport.serving.onnx.tensors import Array


class Job(NamedTuple):
    """One request: its arrays by input name, and the names of the outputs that it wants."""

    feeds: Mapping[str, Array]
    outputs: Sequence[str]


Outcome = Mapping[str, Array] | Exception
Form = Sequence[tuple[str, tuple[int, ...]]]


class BatchError(ModelportError):
    """The graph does not keep the batch dimension, so its output cannot be handed out."""


class BatchRunner:
    """Runs jobs, as few runs as possible; never raises for what one of them did.

    Args:
        run: runs the session once.
        batched: whether the first dimension of every tensor is the batch
            (``max_batch_size > 0``); otherwise each job is a run of its own.
    """

    def __init__(self, run: Run, *, batched: bool) -> None:
        self._run = run
        self._batched = batched

    def __call__(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Return what became of each job, in the order of ``jobs``."""
        if len(jobs) < 2 or not self._batched:
            return [self._alone(job) for job in jobs]
        forms = [_form(job) for job in jobs]
        if forms.count(forms[0]) == len(forms):  # Triton's batcher merges no others, as a rule
            return self._together(jobs)
        outcomes: dict[int, Outcome] = {}
        for positions in _alike(forms):
            group = [jobs[position] for position in positions]
            outcomes.update(zip(positions, self._together(group), strict=True))
        return [outcomes[position] for position in range(len(jobs))]

    def _alone(self, job: Job) -> Outcome:
        try:
            outputs = self._run(job.outputs, job.feeds)
            if self._batched:
                _check_batch(job.outputs, outputs, _rows(job))
        except Exception as error:  # noqa: BLE001 - the boundary that isolates a request
            return error
        return dict(zip(job.outputs, outputs, strict=True))

    def _together(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs of equal shapes at once; one by one when that fails, to find out whose fault."""
        if len(jobs) == 1:
            return [self._alone(jobs[0])]
        rows = [_rows(job) for job in jobs]
        names = _wanted(jobs)
        try:
            outputs = self._run(names, _merged(jobs))
            _check_batch(names, outputs, sum(rows))
        except Exception:  # noqa: BLE001 - each job runs again and reports for itself
            return [self._alone(job) for job in jobs]
        return _split(jobs, dict(zip(names, outputs, strict=True)), rows)


def _form(job: Job) -> Form:
    """Give what requests must have in common to be one array: inputs, and shapes but for the batch.

    Triton has compared datatypes with the configuration.
    """
    return [(name, array.shape[1:]) for name, array in job.feeds.items()]


def _alike(forms: Sequence[Form]) -> Iterable[list[int]]:
    """Group the positions of jobs of one form, in whatever order their inputs came.

    Zero-row jobs are fine here; what keeps jobs apart is a different length in
    another dimension, which a run over one array cannot hold.
    """
    groups: dict[frozenset[tuple[str, tuple[int, ...]]], list[int]] = {}
    for position, form in enumerate(forms):
        groups.setdefault(frozenset(form), []).append(position)
    return groups.values()


def _rows(job: Job) -> int:
    return len(next(iter(job.feeds.values())))


def _wanted(jobs: Sequence[Job]) -> Sequence[str]:
    first = jobs[0].outputs
    if all(job.outputs == first for job in jobs):
        return first
    return tuple(dict.fromkeys(name for job in jobs for name in job.outputs))


def _merged(jobs: Sequence[Job]) -> dict[str, Array]:
    return {name: np.concatenate([job.feeds[name] for job in jobs]) for name in jobs[0].feeds}


def _split(jobs: Sequence[Job], outputs: Mapping[str, Array], rows: Sequence[int]) -> list[Outcome]:
    """Give each job its rows: views into the run's outputs, contiguous, nothing copied."""
    return [
        {name: outputs[name][end - count : end] for name in job.outputs}
        for job, end, count in zip(jobs, accumulate(rows), rows, strict=True)
    ]


def _check_batch(names: Sequence[str], outputs: Sequence[Array], rows: int) -> None:
    for name, output in zip(names, outputs, strict=True):
        if output.ndim == 0 or output.shape[0] != rows:
            raise BatchError(
                f"output '{name}' has shape {list(output.shape)}, expected {rows} rows",
                cause="the graph does not keep the batch dimension",
                next_step="export it so that row i of each output belongs to row i of the "
                "inputs, or set max_batch_size: 0",
                tensor=name,
            )
