"""What a promotion and a roll back cost the callers of `digits`, and how long they take.

    python perf/rollout.py             train a second `digits`, then switch under load

Builds a second version of `digits` in a temporary folder (another seed; some 30 s, once),
serves it to eight callers who pause between requests, and switches between the two versions from
the shell. Each answer must be that of exactly one of the two; one that is neither, or a lost
request, ends the run with an error.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from modelport.build import pipeline
from modelport.client import Client, ModelportError
from modelport.repository.layout import Repository
from modelport.repository.samples import Case, Samples
from modelport.runtime.server import Server

ROOT = Path(__file__).resolve().parents[1]
MODEL = "digits"
CALLERS = 8
QUIET_S = 10.0
SETTLE_S = 0.5
CLOSE = 1e-5

Answer = Mapping[str, npt.NDArray[Any]]


@dataclass
class Load:
    """What the callers saw: the time of each request, which version answered, what went wrong."""

    took_ms: list[float] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    lasted_s: float = 0.0


def build_two(place: Path) -> Path:
    """Build `digits` as it is, and with another seed, in a repository of their own."""
    shutil.copytree(ROOT / "builders", place / "builders")
    repository = place / "repository"
    for code in (ROOT / "model_repository").glob(f"{MODEL}_*/model.py"):
        folder = repository / code.parent.name
        if "color" not in folder.name:
            folder.mkdir(parents=True)
            shutil.copyfile(code, folder / code.name)
    builder = place / "builders" / f"{MODEL}.py"
    pipeline.build((), builders=builder, repository=repository)
    run("promote", MODEL, "1", repository=repository)
    text = builder.read_text(encoding="utf-8")
    builder.write_text(text.replace("spec.Training(", "spec.Training(seed=1, ", 1))
    pipeline.build((), builders=builder, repository=repository)
    return repository


def run(*command: str, repository: Path) -> float:
    """Run a command of Modelport as one does from the shell; gives the seconds it took."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "modelport.cli", *command, "--repository", str(repository)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


@contextmanager
def callers(
    server: Server, questions: Sequence[Case], expected: dict[int, list[Answer]], pause_s: float
) -> Iterator[Load]:
    """Have eight callers ask, over HTTP and gRPC in equal parts."""
    load, lock, ended = Load(), threading.Lock(), threading.Event()

    def ask(caller: int) -> None:
        urls = (server.endpoints.grpc, server.endpoints.http)
        turn = caller
        with Client(urls[caller % 2]) as client:
            while not ended.wait(pause_s):
                turn += 1
                at = turn % len(questions)
                start = time.perf_counter()
                try:
                    found = client.infer(MODEL, questions[at].inputs)
                except ModelportError as error:
                    with lock:
                        load.errors.append(str(error))
                    continue
                took_ms = (time.perf_counter() - start) * 1e3
                by = [v for v, answers in expected.items() if same(found, answers[at])]
                with lock:
                    load.took_ms.append(took_ms)
                    load.answers.update(by[:1])
                    load.wrong += len(by) != 1

    threads = [threading.Thread(target=ask, args=(caller,)) for caller in range(CALLERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        load.lasted_s = time.perf_counter() - began


def same(one: Answer, other: Answer, within: float = CLOSE) -> bool:
    """Say whether the scores of two answers are equal but for what another batch moves."""
    return bool(np.allclose(one["scores"], other["scores"], rtol=0, atol=within))


def expected_answers(repository: Path) -> tuple[list[Case], dict[int, list[Answer]]]:
    """Take questions of the proof that the two versions answer differently, and both answers."""
    folder = Repository(repository).folder(MODEL)
    kept = [Samples.read(folder.version_dir(v) / "samples.json").cases for v in (1, 2)]
    telling = [
        (one, other)
        for one, other in zip(*kept, strict=True)
        if not same(one.outputs, other.outputs, within=100 * CLOSE)
    ]
    if not telling:
        sys.exit("the two versions answer alike, so nobody could tell which one did")
    answers = {v: [pair[v - 1].outputs for pair in telling] for v in (1, 2)}
    return [one for one, _ in telling], answers


def measured(load: Load) -> dict[str, float]:
    """Give what callers felt, in milliseconds, and how many requests they made in a second."""
    took = sorted(load.took_ms)
    return {
        "requests": len(took),
        "a_second": len(took) / load.lasted_s,
        "median_ms": statistics.median(took),
        "p99_ms": took[int(len(took) * 0.99)],
        "worst_ms": took[-1],
    }


@click.command(help=__doc__.split("\n")[0])
@click.option("--switches", type=click.IntRange(2), default=20, show_default=True)
@click.option(
    "--pause-ms",
    type=click.FloatRange(min=0),
    default=50.0,
    show_default=True,
    help="Between an answer and the caller's next request; 0 for as many as there can be.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(switches: int, pause_ms: float, as_json: bool) -> None:
    """Measure and show."""
    with tempfile.TemporaryDirectory() as place:
        repository = build_two(Path(place))
        questions, expected = expected_answers(repository)
        with Server.start(repository) as server:
            with callers(server, questions, expected, pause_ms / 1e3) as quiet:
                time.sleep(QUIET_S)
            with callers(server, questions, expected, pause_ms / 1e3) as busy:
                promoted_s = run("promote", MODEL, "2", repository=repository)
                back_s = []
                for _ in range(switches - 1):
                    time.sleep(SETTLE_S)
                    back_s.append(run("rollback", MODEL, repository=repository))
    for load in (quiet, busy):
        if load.errors or load.wrong:
            sys.exit(f"{len(load.errors)} lost, {load.wrong} wrong: {load.errors[:1]}")
    figures = {
        "quiet": measured(quiet),
        "switching": measured(busy),
        "promote_s": promoted_s,
        "rollback_median_s": statistics.median(back_s),
        "rollback_worst_s": max(back_s),
        "switches": switches,
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name in ("quiet", "switching"):
        row = "  ".join(f"{key} {value:,.1f}" for key, value in figures[name].items())
        click.echo(f"{name:<10} {row}")
    click.echo(f"promote {promoted_s:.1f} s; {len(back_s)} roll backs from the shell, under load:")
    click.echo(f"  median {statistics.median(back_s):.2f} s, worst {max(back_s):.2f} s")


if __name__ == "__main__":
    main()
