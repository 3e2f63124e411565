"""``modelport up``: build the zoo, serve it, ask every public model, and show the answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options, serving
from modelport.cli.build import StepPrinter
from modelport.cli.output import Output, pass_output
from modelport.errors import ParityError, PortInUseError

if TYPE_CHECKING:
    from modelport.client import Client
    from modelport.repository.layout import ModelFolder
    from modelport.repository.samples import Case
    from modelport.runtime.server import Server

_PORTS = {"http_port": 8000, "grpc_port": 8001, "metrics_port": 8002}


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


@click.command(name="up")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--once", is_flag=True, help="Stop after the answers; exit 0 only if all were right.")
@options.BUILDERS
@options.REPOSITORY
@options.HOST
@click.option("--http-port", type=int, help="Default: 8000, or a free one where that is taken.")
@click.option("--grpc-port", type=int, help="Default: 8001, or a free one.")
@click.option("--metrics-port", type=int, help="Default: 8002, or a free one.")
@options.AS_JSON
@pass_output
def command(out: Output, /, **given: Any) -> None:
    """Build models, serve them, send each public one real requests, and keep serving.

    NAME is a model or the stem of a builder file; without one everything is built.
    """
    from modelport.build import pipeline

    built = pipeline.build(
        given["names"],
        builders=given["builders"],
        repository=given["repository"],
        listener=StepPrinter(out),
    )
    new = sum(b.new for b in built)
    out.note(f"{len(built)} models proven: {new} built now, {len(built) - new} unchanged")
    names = [b.model for b in built]
    service = serving.Service(
        repository=given["repository"],
        names=names,
        host=given["host"],
        http_port=_port(out, given, "http_port"),
        grpc_port=_port(out, given, "grpc_port"),
        metrics_port=_port(out, given, "metrics_port"),
    )
    serving.serve(out, service, lambda server: _ask_all(out, server, names, given))


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


def _ask_all(out: Output, server: Server, names: Sequence[str], given: dict[str, Any]) -> bool:
    """Ask every public model its questions; show them; say whether to go on serving.

    Raises:
        ParityError: an answer was wrong, and the server was to run once only.
    """
    from modelport.client import Client
    from modelport.repository.layout import Repository

    repository = Repository(given["repository"])
    folders = [repository.model(name) for name in names]
    answers: list[Answer] = []
    with Client(server.endpoints.http) as http, Client(server.endpoints.grpc) as grpc:
        for folder in folders:
            for answer in _ask(folder, {"HTTP": http, "gRPC": grpc}):
                if not answers:
                    out.note(f"first answer {_since_start_s():.1f} s after starting")
                answers.append(answer)
    _show(out, answers, server, as_json=given["as_json"])
    wrong = [answer for answer in answers if answer.problem]
    if wrong and given["once"]:
        raise ParityError(
            f"{len(wrong)} of {len(answers)} answers were wrong; the first:"
            f" {wrong[0].model}, {wrong[0].title}: {wrong[0].problem}",
            next_step="modelport build, then modelport doctor",
            answers=wrong,
        )
    return not given["once"]


def _ask(folder: ModelFolder, clients: dict[str, Client]) -> Iterator[Answer]:
    from modelport.repository.samples import FILE_NAME, Samples

    version = folder.served_versions()[-1]
    manifest = folder.manifest(version)
    if not manifest.public:
        return
    cases = Samples.read(folder.version_dir(version) / FILE_NAME).cases
    titled = [case for case in cases if case.title] or cases[:3]
    tolerance = manifest.proof.tolerance
    for case in titled:
        yield _answer(folder.name, case, clients, tolerance)


def _answer(model: str, case: Case, clients: dict[str, Client], bound: Any) -> Answer:
    """Ask over each transport; an answer is right if it equals the reference and the truth."""
    from modelport.spec import Tolerance
    from modelport.verify.parity import compare

    tolerance = Tolerance(bound.absolute, bound.relative)
    latency_ms, problems = {}, []
    got: dict[str, Any] = {}
    for transport, client in clients.items():
        client.metadata(model)  # asked once per client; the latency is that of the call alone
        start = time.perf_counter()
        got = client.infer(model, case.inputs)
        latency_ms[transport] = (time.perf_counter() - start) * 1e3
        for expected in (case.outputs, case.truth):
            comparison = compare(got, expected, tolerance)
            if not comparison.ok:
                problems.append(f"{transport}: {comparison.describe()}")
    return Answer(
        model=model,
        title=case.title or _shapes(case),
        inputs=case.inputs,
        outputs={name: _plain(got[name]) for name in case.outputs if name in got},
        truth={name: _plain(array) for name, array in case.truth.items()},
        problem="; ".join(problems),
        latency_ms=latency_ms,
    )


def _shapes(case: Case) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in case.inputs.items())


def _plain(array: Any) -> Any:
    """Turn an answer of one item into what people read and JSON holds."""
    values = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in array.flat]
    values = [v.item() if hasattr(v, "item") else v for v in values]
    return values[0] if len(values) == 1 else values


def _show(out: Output, answers: list[Answer], server: Server, *, as_json: bool) -> None:
    if as_json:
        listed = [{k: v for k, v in vars(a).items() if k != "inputs"} for a in answers]
        out.json({"endpoints": vars(server.endpoints), "answers": listed})
        return
    rows = [
        (
            answer.model,
            answer.title,
            _brief(answer.outputs),
            answer.problem or "right",
            *(f"{ms:.1f} ms" for ms in answer.latency_ms.values()),
        )
        for answer in answers
    ]
    out.table("", ("model", "asked", "answered", "", "HTTP", "gRPC"), rows)
    out.text(_how_to_go_on(server, answers[0] if answers else None))


def _brief(outputs: dict[str, Any]) -> str:
    """Show single values in full and leave vectors out."""
    single = {name: value for name, value in outputs.items() if not isinstance(value, list)}
    shown = single or {name: f"{len(value)} values" for name, value in outputs.items()}
    texts = ((n, f"{v:.4f}" if isinstance(v, float) else str(v)) for n, v in shown.items())
    return ", ".join(f"{name} {text}" for name, text in texts)


def _how_to_go_on(server: Server, answer: Answer | None) -> str:
    http, grpc = server.endpoints.http, server.endpoints.grpc
    text = f"Serving on {http} (HTTP), {grpc} (gRPC), {server.endpoints.metrics} (metrics)."
    if answer is None:
        return text
    model, (name, array) = answer.model, next(iter(answer.inputs.items()))
    is_file = array.dtype == object
    datatype = "BYTES" if is_file else "..."
    data = '["\'"$(base64 -w0 photo.png)"\'"]' if is_file else "[...]"
    python = 'open("photo.png", "rb").read()' if is_file else "array"
    request = f'{{"name": "{name}", "datatype": "{datatype}", "shape": {list(array.shape)}, '
    return f"""{text}

  curl     curl -s {http}/v2/models/{model}/infer -d \\
             '{{"inputs": [{request}"data": {data}}}]}}'
  Python   from modelport.client import Client
           Client("{grpc}").infer("{model}", {{"{name}": {python}}})
  CLI      modelport infer {model} --input {name}=@{"photo.png" if is_file else "array.npy"}
  log      {server.log_path}"""


def _since_start_s() -> float:
    """Seconds since this process began, by the kernel's account."""
    from modelport.runtime import proc

    me = proc.process(os.getpid())
    started = me.start / os.sysconf("SC_CLK_TCK") if me else 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
