"""The results for people: a table in the terminal, and docs/peers.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from peers import results
from peers.contestants import CONTESTANTS, OWN, PEERS
from peers.networks import NETWORKS
from peers.results import Store
from rich.table import Table

CPU_AIMS = {"cnn": 0.7, "lstm": 0.7}
BARE_AIMS = {"resnet18": 1.05, "minilm": 1.05}
AIMED = ("8", "32")
HEAD = """# Beside other servers

The same four ONNX models behind Modelport and six other servers, each at the best of its
documented settings that the same sweep finds (`perf/peers/NAME/settings.toml` has its figures), the
same closed-loop load in the best encoding that each offers. [perf/README.md](../perf/README.md)
says how the figures are taken and how to read them. This page is written by
`python perf/peers/compare.py --all`; do not edit it.
"""


EMPTY = """## Not measured yet

On a machine that does nothing else:

```console no-run
$ python perf/peers/compare.py --sweep all
$ python perf/peers/compare.py --all
```

The first chooses every server's settings, Modelport's too, in about an hour; the second measures
every pair in about 50 minutes and writes this page.
"""


def show_pair(peer: str, network: str, entry: Mapping[str, Any]) -> Table:
    """Make the terminal's table of one pair."""
    titles = (OWN.title, CONTESTANTS[peer].title)
    table = Table(
        title=f"{NETWORKS[network].title}: {titles[0]} and {titles[1]}", title_justify="left"
    )
    table.add_column("concurrency", justify="right")
    for column in ("replies/s", "CPU a reply, ms", "p50, ms", "p99, ms"):
        for title in titles:
            table.add_column(f"{column}\n{title}", justify="right")
    for column in ("replies ×", "CPU ×", "CPU × bare"):
        table.add_column(column, justify="right")
    for concurrency, one in sorted(entry["figures"].items(), key=lambda item: int(item[0])):
        cells = [
            f"{one[side][metric]:,.{digits}f}"
            for metric, digits in (
                ("replies_per_s", 0),
                ("cpu_ms", 3),
                ("p50_ms", 2),
                ("p99_ms", 1),
            )
            for side in ("modelport", "peer")
        ]
        names = ("replies_over_peer", "cpu_over_peer", "cpu_over_bare")
        table.add_row(concurrency, *cells, *(_spread(one[name]) for name in names))
    return table


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"


