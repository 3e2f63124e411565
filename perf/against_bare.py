"""Whether a reply still costs what it did, beside a bare onnxruntime loop of the same run.

    python perf/against_bare.py            hold it against perf/baselines/digits_cnn.json
    python perf/against_bare.py --save     write that anew

In each round digits_cnn is served under load by one and by eight callers, and a loop in this
process lets ONNX Runtime compute the same questions, one at a time. What is kept and compared is
CPU time of the server a reply over CPU time of the loop a reply: other work on the machine and
another clock rate change both. It exits with 74 where the whole 95 % interval of that ratio lies
past 2.5 times the baseline's.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import onnxruntime
import showing
from rich.progress import track

from modelport.cli import perf_compare
from modelport.cli.output import Output
from modelport.errors import ParityError
from modelport.perf import analyzer, compare, machine, paired, questions, target
from modelport.perf.compare import Comparison
from modelport.perf.load import Closed
from modelport.perf.questions import Questions
from modelport.repository.layout import ModelFolder, Repository
from modelport.verify import parity

MODEL = "digits_cnn"
ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "perf" / "baselines" / f"{MODEL}.json"
TURN_S = 0.8
LOADS = {f"concurrency {callers}": Closed(callers, TURN_S) for callers in (1, 8)}
BARE_S = 0.4
# Another processor, or a kernel whose calls cost more, has another ratio: what this finds are
# mistakes, not percents.
BOUNDS = {"cpu": 2.5}

Loop = Callable[[], float]


def bare(folder: ModelFolder, version: int, asked: Questions) -> Loop:
    """Give what computes the questions for a while, and tells the CPU time of each, in ms.

    Raises:
        ParityError: it computes something else than what was proven.
    """
    options = onnxruntime.SessionOptions()
    parameters = folder.config_of(version).parameters
    options.intra_op_num_threads = int(parameters["intra_op_thread_count"])
    path = folder.version_dir(version) / "model.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    asks = [_row(question.inputs) for stream in asked.streams for question in stream]
    for ask, question in zip(asks, itertools.chain(*asked.streams), strict=True):
        got = dict(zip(question.outputs, session.run(list(question.outputs), ask), strict=True))
        if not (found := parity.compare(got, question.outputs, asked.tolerance)).ok:
            raise ParityError(f"the bare loop: {found.describe()}", next_step="modelport build")

    def loop() -> float:
        end, count, before = time.perf_counter() + BARE_S, 0, time.process_time()
        for ask in itertools.cycle(asks):
            session.run(None, ask)
            count += 1
            if time.perf_counter() > end:
                break
        return (time.process_time() - before) * 1e3 / count

    return loop


def _row(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array)[np.newaxis] for name, array in arrays.items()}


def measure(repository: Repository, rounds: int) -> Comparison:
    """Take the bare loop, and the served model under each load, in turn."""
    tool = analyzer.ensure()
    side = paired.side(repository, MODEL, None)
    version = side.versions[MODEL]
    asked = questions.of(repository.folder(MODEL), version)
    loop = bare(repository.folder(MODEL), version, asked)
    bares: list[float] = []
    served: dict[str, list[float]] = {name: [] for name in LOADS}
    with (
        paired.served(repository, side) as place,
        tempfile.TemporaryDirectory(prefix="modelport-perf-") as folder,
    ):
        runner = paired.Runner(side, place, asked, tool, Path(folder))
        runner.warm_up()
        loop()
        before = machine.times(place.cpu_s)
        for _ in track(range(rounds), "rounds", disable=not sys.stderr.isatty()):
            bares.append(loop())
            for name, wanted in LOADS.items():
                turn = runner.measure(wanted)
                if "cpu" in turn.missing:
                    compare.refuse(
                        compare.LeftOut(figure="cpu", level=name, why=turn.missing["cpu"])
                    )
                served[name].append(turn.figures["cpu"])
        after = machine.times(place.cpu_s)
    spent = machine.between(before, after, runner.load_cpu_s)
    return Comparison(
        model=MODEL,
        a="a bare onnxruntime loop",
        b=f"{MODEL} served",
        machine=machine.describe({**target.packages(), "perf_analyzer": tool.version}),
        ratios=[compare.ratio("cpu", name, bares, taken) for name, taken in served.items()],
        disturbance=machine.disturbance(spent.steal_share, spent.others_share),
    )


@click.command(help=__doc__.split("\n")[0])
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=ROOT / "model_repository",
    show_default="model_repository",
)
@click.option("--baseline", type=click.Path(path_type=Path), default=BASELINE)
@click.option("--save", is_flag=True, help="Write the ratios of this run as the baseline.")
@click.option("--rounds", type=click.IntRange(6), default=compare.ROUNDS, show_default=True)
def main(repository: Path, baseline: Path, save: bool, rounds: int) -> None:
    """Measure, and hold it against the baseline."""
    with showing.failures():
        before = None if save else Comparison.read(baseline)
        if before:
            compare.refuse_misfit(before, MODEL, list(LOADS), BOUNDS)
        found = measure(Repository(repository), rounds)
        judged = compare.judge(found, BOUNDS, before) if before else found
        perf_compare.show(Output(), judged)
        if save:
            found.as_baseline().write(baseline)
        perf_compare.fail_on(judged)


if __name__ == "__main__":
    main()
