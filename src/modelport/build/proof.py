"""The proof through a server: staged models on a private tritonserver, asked every way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modelport.build.candidates import Candidate
from modelport.build.steps import Listener, Progress, Report
from modelport.errors import LoadError, ParityError
from modelport.repository.manifest import LatencyEntry, ParityEntry
from modelport.repository.plans import Place
from modelport.runtime import toolchain as toolchains
from modelport.runtime.events import Event
from modelport.runtime.server import Server
from modelport.runtime.toolchain import Toolchain
from modelport.spec.model import Ensemble, Model, OnnxModel, PythonModel, SklearnModel, TorchModel
from modelport.verify import latency, through_server
from modelport.verify.parity import Parity

# How a manifest names where the expected answers come from.
REFERENCES: dict[type[Model], str] = {
    TorchModel: "torch",
    SklearnModel: "scikit-learn",
    OnnxModel: "onnxruntime in process",
    PythonModel: "reference function",
    Ensemble: "graph of references",
}
# What a user gave along with the inputs, before the name of that file.
RECORDED = "expected answers in "


@dataclass(frozen=True)
class Proven:
    """What the server showed of one candidate.

    Attributes:
        parity: with its reference.
        latency: of a public model.
        duration_s: how long the questions about parity took.
    """

    parity: Parity
    latency: LatencyEntry | None
    duration_s: float


def server_name() -> str:
    """Name the server that proofs run on, for the manifest."""
    found = toolchains.ensure()
    return f"tritonserver {found.version or '(version unknown)'}, {found.place}"


def how(candidate: Candidate) -> ParityEntry:
    """Describe how a model is asked; its figures are filled in by the proof."""
    # Over HTTP, Triton refuses models that answer with a stream.
    transports = ["grpc"] if candidate.model.delivery == "stream" else ["http", "grpc"]
    return ParityEntry(
        reference=candidate.reference,
        requests=0,
        batch_sizes=[],
        concurrencies=list(through_server.CONCURRENCIES),
        transports=transports,
        worst_absolute=0.0,
        worst_relative=0.0,
    )


def prove(
    stage: Path,
    candidates: Sequence[Candidate],
    listener: Listener,
    *,
    toolchain: Toolchain | None = None,
    here: Place | None = None,
) -> Iterator[tuple[Candidate, Proven]]:
    """Serve everything that is staged and ask each candidate all its cases.

    Args:
        stage: a repository of the candidates and their parts.
        candidates: what is asked.
        listener: hears of every step.
        toolchain: which tritonserver; None for the one that is found or fetched.
        here: the GPU and TensorRT that plans must fit; None for those of this machine.

    Yields:
        Each candidate with what was found of it.

    Raises:
        LoadError: a staged model does not load.
        ParityError: an answer differs by more than the model's tolerance.
    """
    toolchain = toolchain or toolchains.ensure(lambda event: _tell(listener, event))
    first = candidates[0].model.name
    listener(Progress(first, "prove", "starting a private server", 0, len(candidates)))
    server = _start(stage, toolchain, here)
    try:
        for done, candidate in enumerate(candidates):
            name, start = candidate.model.name, time.monotonic()
            listener(Progress(name, "prove", "asking it", done, len(candidates)))
            parity = _prove_one(server, candidate, stage)
            took = time.monotonic() - start
            yield candidate, Proven(parity, _latency(server, candidate), took)
    finally:
        server.kill()  # nobody else asks it, so there is nothing to drain


def _tell(listener: Listener, event: Event) -> None:
    """Pass on what the toolchain says while it is fetched, once per machine."""
    if event.duration_s is None:
        listener(Progress("tritonserver", "fetch", event.text, 0, 1))
    else:
        listener(Report("tritonserver", "fetch", event.text, event.duration_s))


def _start(stage: Path, toolchain: Toolchain, here: Place | None) -> Server:
    try:
        # Without the response cache, which would answer a repeated question by itself.
        return Server.start(
            stage, listed=False, response_cache=False, toolchain=toolchain, here=here
        )
    except LoadError as error:
        raise LoadError(
            error.what,
            cause=error.cause,
            next_step=f"{error.next_step}\nnothing is published; what was staged is in {stage}",
            **error.objects,
        ) from error


def _latency(server: Server, candidate: Candidate) -> LatencyEntry | None:
    """Time the answers of what people call."""
    if not candidate.public:
        return None
    urls = {name: getattr(server.endpoints, name) for name in how(candidate).transports}
    found = latency.measure(urls, candidate.model.name, candidate.cases)
    return LatencyEntry(**asdict(found))


def _prove_one(server: Server, candidate: Candidate, stage: Path) -> Parity:
    model = candidate.model
    urls = [getattr(server.endpoints, transport) for transport in how(candidate).transports]
    found = through_server.parity(urls, model.name, candidate.cases, model.tolerance)
    if not found.problems:
        return found
    shown = "\n".join(f"    {problem}" for problem in found.problems[:3])
    raise ParityError(
        f"model {model.name!r}: answers through the server differ from the reference in"
        f" {len(found.problems)} of {found.requests} requests (tolerance"
        f" {model.tolerance.absolute:g} + {model.tolerance.relative:g} · |expected|)\n{shown}",
        cause=_cause(found.problems, candidate.reference),
        next_step=f"nothing is published; what was staged is kept in {stage}",
        model=model.name,
        problems=found.problems,
        stage=stage,
    )


def _cause(problems: Sequence[str], reference: str) -> str:
    if all("no answer: " in problem for problem in problems):
        return "the model's code raises an exception; the server's answers show it"
    mixes = "the model mixes items of a batch, or the tolerance is too strict"
    # What people wrote down may be wrong, or of another version.
    recorded = reference.startswith(RECORDED)
    return f"the {reference} are not this version's, or {mixes}" if recorded else mixes
