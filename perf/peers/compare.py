"""Modelport beside another server, the same model and the same load, in turns.

    python perf/peers/compare.py --sweep fastapi          choose its settings; `all`: everybody's
    python perf/peers/compare.py fastapi --model cnn      one pair: a table
    python perf/peers/compare.py --all                    every pair: results.json and docs/peers.md
    python perf/peers/compare.py --table                  docs/peers.md from results.json

Each server is installed into an environment of its own in the cache, the first time. Both run while
a pair is measured, and the one whose turn it is not is stopped (SIGSTOP), so it takes no CPU time.
Answers are compared with bare ONNX Runtime's; one wrong answer fails the pair. perf/README.md says
how to read the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before anything loads ONNX Runtime: it reports to its maker, in threads of its own.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
from peers import results, sweep, tables
from peers.ahead import Ahead
from peers.contestants import CONTESTANTS, PEERS, Contestant
from peers.networks import NETWORKS, Network
from peers.pair import Pair, limits
from peers.results import Store
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modelport.errors import ModelportError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "peers.md"
VARIANT_S = 16.0
"""About what one variant of a sweep takes."""


def progress_on(console: Console) -> Progress:
    """Make the bars; where there is no terminal, only the lines above them are printed."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)


def chosen(peer: str | None, model: str | None) -> list[tuple[Contestant, Network]]:
    """List the pairs that are meant."""
    peers = [PEERS[peer]] if peer else list(PEERS.values())
    return [(one, network) for network in _networks(model) for one in peers]


def _networks(model: str | None) -> list[Network]:
    return [NETWORKS[model]] if model else list(NETWORKS.values())


def measure(
    pairs: Sequence[Pair], store: Store, repository: Path, again: bool, console: Console
) -> list[str]:
    """Measure what is not in the store yet; gives what failed."""
    failed, scanned = [], set()
    todo = [p for p in pairs if again or not store.holds(p.peer.name, p.network.name, p.order())]
    ahead = Ahead([pair.seconds() for pair in todo])
    with progress_on(console) as progress:
        everything = progress.add_task(f"pairs, {ahead.left()}", total=len(todo))
        for pair in todo:
            name = pair.network.name
            try:
                if name not in store.limits or (again and name not in scanned):
                    progress.console.print(f"bare ONNX Runtime, {pair.network.title}")
                    store.add_limits(name, limits(pair.network, repository))
                scanned.add(name)
                batch = results.best_batch(store.limits[name])
                store.add(pair.peer.name, name, pair.measure(batch, progress))
                line = tables.line(pair.peer.name, name, store.pairs[f"{pair.peer.name}/{name}"])
            except ModelportError as error:
                line = f"{pair.peer.title}, {pair.network.title}: {error}"
                failed.append(line)
            ahead.done()
            progress.console.print(f"{line}; {ahead.left()}", markup=False, soft_wrap=True)
            progress.update(everything, advance=1, description=f"pairs, {ahead.left()}")
    return failed


def choose(meant: Sequence[tuple[str, Network]], repository: Path, console: Console) -> list[str]:
    """Sweep, and write what is best into the servers' settings; gives what failed."""
    failed = []
    total = sum(sweep.count(name) for name, _ in meant)
    ahead = Ahead([VARIANT_S] * total)
    with progress_on(console) as progress:
        work = progress.add_task(f"variants, {ahead.left()}", total=total)
        for name, network in meant:

            def on_tried(tried: sweep.Tried, name: str = f"{name}/{network.name}") -> None:
                ahead.done()
                line = f"{name}: {sweep.shown(tried)}; {ahead.left()}"
                progress.console.print(line, markup=False, soft_wrap=True)
                progress.update(work, advance=1, description=f"variants, {ahead.left()}")

            try:
                best, tried = sweep.sweep(CONTESTANTS[name], network, repository, on_tried)
            except ModelportError as error:
                failed.append(f"{name}, {network.title}: {error}")
                progress.console.print(failed[-1], style="red", markup=False)
                continue
            if (share := sweep.busy(tried)) > results.BUSY:
                failed.append(f"{name}, {network.title}: others used {share:.0%} of the CPUs")
                progress.console.print(f"{failed[-1]}: nothing is written", style="red")
                continue
            path = HERE / name / "settings.toml"
            section = sweep.section(network.name, best, tried)
            text = sweep.written(path.read_text(encoding="utf-8"), network.name, section)
            path.write_text(text, encoding="utf-8")
    return failed


def concurrencies(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    """Read ``1,8,32``."""
    try:
        found = [int(one) for one in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of whole numbers like 1,8,32") from error
    if min(found) < 1:
        raise click.BadParameter(f"{min(found)}: at least one request is under way")
    return found


@click.command()
@click.argument("peer", type=click.Choice(list(PEERS)), required=False)
@click.option("--model", type=click.Choice(list(NETWORKS)), help="Only this; default: all four.")
@click.option("--sweep", "swept", type=click.Choice([*CONTESTANTS, "all"]), help="Choose settings.")
@click.option("--all", "everything", is_flag=True, help="Every peer, and write the page.")
@click.option("--concurrency", default="1,8,32", show_default=True, callback=concurrencies)
@click.option("--rounds", type=click.IntRange(1), help="Turns of each; default: 6, 4 for all.")
@click.option("--grpc", is_flag=True, help="A trial: ask over gRPC whom one can, keep nothing.")
@click.option("--again", is_flag=True, help="Measure what is in the results already, too.")
@click.option("--table", "only_table", is_flag=True, help="Write the page and measure nothing.")
@click.option(
    "--results",
    "kept",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where they are kept; a single pair is not, without this.",
)
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(
    peer: str | None,
    model: str | None,
    swept: str | None,
    everything: bool,
    concurrency: list[int],
    rounds: int | None,
    grpc: bool,
    again: bool,
    only_table: bool,
    kept: Path | None,
    repository: Path,
    as_json: bool,
) -> None:
    """Measure Modelport beside PEER."""
    if not (peer or everything or only_table or swept):
        raise click.UsageError(f"name a peer ({', '.join(PEERS)}), or --all, or --sweep PEER")
    console = Console(stderr=True, highlight=False)
    if swept:
        names = list(CONTESTANTS) if swept == "all" else [swept]
        todo = [(name, one) for one in _networks(model) for name in names]
        todo = [(name, one) for name, one in todo if again or not CONTESTANTS[name].swept(one)]
        sys.exit(1 if choose(todo, repository, console) else 0)
    store = Store(kept or RESULTS, writes=not grpc and bool(everything or kept))
    failed: list[str] = []
    if not only_table:
        meant = chosen(peer, model)
        rounds = rounds or (4 if everything else 6)
        pairs = [Pair(*one, repository, concurrency, rounds, grpc) for one in meant]
        failed = measure(pairs, store, repository, again or grpc or not everything, console)
        _print(meant, store, as_json)
    if (everything or only_table) and not grpc:
        PAGE.write_text(tables.markdown(store), encoding="utf-8")
    if failed:
        sys.exit(1)


def _print(meant: Sequence[tuple[Contestant, Network]], store: Store, as_json: bool) -> None:
    named = [(one.name, network.name) for one, network in meant]
    found = {f"{p}/{n}": store.pairs[f"{p}/{n}"] for p, n in named if f"{p}/{n}" in store.pairs}
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=190, highlight=False)
    for key, entry in found.items():
        peer, network = key.split("/")
        console.print(tables.show_pair(peer, network, entry))
        for line in tables.summary(peer, entry):
            console.print(line, style="dim", markup=False)


if __name__ == "__main__":
    main()
