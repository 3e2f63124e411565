"""``modelport up``: build the zoo, serve each model when it is proven, and show its answers."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.build import pipeline, selection, workers
from modelport.cli import answers, building, options, serving
from modelport.cli.answers import Answer, Asked, Asker
from modelport.cli.output import Output, pass_output
from modelport.cli.steps import Board
from modelport.errors import LoadError, ModelportError, ParityError, PortInUseError
from modelport.repository import publish
from modelport.repository.layout import Repository

if TYPE_CHECKING:
    from modelport.runtime.events import Event
    from modelport.runtime.server import Server
    from modelport.runtime.watchdog import Watchdog

_PORTS = {"http_port": 8000, "grpc_port": 8001, "metrics_port": 8002}
_POLL_S = 0.1
# Training must not slow the answers of what serves already.
_NICE = 5
# Of a question that is shown as an example.
_SHORT = 120


@click.command(name="up")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--once", is_flag=True, help="Stop after the answers; exit 0 only if all were right.")
@options.BUILDERS
@options.REPOSITORY
@options.HOST
@click.option("--http-port", type=int, help="Default: 8000, or a free one where that is taken.")
@click.option("--grpc-port", type=int, help="Default: 8001, or a free one.")
@click.option("--metrics-port", type=int, help="Default: 8002, or a free one.")
@options.JOBS
@options.AS_JSON
@pass_output
def command(out: Output, /, **given: Any) -> None:
    """Build models, serve them, send each public one real requests, and keep serving.

    NAME is a model or the stem of a builder file; without one everything is built, but for
    builder files that say `BY_NAME_ONLY = True`. What is built already serves at once; the
    rest joins the running server, each builder file's models as soon as they are proven.
    """
    repository: Path = given["repository"]
    chosen = selection.chosen(given["builders"], given["names"])
    # Half a publication, left by a crash, would look like a broken version.
    publish.finish(repository)
    target = Repository(repository)
    families = [
        Family(path, [b.model for b in pipeline.unchanged(path, target)]) for path in chosen
    ]
    cold = [family for family in families if not family.models]
    proven = sum(len(family.models) for family in families)
    if proven:
        out.note(f"{proven} models proven before, unchanged")
    board = Board(out, [family.builder for family in cold])
    jobs = [workers.Job(str(f.builder), str(repository), nice=_NICE) for f in cold]
    building_ = workers.Workers(jobs, workers.count(given["jobs"]), board.heard)
    Opening(out, given, families, building_, board).run()


@dataclass
class Family:
    """The models of one builder file on their way to the server.

    Attributes:
        models: known once they are published.
        coming: those of them that do not serve yet.
        failure: what keeps them from serving, or some of them.
    """

    builder: Path
    models: list[str]
    coming: set[str] = field(default_factory=set)
    failure: Exception | None = None

    @property
    def name(self) -> str:
        """What people call it by."""
        return self.builder.stem


class Opening:
    """From what is built already to the whole zoo, on one server."""

    def __init__(
        self,
        out: Output,
        given: dict[str, Any],
        families: Sequence[Family],
        building_: workers.Workers,
        board: Board,
    ) -> None:
        self._out = out
        self._given = given
        self._families = families
        self._building = building_
        self._board = board
        self._repository = Repository(given["repository"])
        self._signals = serving.Signals()
        self._server: Server | None = None
        self._watchdog: Watchdog | None = None
        self._asker: Asker | None = None
        self._asked: list[Asked] = []

    def run(self) -> None:
        """Build, serve and ask; then serve on until a signal comes, unless it is for once.

        Raises:
            ModelportError: nothing serves, or it is for once and something went wrong.
        """
        try:
            with self._board.shown():
                self._building.start()
                self._serve_all()
            # Before it says that all serves: who reads that may end it at once.
            self._signals.listen()
            if self._conclude():
                assert self._server is not None
                self._signals.wait(self._server)
        except KeyboardInterrupt:
            self._signals.count += 1
            raise
        finally:
            self._end()

    def _serve_all(self) -> None:
        """Serve what is there, then each family as it is published, until all is asked."""
        self._serve([family for family in self._families if family.models])
        by_builder = {family.builder: family for family in self._families}
        for _ in [family for family in self._families if not family.models]:
            outcome = self._next_outcome()
            self._board.ended(outcome)
            family = by_builder[outcome.builder]
            family.models = [built.model for built in outcome.built]
            family.failure = outcome.error
            if outcome.error is None:
                self._serve([family])
        while self._asker is not None and not self._asker.done():
            self._watch(_POLL_S)

    def _next_outcome(self) -> workers.Outcome:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._building.outcomes.get(timeout=_POLL_S)
            self._watch(0)

    def _watch(self, timeout_s: float) -> None:
        """Wait a while; an end of the server's own accord is an error."""
        if self._server is not None:
            serving.watch(self._server, timeout_s)

    def _serve(self, families: Sequence[Family]) -> None:
        """Examine some families and load those that are well, all of them side by side."""
        well = [family for family in families if self._examined(family)]
        if not well:
            return
        server = self._started()
        by_model: dict[str, Family] = {}
        for family in well:
            family.coming = set(family.models)
            by_model |= dict.fromkeys(family.models, family)

        def heard(event: Event) -> None:
            serving.show_event(self._out, event)
            family = by_model.get(event.model or "")
            if event.kind == "loaded" and family is not None:
                self._loaded(family, event.model or "")

        try:
            server.add(list(by_model), on_event=heard)
        except LoadError as error:
            self._not_loaded(well, by_model, error)

    def _examined(self, family: Family) -> bool:
        try:
            serving.examine(self._out, self._repository.path, family.models)
            serving.admit(self._repository.path, family.models)
        except ModelportError as error:
            self._fail(family, error)
            return False
        return True

    def _started(self) -> Server:
        """Give the server, started when first asked for."""
        if self._server is None:
            from modelport.runtime.watchdog import Watchdog

            given = self._given
            serving.warn_if_open(self._out, given["host"])
            service = serving.Service(
                repository=given["repository"],
                names=(),
                host=given["host"],
                http_port=_port(self._out, given, "http_port"),
                grpc_port=_port(self._out, given, "grpc_port"),
                metrics_port=_port(self._out, given, "metrics_port"),
            )
            self._server = serving.start(self._out, service, growing=True)
            self._asker = Asker(self._repository, self._server, self._answered)
            self._watchdog = Watchdog(
                self._server, on_event=lambda event: serving.show_event(self._out, event)
            )
            if not given["once"]:
                self._watchdog.start()
        return self._server

    def _loaded(self, family: Family, model: str) -> None:
        """Have a family asked once all of it serves: its models may call one another."""
        family.coming.discard(model)
        if not family.coming and self._asker is not None:
            for name in family.models:
                self._asker.ask(name)

    def _not_loaded(
        self, families: Sequence[Family], by_model: dict[str, Family], error: LoadError
    ) -> None:
        from modelport.runtime.server import load_error

        failures: dict[str, Any] = error.objects["failures"]  # type: ignore[assignment]
        for family in families:
            own = [f for model, f in failures.items() if by_model.get(model, family) is family]
            if own and family.coming:
                assert self._server is not None
                self._fail(family, load_error(own, self._server.log_path))

    def _fail(self, family: Family, error: Exception) -> None:
        family.failure = error
        first = str(error).partition("\n")[0]
        self._out.note(f"✗ {family.name}: {first}")

    def _answered(self, asked: Asked) -> None:
        """Show a model's answers as soon as it gives them."""
        if not self._asked:
            self._out.note(f"first answer {_since_start_s():.1f} s after starting")
        self._asked.append(asked)
        if not self._given["as_json"]:
            title = f"{asked.model}: {asked.doc}" if asked.doc else asked.model
            self._out.table(title, ("asked", "answered", "", "HTTP", "gRPC"), list(_rows(asked)))

    def _conclude(self) -> bool:
        """Show what serves and what does not; says whether to go on serving.

        Raises:
            ModelportError: nothing serves, or it is for once and something went wrong.
        """
        failures = [(f.name, f.failure) for f in self._families if f.failure is not None]
        failure = building.gathered(failures, len(self._families), "served") if failures else None
        if self._server is None:
            assert failure is not None
            raise failure
        once: bool = self._given["once"]
        self._summarise([name for name, _ in failures])
        given = [answer for asked in self._asked for answer in asked.answers]
        wrong = [answer for answer in given if answer.problem]
        if not once:
            if isinstance(failure, ModelportError):
                self._out.error(failure)
            return True
        if failure is not None:
            raise failure
        if wrong:
            raise ParityError(
                f"{len(wrong)} of {len(given)} answers were wrong; the first:"
                f" {wrong[0].model}, {wrong[0].title}: {wrong[0].problem}",
                next_step="modelport build, then modelport doctor",
                answers=wrong,
            )
        return False

    def _summarise(self, failed: Sequence[str]) -> None:
        assert self._server is not None
        out, server = self._out, self._server
        given = [answer for asked in self._asked for answer in asked.answers]
        if self._given["as_json"]:
            listed = [{k: v for k, v in vars(a).items() if k != "inputs"} for a in given]
            out.json({"endpoints": vars(server.endpoints), "answers": listed, "failed": failed})
            return
        rows = [_summary(asked) for asked in sorted(self._asked, key=lambda one: one.model)]
        out.table("", ("model", "version", "right", "HTTP", "gRPC", "what it does"), rows)
        building.left_out(out, self._given["builders"], self._given["names"])
        out.text(_how_to_go_on(server, given))

    def _end(self) -> None:
        """Leave no process behind, and the repository in its old or its new state."""
        # From here on a signal is counted: the second one ends all at once.
        self._signals.listen()
        try:
            self._signals.wait_for(self._building.stop, self._building.kill)
            publish.finish(self._repository.path)
        finally:
            if self._server is not None:
                serving.end(self._out, self._server, self._watchdog, self._signals)


