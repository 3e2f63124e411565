"""Questions to served models, over both transports, and their answers as people read them."""

from __future__ import annotations

import queue
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelport.errors import ModelportError

if TYPE_CHECKING:
    from modelport.client import Client
    from modelport.repository.layout import Repository
    from modelport.repository.samples import Case
    from modelport.runtime.server import Server
    from modelport.spec.model import Delivery
    from modelport.spec.parts import Tolerance

_UNTITLED = 3
_WORDS = 3


@dataclass(frozen=True)
class Answer:
    """One question as it was asked over both transports, and what came back."""

    model: str
    title: str
    inputs: Mapping[str, Any]
    outputs: dict[str, Any]
    truth: dict[str, Any]
    problem: str
    latency_ms: dict[str, float]


@dataclass(frozen=True)
class Asked:
    """One public model with the answers to all its questions."""

    model: str
    version: int
    doc: str
    answers: Sequence[Answer] = field(default=())

    @property
    def right(self) -> int:
        """How many answers were right."""
        return sum(not answer.problem for answer in self.answers)

    def latency_ms(self, transport: str) -> float | None:
        """Median over the answers; None where none came."""
        found = [a.latency_ms[transport] for a in self.answers if transport in a.latency_ms]
        return statistics.median(found) if found else None


class Asker:
    """Asks models in a thread of its own, in the order in which they are given to it.

    Args:
        repository: holds the questions beside the weights.
        server: that is asked.
        answered: hears of every public model once all its answers are there.
    """

    def __init__(
        self, repository: Repository, server: Server, answered: Callable[[Asked], None]
    ) -> None:
        self._repository = repository
        self._server = server
        self._answered = answered
        self._models: queue.Queue[str | None] = queue.Queue()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="modelport-asker", daemon=True)
        self._thread.start()

    def ask(self, model: str) -> None:
        """Have a model asked; a part of another is passed over."""
        self._models.put(model)

    def done(self) -> bool:
        """Have no more asked; says whether all answers are there. Raises what stopped it."""
        if not self._models.empty() and self._thread.is_alive():
            return False
        self._models.put(None)
        self._thread.join(0.1)
        if self._fault is not None:
            raise self._fault
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._ask_all()
        except BaseException as error:  # noqa: BLE001 - raised by `done`, in the main thread
            self._fault = error

    def _ask_all(self) -> None:
        # Imported here: while the first models load, there is time.
        from modelport.client import Client

        urls = self._server.endpoints
        with Client(urls.http) as http, Client(urls.grpc) as grpc:
            clients = {"HTTP": http, "gRPC": grpc}
            while (model := self._models.get()) is not None:
                asked = ask(self._repository, model, clients, self._server.loaded())
                if asked is not None:
                    self._answered(asked)


def ask(
    repository: Repository,
    model: str,
    clients: dict[str, Client],
    loaded: Mapping[str, Sequence[int]] | None = None,
) -> Asked | None:
    """Ask a model the questions that it was proven with; None for one that is not public.

    Args:
        repository: holds the questions.
        model: its name.
        clients: of a running server, by transport.
        loaded: versions by model that the server has; by default what config.pbtxt says.
    """
    from modelport.repository import plans
    from modelport.repository.samples import FILE_NAME, Samples
    from modelport.verify import asking

    folder = repository.model(model)
    loaded = loaded or {}
    version = (loaded.get(model) or folder.served_versions())[-1]
    manifest = folder.manifest(version)
    if not manifest.public:
        return None
    samples = Samples.read(folder.version_dir(version) / FILE_NAME)
    titled = [case for case in samples.cases if case.title] or samples.cases[:_UNTITLED]
    tolerance = plans.tolerance(folder, version, loaded)
    if samples.delivery == "stream":  # Triton refuses these over HTTP
        clients = {
            transport: client for transport, client in clients.items() if transport != "HTTP"
        }
    with suppress(ModelportError):  # told of below
        # The first request loads what the model's code puts off: no measure of its speed.
        asking.ask(list(clients.values())[-1], model, titled[0], samples.delivery)
    answers = [_answer(model, case, clients, tolerance, samples.delivery) for case in titled]
    return Asked(model, version, manifest.doc, answers)


def _answer(
    model: str, case: Case, clients: dict[str, Client], tolerance: Tolerance, delivery: Delivery
) -> Answer:
    """Ask over each transport; an answer is right if it equals the reference and the truth."""
    from modelport.verify import asking
    from modelport.verify.parity import compare

    latency_ms, problems = {}, []
    got: Mapping[str, Any] = {}
    for transport, client in clients.items():
        try:
            client.metadata(model)  # asked once per client; the latency is that of the call alone
            start = time.perf_counter()
            got = asking.ask(client, model, case, delivery)
            latency_ms[transport] = (time.perf_counter() - start) * 1e3
        except ModelportError as error:
            problems.append(f"{transport}: no answer: {error.what}")
            continue
        for expected in (case.outputs, case.truth):
            comparison = compare(got, expected, tolerance)
            if not comparison.ok:
                problems.append(f"{transport}: {comparison.describe()}")
    return Answer(
        model=model,
        title=case.title or _shapes(case),
        inputs=case.inputs,
        outputs={n: _told(got[n], delivery) for n in case.outputs if n in got},
        truth={name: plain(array) for name, array in case.truth.items()},
        problem="; ".join(problems),
        latency_ms=latency_ms,
    )


def _told(array: Any, delivery: Delivery) -> Any:
    """Give what counts: of a sequence the last answer, of a stream its whole text."""
    value = plain(array[-1] if delivery == "sequence" else array)
    if delivery == "stream" and isinstance(value, list) and isinstance(value[0], str):
        return "".join(value)
    return value


def _shapes(case: Case) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in case.inputs.items())


def plain(array: Any) -> Any:
    """Turn an answer of one item into what people read and JSON holds."""
    values = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in array.flat]
    values = [v.item() if hasattr(v, "item") else v for v in values]
    return values[0] if len(values) == 1 else values


def brief(outputs: dict[str, Any]) -> str:
    """Show what people read (single values, words) and leave vectors of numbers out."""
    shown = {name: text for name, value in outputs.items() if (text := _text(value))}
    shown = shown or {name: f"{len(value)} values" for name, value in outputs.items()}
    return ", ".join(f"{name} {text}" for name, text in shown.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        words = all(isinstance(one, str) for one in value) and len(value) > 0
        more = f" and {len(value) - _WORDS} more" if len(value) > _WORDS else ""
        return ", ".join(value[:_WORDS]) + more if words else ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def milliseconds(value: float | None) -> str | None:
    """Show a latency."""
    return None if value is None else f"{value:.1f} ms"
