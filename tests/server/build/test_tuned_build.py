"""What `modelport tune` finds is kept beside the builder, and a build makes a version of it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from workplace import Workplace

from modelport.build import tuned_file
from modelport.cli import tune
from modelport.errors import BuilderError
from modelport.perf import objectives
from modelport.perf.batcher import Batching
from modelport.perf.search import Candidate
from modelport.perf.service_times import ServiceTimes
from modelport.perf.settings import Settings
from modelport.perf.trials import Confirmed
from modelport.perf.tuning import Outcome
from modelport.repository.layout import Repository

BUILDER = """\
import numpy as np
import torch
from torch import nn

from modelport.spec import Sample, Serving, Tensor, TorchModel


def network():
    torch.manual_seed(0)
    return nn.Linear(2, 1)


model = TorchModel(
    name="line",
    inputs=(Tensor("x", "FP32", (2,)),),
    outputs=(Tensor("y", "FP32", (1,)),),
    network=network,
    samples=lambda: [Sample({"x": np.array([n, 1], np.float32)}) for n in range(3)],
    serving=Serving(parameters={"intra_op_thread_count": "1"}),
    max_batch_size=8,
)
"""
BEST = Settings(Batching(2, 8, preferred=(4,), delay_s=3e-4), 2)


def found(now: Settings, best: Settings) -> Outcome:
    """Say that tuning ``line`` chose something else than what serves."""
    before, after = (Confirmed(Candidate(one, (), (), 0), (), ()) for one in (now, best))
    return Outcome(
        model="line",
        versions={"line": 1},
        tuned="line",
        shares={},
        objectives=(objectives.parse("p99 <= 9 ms at 20/s"),),
        times=ServiceTimes(model="line", tuned="line", cores=2, points=()),
        searched=2,
        ranked=(),
        before=before,
        confirmed=(before, after),
        chosen=after,
    )


def test_a_build_serves_the_same_weights_with_what_was_found(workplace: Workplace) -> None:
    builder = workplace.builder("lines", BUILDER)
    workplace.build()
    repository = Repository(workplace.repository)
    folder = repository.folder("line")
    now = Settings.of(folder.config_of(1))
    kept = tune._keep(repository, found(now, BEST), workplace.builders)
    assert kept == tuned_file.path_of(builder)
    evidence = tuned_file.read(builder)["line"].evidence
    weights = {file.path: file.sha256 for file in folder.manifest(1).files}
    assert evidence.files == weights
    assert {"modelport", "tritonserver"} <= set(evidence.versions)
    workplace.build()
    assert list(folder.proven_versions()) == [1, 2]
    assert Settings.of(folder.config_of(2)) == BEST
    assert (folder.path / "2" / "model.onnx").read_bytes() == (
        folder.path / "1" / "model.onnx"
    ).read_bytes()

    # The builder changes: its table is stale, until the model is tuned anew.
    builder.write_text(BUILDER.replace("8,", "16,"))
    with pytest.raises(BuilderError, match="max_batch_size is 16, was 8"):
        workplace.build()
    wider = replace(BEST, batching=replace(BEST.batching, max_batch_size=16))
    tune._keep(repository, found(BEST, wider), workplace.builders)
    assert tuned_file.read(builder)["line"].over.max_batch_size == 16

    # What a build would not make of the table is not written.
    before = tuned_file.digest_of(builder)
    impossible = dataclasses.replace(BEST, threads=0)
    with pytest.raises(BuilderError, match="intra_op_threads 1 instead of 0"):
        tune._keep(repository, found(BEST, impossible), workplace.builders)
    assert tuned_file.digest_of(builder) == before