def _port(out: Output, given: dict[str, Any], name: str) -> int:
    """Take Triton's usual port where nobody asked for another and it is free."""
    from modelport.runtime import ports

    chosen: int | None = given[name]
    if chosen is not None:
        return chosen
    usual = _PORTS[name]
    try:
        ports.choose(given["host"], {f"--{name.replace('_', '-')}": usual})
    except PortInUseError:
        out.note(f"port {usual} is in use, so a free one is taken")
        return 0
    return usual


def _rows(asked: Asked) -> Iterator[tuple[object, ...]]:
    for answer in asked.answers:
        took = (answers.milliseconds(answer.latency_ms.get(name)) for name in ("HTTP", "gRPC"))
        yield answer.title, answers.brief(answer.outputs), answer.problem or "right", *took


def _summary(asked: Asked) -> tuple[object, ...]:
    took = (answers.milliseconds(asked.latency_ms(name)) for name in ("HTTP", "gRPC"))
    right = f"{asked.right} of {len(asked.answers)}"
    return asked.model, asked.version, right, *took, asked.doc


def _how_to_go_on(server: Server, given: Sequence[Answer]) -> str:
    """Give commands to go on with: one that runs as it stands, where a model takes text."""
    http, grpc = server.endpoints.http, server.endpoints.grpc
    text = f"Serving on {http} (HTTP), {grpc} (gRPC), {server.endpoints.metrics} (metrics)."
    if not given:
        return text
    answer = next((answer for answer in given if _question(answer)), given[0])
    model, (name, array) = answer.model, next(iter(answer.inputs.items()))
    shape, words = list(array.shape), _question(answer)
    if words:
        datatype, data = "BYTES", json.dumps([words], ensure_ascii=False)
        python, argument = json.dumps(words, ensure_ascii=False), f"{name}={shlex.quote(words)}"
    elif array.dtype == object:
        datatype, data = "BYTES", '["\'"$(base64 -w0 photo.png)"\'"]'
        python, argument = 'open("photo.png", "rb").read()', f"{name}=@photo.png"
    else:
        datatype, data, python, argument = "...", "[...]", "array", f"{name}=@array.npy"
    request = f'{{"name": "{name}", "datatype": "{datatype}", "shape": {shape}, "data": {data}}}'
    return f"""{text}

  curl     curl -s {http}/v2/models/{model}/infer -d \\
             '{{"inputs": [{request}]}}'
  Python   from modelport.client import Client
           Client("{grpc}").infer("{model}", {{"{name}": {python}}})
  CLI      modelport infer {model} --input {argument}
  card     modelport card {model}
  log      {server.log_path}"""


def _question(answer: Answer) -> str:
    """Give the text that a model was asked, where it is one that a shell takes as it is."""
    array = next(iter(answer.inputs.values()))
    if len(answer.inputs) > 1 or array.dtype != object or array.size != 1:
        return ""
    with contextlib.suppress(UnicodeDecodeError):
        words = array.flat[0]
        words = words.decode() if isinstance(words, bytes) else str(words)
        plain = words.isprintable() and "'" not in words and len(words) < _SHORT
        return words if plain else ""
    return ""


def _since_start_s() -> float:
    """Seconds since this process began, by the kernel's account."""
    from modelport.runtime import proc

    me = proc.process(os.getpid())
    started = me.start / os.sysconf("SC_CLK_TCK") if me else 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