def summary(peer: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Say what stands in no column."""
    for side, title in (("modelport", OWN.title), ("peer", CONTESTANTS[peer].title)):
        one = entry[side]
        yield (
            f"{title} ({one['version']}, {one['encoding']}): {one['memory_mib']} MiB, first right "
            f"answer after {one['startup_s']:.1f} s, {one['lines']} lines, "
            f"{one['idle_cpu']:.1%} of a CPU idle, {one['checked']:,} answers compared"
        )
    bare = entry["bare"]
    yield (
        f"bare ONNX Runtime at batch {bare['batch']}: {bare['cpu_ms']:.3f} ms CPU a row, "
        f"{bare['rows_per_s']:,.0f} rows/s"
    )
    if (share := results.others(entry)) > results.BUSY:
        yield f"others used {share:.0%} of the CPUs meanwhile: only the ratios say something"


def line(peer: str, network: str, entry: Mapping[str, Any]) -> str:
    """Sum a pair up for a log."""
    figures = sorted(entry["figures"].items(), key=lambda item: int(item[0]))
    ratios = ", ".join(
        f"{one['cpu_over_peer']['median']:.2f} and {one['replies_over_peer']['median']:.2f} at {c}"
        for c, one in figures
    )
    return f"{peer}/{network}: CPU × and replies × {ratios}; others {results.others(entry):.0%}"


def markdown(store: Store) -> str:
    """Write docs/peers.md."""
    if not store.pairs:
        return f"{HEAD}\n{EMPTY}"
    parts = [HEAD, _verdicts(store)]
    parts += [_network(store, name) for name in NETWORKS if store.of(name)]
    parts.append(_conditions(store))
    return "\n".join(parts)


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _verdicts(store: Store) -> str:
    lines = [
        "## Where Modelport stands\n",
        "Ratios are medians of those of the rounds; the best peer is the one that does best against"
        " Modelport. Below 1 is less CPU; above 1 is more replies.\n",
        _row("model", "concurrency", "CPU × best peer", "aim", "CPU × bare", "aim",
             "replies × best peer", "aim"),
        _row(*["---"] * 8),
    ]  # fmt: skip
    why: dict[str, list[str]] = {}
    for name, network in NETWORKS.items():
        for concurrency in AIMED:
            reasons = results.unjudged(store, name, concurrency, PEERS)
            for reason, named in reasons.items():
                why[reason] = [
                    *why.get(reason, []),
                    *(n for n in named if n not in why.get(reason, [])),
                ]
            if reasons:
                lines.append(_row(network.title, concurrency, *["not judged"] * 6))
            else:
                found = results.aims(store, name, concurrency)
                lines.append(_verdict(network.title, name, concurrency, found))
    if why:
        lines.append("\nNot judged, because of pairs")
        lines += [f"- {reason}: {', '.join(named)}" for reason, named in why.items()]
    return "\n".join(lines) + "\n"


def _verdict(title: str, name: str, concurrency: str, found: Mapping[str, Any]) -> str:
    cpu, bare = CPU_AIMS.get(name), BARE_AIMS.get(name)
    return _row(
        title,
        concurrency,
        f"{found['cpu_over_best']:.2f} ({CONTESTANTS[found['cpu_best']].title})",
        _aim("≤", cpu, cpu is None or found["cpu_over_best"] <= cpu),
        f"{found['cpu_over_bare']:.2f}",
        _aim("≤", bare, bare is None or found["cpu_over_bare"] <= bare),
        f"{found['replies_over_best']:.2f} ({CONTESTANTS[found['replies_best']].title})",
        _aim("≥", 1.0, found["replies_over_best"] >= 1.0),
    )


def _aim(sign: str, bound: float | None, met: bool) -> str:
    return "" if bound is None else f"{sign} {bound:g}: {'met' if met else 'missed'}"


def _network(store: Store, name: str) -> str:
    entries = store.of(name)
    concurrencies = sorted(
        set.intersection(*(set(e["figures"]) for e in entries.values())), key=int
    )
    listed = " / ".join(concurrencies)
    lines = [
        f"## {NETWORKS[name].title}\n",
        f"At concurrency {listed}:\n",
        _row("server", "encoding", "replies/s", "CPU a reply, ms", "p50, ms", "p99, ms",
             "CPU × Modelport's", "memory, MiB", "start, s", "lines"),
        _row(*["---"] * 10),
        _own_row(list(entries.values()), concurrencies),
    ]  # fmt: skip
    lines += [_peer_row(entries[peer], concurrencies) for peer in CONTESTANTS if peer in entries]
    limits = store.limits.get(name, {})
    if limits:
        best = str(results.best_batch(limits))
        one = limits[best]
        cells = (f"batch {best}", f"{one['rows_per_s']:,.0f}", f"{one['cpu_ms']:.3f}")
        lines.append(_row("bare ONNX Runtime", *cells, *[""] * 6))
        sizes = ", ".join(f"{int(b)}: {limits[b]['cpu_ms']:.3f}" for b in sorted(limits, key=int))
        lines.append(f"\nBare, CPU ms a row by batch size, both CPUs at work: {sizes}.")
    return "\n".join(lines) + "\n"


def _figures(found: list[Mapping[str, float]]) -> list[str]:
    shown = (("replies_per_s", 0), ("cpu_ms", 3), ("p50_ms", 2), ("p99_ms", 1))
    return [" / ".join(f"{one[name]:,.{digits}f}" for one in found) for name, digits in shown]


def _own_row(entries: list[Mapping[str, Any]], concurrencies: list[str]) -> str:
    figures = [results.together(entries, one) for one in concurrencies]
    last = entries[-1]["modelport"]
    memory = sorted(e["modelport"]["memory_mib"] for e in entries)[len(entries) // 2]
    start = sorted(e["modelport"]["startup_s"] for e in entries)[len(entries) // 2]
    cells = (*_figures(figures), "1", memory, f"{start:.1f}", last["lines"])
    return _row(f"**{last['version']}**", last["encoding"], *cells)


def _peer_row(entry: Mapping[str, Any], concurrencies: list[str]) -> str:
    figures = [entry["figures"][one]["peer"] for one in concurrencies]
    ratios = (1 / entry["figures"][one]["cpu_over_peer"]["median"] for one in concurrencies)
    shown, one = " / ".join(f"{ratio:.2f}" for ratio in ratios), entry["peer"]
    last = (one["memory_mib"], f"{one['startup_s']:.1f}", one["lines"])
    return _row(one["version"], one["encoding"], *_figures(figures), shown, *last)


def _conditions(store: Store) -> str:
    lines = ["## Conditions\n"]
    machines = {e["machine"]["cpu"]: e["machine"] for e in store.pairs.values()}
    lines += [
        f"{one['cpus']} CPUs ({one['cpu']}), Python {one['python']}, ONNX Runtime "
        f"{one['onnxruntime']}, kernel {one['kernel']}.\n"
        for one in machines.values()
    ]
    busy = {k: results.others(e) for k, e in store.pairs.items()}
    marked = {key: share for key, share in busy.items() if share > results.BUSY}
    if marked:
        listed = ", ".join(f"{key} ({share:.0%})" for key, share in sorted(marked.items()))
        lines.append(
            f"Others used more than {results.BUSY:.0%} of the CPUs while these pairs were measured,"
            f" so that only their ratios say something: {listed}.\n"
        )
    clients = [
        e["figures"][c][side]["client_cpu_ms"]
        for e in store.pairs.values()
        for c in e["figures"]
        for side in ("modelport", "peer")
    ]
    if clients:
        lines.append(
            f"The load itself took {min(clients) * 1e3:.0f} to {max(clients) * 1e3:.0f} µs of CPU"
            " a reply, on the same CPUs and beside the figures above.\n"
        )
    return "\n".join(lines)
