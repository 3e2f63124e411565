"""The proof through a server: staged models on a private tritonserver, asked every way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelport.build.candidates import Candidate
from modelport.errors import LoadError, ParityError
from modelport.repository.manifest import ParityEntry
from modelport.runtime import toolchain as toolchains
from modelport.runtime.server import Server
from modelport.spec.model import Ensemble, Model, OnnxModel, PythonModel, TorchModel
from modelport.verify import through_server
from modelport.verify.parity import Parity

_REFERENCES: dict[type[Model], str] = {
    TorchModel: "torch",
    OnnxModel: "onnxruntime in process",
    PythonModel: "reference function",
    Ensemble: "graph of references",
}


def server_name() -> str:
    """Name the server that proofs run on, for the manifest."""
    found = toolchains.ensure()
    return f"tritonserver {found.version or '(version unknown)'}, {found.place}"


def how(candidate: Candidate) -> ParityEntry:
    """Describe how a model is asked; its figures are filled in by the proof."""
    return ParityEntry(
        reference=_REFERENCES[type(candidate.model)],
        requests=0,
        batch_sizes=[],
        concurrencies=list(through_server.CONCURRENCIES),
        transports=["http", "grpc"],
        worst_absolute=0.0,
        worst_relative=0.0,
    )


def prove(stage: Path, candidates: Sequence[Candidate]) -> dict[str, Parity]:
    """Serve everything that is staged and ask each candidate all its cases.

    Returns:
        Parity by model name.

    Raises:
        LoadError: a staged model does not load.
        ParityError: an answer differs by more than the model's tolerance.
    """
    try:
        server = Server.start(stage, listed=False)
    except LoadError as error:
        raise LoadError(
            error.what,
            cause=error.cause,
            next_step=f"{error.next_step}\nnothing is published; what was staged is in {stage}",
            **error.objects,
        ) from error
    try:
        return {c.model.name: _prove_one(server, c, stage) for c in candidates}
    finally:
        server.kill()  # nobody else asks it, so there is nothing to drain


def _prove_one(server: Server, candidate: Candidate, stage: Path) -> Parity:
    model = candidate.model
    urls = (server.endpoints.http, server.endpoints.grpc)
    found = through_server.parity(urls, model.name, candidate.cases.cases, model.tolerance)
    if not found.problems:
        return found
    shown = "\n".join(f"    {problem}" for problem in found.problems[:3])
    raise ParityError(
        f"model {model.name!r}: answers through the server differ from the reference in"
        f" {len(found.problems)} of {found.requests} requests (tolerance"
        f" {model.tolerance.absolute:g} + {model.tolerance.relative:g} · |expected|)\n{shown}",
        cause="the model mixes items of a batch, or the tolerance is too strict",
        next_step=f"nothing is published; what was staged is kept in {stage}",
        model=model.name,
        problems=found.problems,
        stage=stage,
    )
